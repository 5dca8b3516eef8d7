"""The replay of a folder: the calls of each request and job are answered from the cassette recorded for it."""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from timetracer_otel.base import faults
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.cassette import save_cassette
from timetracer_otel.config import TraceConfig, calls_made
from timetracer_otel.constants import BAGGAGE_ENTRY, RecordMode
from timetracer_otel.exceptions import CassetteError, CassetteTooOldError, ConfigurationError
from timetracer_otel.incoming.exclusions import is_excluded
from timetracer_otel.incoming.job_scope import IncomingJob, JobScope
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.match.advice import Wording
from timetracer_otel.match.folder_index import FolderEntry, FolderIndex
from timetracer_otel.otel.span_facts import RootSpan, is_server
from timetracer_otel.otel.spans import LiveSpan
from timetracer_otel.process import closed_world, recorded_clock
from timetracer_otel.process.ledger import ReplayLedger
from timetracer_otel.process.refusing import RefusingSession
from timetracer_otel.redact.shown import without_known_forms
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.session.ages import some_overdue
from timetracer_otel.session.made_calls import MadeCalls
from timetracer_otel.types import BodySnapshot, CaptureStats, Cassette, RequestSnapshot, Verdict

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["FolderReplay", "FolderSession", "named_cassette"]

_numbers = itertools.count(1)
"""Of the files with the calls of requests."""


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


def _line_of(request: RequestSnapshot) -> str:
    """A request that has come in, as it is told. What of it is secret by its form is not."""
    return f"{request.method} {without_known_forms(request.path)}"


def _cassette_of(session: ReplaySession) -> str | None:
    return None if isinstance(session, RefusingSession) else session.cassette_path


def _snapshot(incoming: IncomingRequest) -> RequestSnapshot:
    data = incoming.body
    if data is None:
        return incoming.snapshot(BodySnapshot(captured=False))
    return incoming.snapshot(BodySnapshot(captured=True, encoding="bytes", data=data, size_bytes=len(data)))


class FolderSession(ReplaySession):
    """The session of the calls outside any request of a folder's replay, which also has the account of all requests.

    A block gets it: `replay(FOLDER)`, and the pytest fixture ``timetracer_replay(FOLDER)``.
    """

    account: Callable[[], Verdict] | None = None
    """Gives the verdict on the whole folder; None where somebody else tells of it."""

    def verdict(self) -> Verdict:
        """The account of all requests of the block up to now, and of the calls outside of them.

        Unused are the recorded calls of the requests that came. Those that were recorded outside any request are
        there to answer, and do not count.
        """
        return super().verdict() if self.account is None else self.account()

    def own_verdict(self) -> Verdict:
        """The account of the calls outside any request alone."""
        return super().verdict()


