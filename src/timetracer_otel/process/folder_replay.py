"""The replay of a folder: the calls of each request and job are answered from the cassette recorded for it."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from timetracer_otel.base import faults
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BAGGAGE_ENTRY, RecordMode
from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.incoming.exclusions import is_excluded
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.match.folder_index import CassetteLibrary, LibraryEntry
from timetracer_otel.otel.span_facts import RootSpan, is_server
from timetracer_otel.otel.spans import LiveSpan
from timetracer_otel.process import closed_world
from timetracer_otel.process.ledger import ReplayLedger
from timetracer_otel.process.refusing import RefusingSession
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import BodySnapshot, Cassette, RequestSnapshot

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["FolderReplay", "named_cassette"]


def named_cassette(header: str | None = None, context: Context | None = None) -> str | None:
    """The cassette that baggage names: in a context (None: the current one), or else in a ``baggage`` header."""
    named = baggage.get_baggage(BAGGAGE_ENTRY, context)
    if named is None and header and BAGGAGE_ENTRY in header:
        # No propagator is set that reads baggage, or it has not run yet.
        named = baggage.get_baggage(BAGGAGE_ENTRY, W3CBaggagePropagator().extract({"baggage": header}, Context()))
    # An entry may have properties, behind semicolons (W3C Baggage, section 3.3.1). OpenTelemetry's propagator leaves
    # them in the value.
    return str(named).partition(";")[0].strip() if named is not None else None


class _Open(NamedTuple):
    """A request that is under way."""

    line: str
    """``GET /users/7``."""
    by_span: bool
    """Whether it began and ends with a span, and not with a middleware's call."""
    counts: bool
    """Whether it is counted and told of in the report."""


def _named_by(incoming: IncomingRequest) -> str | None:
    lines = [value.decode("latin-1") for name, value in incoming.headers if name.lower() == b"baggage"]
    return named_cassette(",".join(lines))


def _cassette_of(session: ReplaySession) -> str | None:
    return None if isinstance(session, RefusingSession) else session.cassette_path


def _snapshot(incoming: IncomingRequest) -> RequestSnapshot:
    data = incoming.body
    if data is None:
        return incoming.snapshot(BodySnapshot(captured=False))
    return incoming.snapshot(BodySnapshot(captured=True, encoding="bytes", data=data, size_bytes=len(data)))


