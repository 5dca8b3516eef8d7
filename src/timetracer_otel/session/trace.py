"""`TraceSession`: one recording."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from timetracer_otel.base import counters, faults
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import FORMAT_VERSION, TraceMode
from timetracer_otel.exceptions import NetworkBlockedError
from timetracer_otel.redact.forms import error_text
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.base import BaseSession, EndedSpan, PendingCall, RootExchange
from timetracer_otel.session.body_taps import BodyLimits
from timetracer_otel.session.events import EventMaker
from timetracer_otel.session.header import meta, policies
from timetracer_otel.types import (
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    RequestSnapshot,
    ResponseSnapshot,
    Verdict,
)

__all__ = ["EventFeed", "TraceSession"]

_AFTER_THE_END = "calls after the end"


class TraceSession(BaseSession):
    """Collects the calls of one run, and makes them into a cassette.

    Safe from any thread and task: calls of one session may end in any order anywhere.

    Args:
        config: Decides what is captured and how much of it; the defaults where it is left out.
        started_ms_ago: How long before now its times begin, where it goes on from another recording.

    Attributes:
        request, response: What the run was about, where it was a request, and what it answered.
        exchange: Gives both, where they were seen passing; what was set wins.
        origin: Gives both where nobody saw them passing.
        limits: How much room there is for bodies.
        observes: Whether client spans of calls that no plugin saw become events.
        successor: Gives the session of calls that begin when this one has ended; None where they are lost.
    """

    call_ended: Callable[[PendingCall], None] | None = None
    """Hears that a call which was kept has ended, with its last byte; a session that is written whole need not."""

    observes = True

    def __init__(self, config: TraceConfig | None = None, started_ms_ago: float = 0.0) -> None:
        self.config: TraceConfig = config if config is not None else TraceConfig(mode=TraceMode.RECORD)
        self.request: RequestSnapshot | None = None
        self.response: ResponseSnapshot | None = None
        self.exchange: RootExchange | None = None
        self.origin: RootExchange | None = None
        self.limits: BodyLimits = BodyLimits(self.config.max_body_bytes, self.config.max_session_bytes)
        self.successor: Callable[[], BaseSession | None] | None = None
        self.trace_id: str | None = None
        self.framework = ""
        self.blocked: list[NetworkBlockedError] = []
        self._session_id = str(uuid.uuid4())
        self._pid = os.getpid()
        self._started_at = datetime.now(timezone.utc)
        self._started_s = time.perf_counter() - started_ms_ago / 1000
        self._started_ns = time.time_ns() - int(started_ms_ago * 1e6)
        self._root_ended_s: float | None = None
        self._ended_s: float | None = None
        self.max_spans: int = self.config.max_events
        self._max_calls = self.max_spans
        self._refuses = ""
        """Why no further call is recorded; empty while calls are."""
        self._lock = threading.RLock()
        self._eids = itertools.count(1)
        self._pending: list[PendingCall] = []
        self._given: list[DependencyEvent] = []
        self.ended_spans = self._spans = list[EndedSpan]()
        self._known_spans: set[int] = set()
        self._made: dict[int, DependencyEvent] = {}
        self._feed: EventFeed | None = None
        self._dropped: Counter[str] = Counter()
        self._error_info: dict[str, Any] | None = None
        self._finalized = False
        self._own: tuple[frozenset[int], frozenset[int]] | None = None
        """Once the cassette is made of them: the positions of its calls, and their spans that have not ended."""
        self.wanted: dict[str, bool] = {}
        """What `wants` says, as far as it was asked; empty once it says no to all."""
        self._maker = EventMaker(self.config, Redactor.of(self.config.redact, self.config.redact_extra))

    @property
    def mode(self) -> TraceMode:
        return TraceMode.RECORD

    @property
    def session_id(self) -> str:
        return self._session_id

    @property
    def short_id(self) -> str:
        """The first eight characters of the identifier, as in file names."""
        return self._session_id[:8]

    @property
    def is_recording(self) -> bool:
        return True

    @property
    def is_replaying(self) -> bool:
        return False

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the session began, until its root ended or it was finalised."""
        return ((self._root_ended_s or self._ended_s or time.perf_counter()) - self._started_s) * 1000

    @property
    def has_error(self) -> bool:
        """Whether `mark_error` was called."""
        return self._error_info is not None

    @property
    def is_finalized(self) -> bool:
        """Whether no more events can be added."""
        return self._finalized

    @property
    def events(self) -> list[DependencyEvent]:
        """The events so far, redacted, in order of start: a new list each time, made when it is asked for."""
        with self._lock:
            pending, given, ended = list(self._pending), list(self._given), list(self._spans)
            observed = self._observed(ended)
            if self._finalized and self._own is None:
                self._end_with(pending, ended)
        spans = {span.span_id: span for span in ended}
        events = [*given, *(self._event_of(call, spans.get(call.span_id)) for call in pending)]
        events += [self._maker.observed(span.facts(), self._started_ns) for span in observed]
        events.sort(key=lambda event: event.start_offset_ms)
        for eid, event in enumerate(events, 1):
            event.eid = eid
        return events

    def wants(self, plugin_name: str) -> bool:
        """Whether calls of this plugin are recorded now."""
        if self._refuses:
            return False
        try:
            return self.wanted[plugin_name]
        except KeyError:
            return self.wanted.setdefault(plugin_name, self.config.captures(plugin_name))

    def left_out(self, plugin_name: str) -> None:
        """A call that `wants` refused is made without us: count it, unless its plugin is not captured."""
        if self._refuses and self.config.captures(plugin_name):
            self._refuse()

    def set_request(self, request: RequestSnapshot) -> None:
        """Say what the run is about."""
        self.request = request

    def set_response(self, response: ResponseSnapshot) -> None:
        """Say what the run answered."""
        self.response = response

    def add_event(self, event: DependencyEvent) -> None:
        """Add the event of a hand-written plugin; it gets the next position.

        One that comes when the session has ended goes to the session that follows; without one it is counted as lost.
        """
        after = self.after() if self.after is not None else None
        if isinstance(after, TraceSession):
            after.add_event(event)
            return
        event.eid = next(self._eids)
        if event.call is None:
            event.call = CallSnapshot()
        if self._refuses or len(self._pending) >= self._max_calls or self.limits.full:
            self._refuse()
        else:
            self._given.append(self._maker.given(event))
            self._max_calls = self.config.max_events - len(self._given)

    def next_eid(self) -> int:
        """The position of what is no call of a plugin's: a given event, an observed span."""
        return next(self._eids)

    def call_began(self, call: PendingCall) -> bool:
        """Keep a call that was seen, and give it its position; its event is made when it is asked for.

        False where it is only counted, or is the successor's, since the session has ended in this moment.
        """
        if self._refuses or len(self._pending) >= self._max_calls or self.limits.left_bytes < 0:
            self._refuse()
            return False
        call.eid = next(self._eids)
        self._pending.append(call)
        return not self._finalized or self._began_in_time(call)

    def calls_under_way(self) -> tuple[int, int]:
        """How many of its calls have not ended yet, and how many there are."""
        calls = list(self._pending)
        return sum(call.ended_s is None for call in calls), len(calls)

    def call_withdrawn(self, call: PendingCall) -> None:
        """A call that was kept turned out to be none."""
        with self._lock:
            if call in self._pending:
                if self._feed is not None:
                    self._feed.withdrawn(call)
                self._pending.remove(call)

    def client_span_is_known(self, span_id: int) -> None:
        """A client span that is still open is known to a plugin: it becomes no event of its own, call or not."""
        with self._lock:
            self._known_spans.add(span_id)

    def span_ended(self, span: EndedSpan) -> None:
        """A span has ended and was not put into `ended_spans`: over the limit, after the end, or told by a replay."""
        if self._own is not None:
            self._span_ended_late(span)
        elif len(self._spans) < self.max_spans:
            self._spans.append(span)
        else:
            self._known_spans.discard(span.span_id)
            self.drop("spans over the limit")

    def _observed(self, ended: list[EndedSpan]) -> list[EndedSpan]:
        """Of spans that have ended, those of calls that no plugin saw."""
        if not self.observes:
            return []
        seen = self._known_spans.union(call.span_id for call in self._pending)
        return [span for span in ended if span.is_client and span.span_id not in seen]

    def mark_error(self, error_type: str, error_message: str, traceback: str | None = None) -> None:
        """Say that the run failed, and how."""
        texts = {"message": error_message, **({"traceback": traceback} if traceback else {})}
        self._error_info = {"type": error_type, **{k: error_text(v) for k, v in texts.items()}}

    def drop(self, reason: str, number: int = 1) -> None:
        """Count something that was lost, here and for the whole process; ``reason`` is one of few constant texts."""
        with self._lock:
            self._dropped[reason] += number
        counters.event_dropped(reason, number)

    def end_root(self) -> None:
        """The request has ended. What calls are under way, and begin until `finalize`, still belong to it."""
        self._root_ended_s = time.perf_counter()

    @property
    def late_calls(self) -> int:
        """How many calls began after `end_root`."""
        ended_s = self._root_ended_s
        return 0 if ended_s is None else sum(call.started_s > ended_s for call in list(self._pending))

    def verdict(self) -> Verdict:
        """How many calls were recorded, and which connections were refused; a recording answers nothing."""
        return Verdict(recorded=len(self.events), blocked=tuple(self.blocked))

    def finalize(self) -> None:
        """End the session: no more events; calls that are under way stay as they are now. Harmless when repeated."""
        with self._lock:
            if not self._finalized:
                # First of all: what begins from here on is the successor's.
                self.after = self.successor
                self._finalized, self._refuses, self.wanted = True, _AFTER_THE_END, {}
                self._ended_s = time.perf_counter()

    def finalize_if_quiet(self) -> bool:
        """`finalize`, unless a call is under way; between the two, none can begin."""
        with self._lock:
            before = self._refuses, self.wanted, self.after
            # From here on, calls that begin go to the successor.
            self._refuses, self.wanted, self.after = _AFTER_THE_END, {}, self.successor
            if self.calls_under_way()[0]:
                self._refuses, self.wanted, self.after = before
                return False
            self.finalize()
            return True

    def discard(self) -> None:
        """End a session that nobody wants, nor the calls of it that begin from now on: nothing of it is a loss."""
        with self._lock:
            self.successor = lambda: None
            self.finalize()
            self.release()

    def release(self) -> None:
        """Let go of all that a finalised session kept: it is written, or nobody wants it.

        What outlives its request (a task, a thread, a connection) keeps the session alive, and must not keep more.
        """
        with self._lock:
            self._own = self._own or (frozenset(), frozenset(self._known_spans))
            self.ended_spans = self._feed = None
            exchange, self.exchange = self.exchange, None
            self.request = self.response = self.origin = None
            self._pending, self._given, self._spans, self._made = [], [], [], {}
        if exchange is not None:
            exchange.release()

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy: the session is its parent's, which writes it."""
        return os.getpid() != self._pid

    def disown(self, successor: Callable[[], BaseSession | None] | None) -> None:
        """End a forked child's copy; the child's own calls go to the session that follows."""
        # Whoever held the lock when the process was forked is not here to let go of it.
        self._lock = threading.RLock()
        self.successor, self._pending = successor, []
        self.finalize()

    def head(self) -> Cassette:
        """What is known so far, redacted, but for the events."""
        return self._cassette([])

    def to_cassette(self) -> Cassette:
        """Everything recorded so far, redacted."""
        return self._cassette(self.events)

    def _cassette(self, events: list[DependencyEvent]) -> Cassette:
        request, response = self._exchanged()
        # As its first call knows the trace, where no span of the request was recorded.
        trace_id = self.trace_id or next((f"{call.trace_id:032x}" for call in self._pending if call.trace_id), None)
        return Cassette(
            schema_version=str(FORMAT_VERSION),
            session=meta(self.config, self._session_id, self._started_at, self.framework, trace_id),
            request=request,
            response=response,
            events=events,
            policies=policies(self.config, self._maker.redactor),
            stats=CaptureStats.of(events, self.elapsed_ms, self._dropped),
            error_info=self._error_info,
        )

    def _exchanged(self) -> tuple[RequestSnapshot, ResponseSnapshot]:
        seen = self.exchange or self.origin
        request = self.request or (seen.request() if seen is not None else RequestSnapshot(method="", path=""))
        response = self.response or (seen.response() if seen is not None else ResponseSnapshot(status=0))
        failed = response.status >= 400 or self.has_error
        return self._maker.request(request, failed), self._maker.response(response, failed)

    def _refuse(self) -> None:
        if self.after is not None:
            return
        if not self._refuses:
            self._refuses = "calls behind the limit of bodies" if self.limits.full else "events over the limit"
            self.wanted = {}
        self.drop(self._refuses)
        if self._refuses == _AFTER_THE_END:
            faults.warn_once(
                _AFTER_THE_END,
                "a call was made in a recording that had ended, by a task that outlives its block for one, and is in "
                "no cassette. Further ones are counted, not logged.",
            )

    def _end_with(self, pending: list[PendingCall], ended: list[EndedSpan]) -> None:
        """These are the calls of the cassette, and none comes any more: note them, and what is missing of them."""
        open_spans = self._known_spans.union(call.span_id for call in pending) - {span.span_id for span in ended}
        self._own = frozenset(call.eid for call in pending), frozenset(open_spans)
        self.ended_spans = None
        unanswered = sum(call.ended_s is None and call.returned_s is None for call in pending)
        if unanswered:
            self.drop("answers that came after the end", unanswered)
        if self.limits.refused:
            self.drop("bodies over the limit", self.limits.refused)

    def _began_in_time(self, call: PendingCall) -> bool:
        """Another thread ended the session while the call was being kept: whether the cassette has it."""
        with self._lock:
            if self._own is None or call.eid in self._own[0]:
                return True
            self._refuse()
            return False

    def _span_ended_late(self, span: EndedSpan) -> None:
        after = self.after() if self.after is not None else None
        if isinstance(after, TraceSession) and self._own is not None and span.span_id not in self._own[1]:
            after.span_ended(span)

    def _event_of(self, call: PendingCall, span: EndedSpan | None) -> DependencyEvent:
        made = self._made.get(call.eid)
        if made is None or (span is not None and (made.span is None or made.span.name is None)):
            made = self._maker.event(call, span.facts() if span else None, self._started_s, self._ended_s)
            # What is still under way is made anew the next time it is asked for.
            if call.ended_s is not None:
                self._made[call.eid] = made
        return made