class FolderReplay:
    """Chooses a session for each request, and keeps it until the request has ended. Safe from any thread and task.

    Args:
        config: Its ``cassette_path`` is the folder.
        by_environment: Whether the user has set it up by the environment, and not in Python; for advice.

    Raises:
        ConfigurationError: Its ``record_mode`` is one for a single cassette.
        CassetteError: There is no such folder, or no cassette in it can be read.
        CassetteTooOldError: One is older than the setting ``max_age`` allows, which says to fail then.
    """

    def __init__(self, config: TraceConfig, *, by_environment: bool = True) -> None:
        self._by_environment = by_environment
        folder = config.cassette_path or ""
        if config.record_mode is not RecordMode.NONE:
            raise ConfigurationError(
                f"TIMETRACER_RECORD_MODE: {config.record_mode.value!r} is not allowed with a folder. Allowed: none. "
                f"Name one cassette of {folder}, or unset it."
            )
        # The app may go to another folder while it runs.
        report = str(Path(config.replay_report).absolute()) if config.replay_report is not None else None
        self._config = config = replace(config, replay_report=report)
        self.index = FolderIndex(folder)
        for fault in self.index.broken:
            faults.logger.warning("timetracer-otel: left out: %s", fault)
        self._reported = len(self.index.broken)
        found = some_overdue(self.index.recorded_at, folder, config)
        if found is not None and found.action == "record":
            raise ConfigurationError(
                f"TIMETRACER_MAX_AGE: {config.max_age!r} is not allowed with a folder. Allowed: warn, fail. "
                f"{found.text}"
            )
        if found is not None and found.action == "fail":
            raise CassetteTooOldError(found.text, path=folder)
        if found is not None:
            faults.logger.warning("timetracer-otel: %s", found.text)
        self._wording = Wording(by_environment, tuple(config.ignore))
        self._ledger = ReplayLedger(config.replay_report, self._wording)
        self._excluded = ExcludedUrls()
        self._calls = calls_made()
        self._lock = threading.RLock()
        self._outside: FolderSession | None = None
        self._begun: list[ReplaySession] | None = None if by_environment else []
        """The sessions of all requests up to now. Only a block has them, which ends soon."""
        self._open: dict[ReplaySession, _Open] = {}
        # What may fail comes first: nobody undoes what follows.
        blocked = self.outside() if config.block_network else None
        self._has_clock = recorded_clock.is_wanted(config)
        if self._has_clock:
            recorded_clock.begin_at(min(self.index.recorded_at))
        self._watches = True
        closed_world.watch(config.live_hosts)
        if blocked is not None:
            closed_world.block(blocked)

    def outside(self) -> FolderSession:
        """The session of calls outside any request. It answers from what was recorded outside any request."""
        session = self._outside
        if session is None:
            with self._lock:
                session = self._outside
                if session is None:
                    cassette = self.index.outside()
                    for fault in self.index.broken[self._reported :]:
                        faults.logger.warning("timetracer-otel: left out: %s", fault)
                    path = cassette.path or self.index.directory
                    session = FolderSession(cassette, path, self._config.strict_replay, self._config)
                    session.by_environment = self._by_environment
                    session.on_miss = partial(self._ledger.missed, "outside any request")
                    if self._begun is not None:
                        session.account = self.verdict
                    self._outside = session
        return session

    def verdict(self) -> Verdict:
        """The account of a block: all of its requests, and the calls outside of them."""
        with self._lock:
            sessions = list(self._begun or ())
        outside = replace(self.outside().own_verdict(), unused=())
        parts = [*(session.verdict() for session in sessions), outside]
        live = sum((Counter(part.live) for part in parts), Counter[str]())
        rules = [rule for part in parts for error in part.misses for rule in error.rules]
        return Verdict(
            hits=tuple(event for part in parts for event in part.hits),
            repeats=sum(part.repeats for part in parts),
            misses=tuple(error for part in parts for error in part.misses),
            unused=tuple(event for part in parts for event in part.unused),
            live=dict(live),
            recorded=0,
            blocked=tuple(error for part in parts for error in part.blocked),
            cassette_path=self.index.directory,
            fail_on_unused=self._config.fail_on_unused,
            advice=self._wording.ignoring(rules) if rules else "",
            bindings=tuple(dict.fromkeys(each for part in parts for each in part.bindings)),
        )

    def expects_body(self, incoming: IncomingRequest) -> bool:
        """Whether the choice for a request depends on its body, so that it must be read first."""
        return _named_by(incoming) is None and self.index.expects_body(_snapshot(incoming))

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

    def job_began(self, job: IncomingJob, around: LiveSpan | None) -> JobScope:
        """Choose the session of a job that a worker was given, by its name and arguments.

        Args:
            job: The job.
            around: The outermost span around its function, where a session began with it.
        """
        if around is not None:
            # That session was chosen by the span's name. The arguments are known now, and say more.
            self._withdraw(around.session)
        session = self._began(job.request(), None, by_span=False)
        return JobScope(job, session, on_end=lambda _: self.end(session))

    def refusing(self) -> RefusingSession:
        """A session for code whose own could not begin: a fault of ours has kept it from that."""
        session = RefusingSession(
            "A fault of ours has kept the session of this message from beginning",
            self._config,
            cause="the log tells which",
            hint="report it, with the traceback in the log.",
        )
        session.on_miss = partial(self._ledger.missed, "a message without a session")
        return session

    def span_began(self, span: ReadableSpan, context: Context | None) -> ReplaySession:
        """The session of the request, job or message that a span stands for, whose parent context is given.

        A span of the app's own that has no cassette belongs to the process: before the first request of a recorded
        process, such a span got none.
        """
        request, named = RootSpan(span).request(), named_cassette(None, context)
        if span.kind is SpanKind.INTERNAL and named is None and not self.index.has(request):
            outside = self.outside()
            if outside.events:
                return outside
        return self._began(request, named, by_span=True)

    def _began(
        self, request: RequestSnapshot, named: str | None, by_span: bool, left_out: bool = False
    ) -> ReplaySession:
        entry = self.index.choose(request, named)
        line = _line_of(request)
        session = self._chosen(entry, request) if entry is not None else self._refusing(request, named)
        session.on_miss = partial(self._ledger.missed, line)
        if self._calls is not None:
            session.made_calls = MadeCalls()
        # A recording leaves out excluded requests. That they have no cassette is no miss, so they are not counted.
        counts = entry is not None or (self._config.should_trace(request.path) and not left_out)
        with self._lock:
            if self._has_clock and entry is not None:
                self._take_clock(session)
            self._open[session] = _Open(line, by_span, counts)
            if self._begun is not None:
                self._begun.append(session)
        if counts:
            self._ledger.began(line, _cassette_of(session))
        if self._config.block_network:
            closed_world.block(session)
        return session

    def _take_clock(self, session: ReplaySession) -> None:
        """Give the process the clock of a request's recording, unless another request is under way."""
        if not self._open:
            recorded_clock.move_to(session.cassette.session.recorded_at)
        else:
            faults.warn_once(
                "clock",
                "clock: several requests are under way at once, and a process has one clock: that of the recording "
                "of the first one. Send one request after the other.",
            )

    def _withdraw(self, session: BaseSession | None) -> None:
        if not isinstance(session, ReplaySession):
            return
        with self._lock:
            began = self._open.pop(session, None)
            if self._begun is not None and session in self._begun:
                self._begun.remove(session)
        if began is None:
            return
        if began.counts:
            self._ledger.withdrawn(_cassette_of(session))
        self.index.withdraw(session.cassette_path)
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
        made = self._written_calls(session) if cassette is not None else None
        self._ledger.ended(began.line, cassette, session.verdict(), made)

    def _written_calls(self, session: ReplaySession) -> str | None:
        """The file with the calls that a request has made, where ``timetracer-otel verify`` wants them."""
        if self._calls is None:
            return None
        events = session.calls_made()
        recording = session.cassette
        made = replace(
            recording, events=events, stats=CaptureStats.of(events, 0.0, {}), complete=True, error_info=None
        )
        path = Path(self._calls) / f"{os.getpid()}-{next(_numbers)}.msgpack"
        try:
            return save_cassette(made, path)
        except CassetteError as error:
            faults.logger.error("timetracer-otel: %s", error)
            return None

    def finish(self) -> None:
        """Log what the replay did: one line with the sums, and each call that had no answer."""
        self.close()
        outside = self._outside
        if outside is not None:
            self._ledger.add(outside.own_verdict())
        self._ledger.tell(self.index)

    def close(self) -> None:
        """End the requests that are still under way. Harmless when repeated."""
        with self._lock:
            under_way = list(self._open.items())
        for session, began in under_way:
            self.end(session, began.by_span)
        if self._has_clock:
            self._has_clock = False
            recorded_clock.end()
        if self._watches:
            self._watches = False
            closed_world.unwatch()
        if self._outside is not None:
            closed_world.unblock(self._outside)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent's requests are the parent's to report."""
        self._lock = threading.RLock()
        self._open = {}
        self._ledger = ReplayLedger(self._config.replay_report, self._wording)

    def _chosen(self, entry: FolderEntry, request: RequestSnapshot) -> ReplaySession:
        try:
            cassette = self.index.read(entry)
        except CassetteError as fault:
            return RefusingSession(
                f"The recording of {_line_of(request)} cannot be read",
                self._config,
                cause=str(fault),
                hint="record the request again.",
            )
        session = self._session(cassette, entry.path)
        session.names_root = True
        session.asked_by = self.index.departure(entry, request)
        return session

    def _session(self, cassette: Cassette, path: str) -> ReplaySession:
        session = ReplaySession(cassette, path, self._config.strict_replay, self._config)
        session.by_environment = self._by_environment
        return session

    def _refusing(self, request: RequestSnapshot, named: str | None) -> RefusingSession:
        line = _line_of(request)
        if named is not None:
            return RefusingSession(
                f"There is no cassette {named!r} in {self.index.directory}",
                self._config,
                cause=f"baggage of {line} names it",
                hint=f"name a session id, its first eight characters, or a file name in {BAGGAGE_ENTRY}.",
            )
        return RefusingSession(
            f"No recording fits {line}",
            self._config,
            cause=f"none in {self.index.directory} has its method and path, nor a route that fits",
            hint=f"record the request, or name the cassette to answer it by baggage: {BAGGAGE_ENTRY}=<session id>.",
            candidates=partial(self.index.nearest, request),
        )