class FolderReplay:
    """Chooses a session for each request, and keeps it until the request has ended. Safe from any thread and task.

    Args:
        config: Its ``cassette_path`` is the folder.

    Raises:
        ConfigurationError: Its ``record_mode`` is one for a single cassette.
        CassetteError: There is no such folder, or no cassette in it can be read.
    """

    def __init__(self, config: TraceConfig) -> None:
        folder = config.cassette_path or ""
        if config.record_mode is not RecordMode.NONE:
            raise ConfigurationError(
                f"TIMETRACER_RECORD_MODE: {config.record_mode.value!r} is not allowed with a folder. Allowed: none. "
                f"Name one cassette of {folder}, or unset it."
            )
        # The app may go to another folder while it runs.
        report = str(Path(config.replay_report).absolute()) if config.replay_report is not None else None
        self._config = config = replace(config, replay_report=report)
        self.library = CassetteLibrary(folder)
        for fault in self.library.broken:
            faults.logger.warning("timetracer-otel: left out: %s", fault)
        self._reported = len(self.library.broken)
        self._ledger = ReplayLedger(config.replay_report)
        self._excluded = ExcludedUrls()
        self._lock = threading.RLock()
        self._outside: ReplaySession | None = None
        self._open: dict[ReplaySession, _Open] = {}
        closed_world.watch(config.live_hosts)
        if config.block_network:
            closed_world.block(self.outside())

    def outside(self) -> ReplaySession:
        """The session of calls outside any request. It answers from what was recorded outside any request."""
        session = self._outside
        if session is None:
            with self._lock:
                session = self._outside
                if session is None:
                    cassette = self.library.outside()
                    for fault in self.library.broken[self._reported :]:
                        faults.logger.warning("timetracer-otel: left out: %s", fault)
                    session = self._session(cassette, cassette.path or self.library.directory)
                    session.on_miss = partial(self._ledger.missed, "outside any request")
                    self._outside = session
        return session

    def expects_body(self, incoming: IncomingRequest) -> bool:
        """Whether the choice for a request depends on its body, so that it must be read first."""
        return _named_by(incoming) is None and self.library.expects_body(_snapshot(incoming))

    def request_began(self, incoming: IncomingRequest, around: LiveSpan | None) -> RequestScope | None:
        """Choose the session of a request that has come in; None where the request is a call that a job makes.

        Args:
            incoming: The request.
            around: The outermost span around the app, where a session began with it.
        """
        if around is not None:
            if not is_server(around.span):
                return None
            # That session was chosen by what the span says. Headers and body are known now, and say more.
            self._withdraw(around.session)
        left_out = is_excluded(incoming, self._excluded)
        session = self._began(_snapshot(incoming), _named_by(incoming), by_span=False, left_out=left_out)
        return RequestScope(incoming, session, on_end=lambda _: self.end(session))

    def span_began(self, span: ReadableSpan, context: Context | None) -> ReplaySession:
        """The session of the request, job or message that a span stands for, whose parent context is given."""
        return self._began(RootSpan(span).request(), named_cassette(None, context), by_span=True)

    def _began(
        self, request: RequestSnapshot, named: str | None, by_span: bool, left_out: bool = False
    ) -> ReplaySession:
        entry = self.library.choose(request, named)
        line = f"{request.method} {request.path}"
        session = self._chosen(entry, request) if entry is not None else self._refusing(request, named)
        session.on_miss = partial(self._ledger.missed, line)
        # A recording leaves out excluded requests. That they have no cassette is no miss, so they are not counted.
        counts = entry is not None or (self._config.should_trace(request.path) and not left_out)
        with self._lock:
            self._open[session] = _Open(line, by_span, counts)
        if counts:
            self._ledger.began(line, _cassette_of(session))
        if self._config.block_network:
            closed_world.block(session)
        return session

    def _withdraw(self, session: BaseSession | None) -> None:
        if not isinstance(session, ReplaySession):
            return
        with self._lock:
            began = self._open.pop(session, None)
        if began is None:
            return
        if began.counts:
            self._ledger.withdrawn(_cassette_of(session))
        self.library.withdraw(session.cassette_path)
        closed_world.unblock(session)

    def end(self, session: ReplaySession, by_span: bool = False) -> None:
        """Note what the calls of a request did, when it has ended. Harmless when repeated.

        Args:
            session: The request's session.
            by_span: Whether a span has ended. A request that a middleware began does not end with its span.
        """
        with self._lock:
            began = self._open.get(session)
            if began is None or began.by_span is not by_span:
                return
            del self._open[session]
        closed_world.unblock(session)
        cassette = _cassette_of(session)
        # A task that outlives its request may make calls. A recording puts those that come too late for the request's
        # cassette into the one of the process.
        if cassette is not None:
            session.fallback = self.outside
        session.on_miss = partial(self._ledger.missed_late, began.line, cassette)
        self._ledger.ended(began.line, cassette, session.verdict())

    def finish(self) -> None:
        """Log what the replay did: one line with the sums, and each call that had no answer."""
        with self._lock:
            under_way = list(self._open.items())
        for session, began in under_way:
            self.end(session, began.by_span)
        closed_world.unwatch()
        outside = self._outside
        if outside is not None:
            closed_world.unblock(outside)
            self._ledger.add(outside.verdict())
        self._ledger.tell(self.library)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent's requests are the parent's to report."""
        self._lock = threading.RLock()
        self._open = {}
        self._ledger = ReplayLedger(self._config.replay_report)

    def _chosen(self, entry: LibraryEntry, request: RequestSnapshot) -> ReplaySession:
        try:
            cassette = self.library.read(entry)
        except CassetteError as fault:
            return RefusingSession(
                f"The recording of {request.method} {request.path} cannot be read",
                self._config,
                cause=str(fault),
                hint="record the request again.",
            )
        session = self._session(cassette, entry.path)
        session.asked_by = self.library.departure(entry, request)
        return session

    def _session(self, cassette: Cassette, path: str) -> ReplaySession:
        return ReplaySession(cassette, path, self._config.strict_replay, self._config)

    def _refusing(self, request: RequestSnapshot, named: str | None) -> RefusingSession:
        line = f"{request.method} {request.path}"
        if named is not None:
            return RefusingSession(
                f"There is no cassette {named!r} in {self.library.directory}",
                self._config,
                cause=f"baggage of {line} names it",
                hint=f"name a session id, its first eight characters, or a file name in {BAGGAGE_ENTRY}.",
            )
        return RefusingSession(
            f"No recording fits {line}",
            self._config,
            cause=f"none in {self.library.directory} has its method and path, nor a route that fits",
            hint=f"record the request, or name the cassette to answer it by baggage: {BAGGAGE_ENTRY}=<session id>.",
            candidates=partial(self.library.nearest, request),
        )