class EventFeed:
    """Goes through what a session collects, and gives each event once, when it has finished. One for each session.

    For one thread, beside those that record. Each step costs what came since the last one, and what is under way.
    """

    def __init__(self, session: TraceSession) -> None:
        self._session = session
        self._calls_seen = 0
        self._given_seen = 0
        self._under_way: list[PendingCall] = []
        self._spans: dict[int, EndedSpan] = {}
        self._spans_seen = 0
        session._feed = self

    def take(self, patience_s: float) -> list[DependencyEvent]:
        """The events that have finished since the last step, redacted, each with its place as its ``eid``.

        Args:
            patience_s: How long the end of a call's span is waited for after the call has ended; some spans are
                about more than the call.
        """
        session = self._session
        now_s = time.perf_counter()
        with session._lock:
            ended_spans = session._spans[self._spans_seen :]
            self._spans_seen += len(ended_spans)
            spans = self._spans
            spans.update((span.span_id, span) for span in ended_spans)
            calls: list[PendingCall] = []
            under_way: list[PendingCall] = []
            for call in (*self._under_way, *session._pending[self._calls_seen :]):
                ended = call.ended_s is not None and (
                    not call.span_id or call.span_id in spans or now_s - call.ended_s >= patience_s
                )
                (calls if ended else under_way).append(call)
            self._calls_seen, self._under_way = len(session._pending), under_way
            given = session._given[self._given_seen :]
            self._given_seen += len(given)
            observed = session._observed(ended_spans) if ended_spans else []
        # Copies: in the session the events are numbered anew.
        events = [replace(event) for event in given]
        events += [replace(session._event_of(call, spans.get(call.span_id)), eid=call.eid) for call in calls]
        for span in observed:
            event = session._maker.observed(span.facts(), session._started_ns)
            event.eid = session.next_eid()
            events.append(event)
        return events

    def withdrawn(self, call: PendingCall) -> None:
        """A call is about to be taken out of the session's list."""
        if self._session._pending.index(call) < self._calls_seen:
            self._calls_seen -= 1
            self._under_way = [other for other in self._under_way if other is not call]
