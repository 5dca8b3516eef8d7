"""`TraceSession`: one recording."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Container
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from timetracer_otel.base import counters, faults, real_time
from timetracer_otel.base.chance import random_uuid
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import FORMAT_VERSION, TraceMode
from timetracer_otel.exceptions import NetworkBlockedError
from timetracer_otel.redact.forms import error_text
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session.base import BaseSession, EndedSpan, PendingCall, RootExchange
from timetracer_otel.session.body_taps import BodyLimits
from timetracer_otel.session.events import EventMaker
from timetracer_otel.session.header import meta, policies
from timetracer_otel.session.log_buffer import LogBuffer, LoggedRecord
from timetracer_otel.session.open_events import copy_of, facts_in
from timetracer_otel.session.secret_book import raw_texts
from timetracer_otel.session.span_roles import (
    LATEST_REQUESTS,
    SpanRoles,
    StartedRequest,
    around,
    message_of,
    started_request,
)
from timetracer_otel.session.transactions import statements_of_boundaries
from timetracer_otel.types import (
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    RequestSnapshot,
    ResponseSnapshot,
    SpanFacts,
    Verdict,
)

if TYPE_CHECKING:
    from timetracer_otel.match.rerecording import Rerecorded

__all__ = ["EventFeed", "TraceSession"]

_AFTER_THE_END = "calls after the end"
_LOGS_OVER = "log records over the limit"
_MOST_TIMES_ANEW = 3
_MOST_ADDRESSES = 100


class TraceSession(BaseSession):
    """Collects the calls of one run, and makes a cassette of them.

    Safe from any thread and task. Calls of one session may end in any order, and in any thread.

    Args:
        config: Decides what is captured and how much of it. Without it, the defaults.
        started_ms_ago: For a session that continues another recording: how long before now its times begin.
        goes_on_from: That recording. Its secrets are replaced in the same manner, and its pseudonyms stay.

    Attributes:
        request, response: The request that the run was about, and its response, where somebody set them.
        exchange: Gives both where a middleware saw them, and nobody set them.
        origin: Gives both from the request's span, where no middleware saw them.
        kept_as: Why the recording is kept, where the settings ``policy`` or ``budget`` have decided.
        limits: How much memory there is for bodies.
        observes: Whether client spans of calls that no plugin saw become events.
        successor: Gives the session of calls that begin after this session has ended. None: such calls are lost.
    """

    call_ended: Callable[[PendingCall], None] | None = None
    """Called when a recorded call has ended, with its last byte. Only a session that is written piece by piece sets
    it."""

    observes = True

    rerecorded: Rerecorded | None = None
    """What became of the older recording whose place this one took, once it is written; None where there was none."""

    # See `ReplaySession`: the attributes that every recorded call needs.
    __slots__ = (
        "_eids",
        "_feed",
        "_given",
        "_lock",
        "_max_calls",
        "_pending",
        "_refuses",
        "_spans",
        "ended_spans",
        "limits",
        "max_spans",
        "wanted",
    )

    def __init__(
        self, config: TraceConfig | None = None, started_ms_ago: float = 0.0, goes_on_from: Cassette | None = None
    ) -> None:
        self.config: TraceConfig = config if config is not None else TraceConfig(mode=TraceMode.RECORD)
        self.request: RequestSnapshot | None = None
        self.response: ResponseSnapshot | None = None
        self.exchange: RootExchange | None = None
        self.origin: RootExchange | None = None
        self.limits: BodyLimits = BodyLimits(self.config.max_body_bytes, self.config.max_session_bytes)
        self.successor: Callable[[], BaseSession | None] | None = None
        self.trace_id: str | None = None
        self.framework = ""
        self.kept_as = ""
        self.blocked: list[NetworkBlockedError] = []
        self._session_id = random_uuid()
        self._pid = os.getpid()
        self._started_at = real_time.utc_now()
        self._started_s = time.perf_counter() - started_ms_ago / 1000
        self._started_ns = real_time.time_ns() - int(started_ms_ago * 1e6)
        # To read the state draws nothing: the app gets the numbers that it would get without us.
        self._random_state = random.getstate() if self.config.random_state else None
        self._root_ended_s: float | None = None
        self._ended_s: float | None = None
        self.max_spans: int = self.config.max_events
        self._max_calls = self.max_spans
        self._refuses = ""
        """Why no more calls are recorded; empty while calls are recorded."""
        self._lock = threading.RLock()
        self._eids = itertools.count(1)
        self._pending: list[PendingCall] = []
        self._ended_calls = 0
        """How many calls at the beginning are known to have ended."""
        self._given: list[DependencyEvent] = []
        self.ended_spans = self._spans = list[EndedSpan]()
        self._known_spans: set[int] = set()
        self._made: dict[int, DependencyEvent] = {}
        self._feed: EventFeed | None = None
        self._dropped: Counter[str] = Counter()
        self._connections: Counter[tuple[str, str]] = Counter()
        self._error_info: dict[str, Any] | None = None
        self._logs = LogBuffer(self.config.log_records)
        self._finalized = False
        self._own: tuple[frozenset[int], frozenset[int]] | None = None
        """Set when the cassette is made: the positions of its calls, and the ids of their spans that have not
        ended."""
        self.wanted: dict[str, bool] = {}
        """The answers of `wants`, by plugin, as far as it was asked. Empty once no more calls are recorded."""
        rules = Redactor.of(self.config.redact, self.config.redact_extra, self.config.redact_rules)
        if goes_on_from is None:
            self._maker = EventMaker(self.config, rules)
        elif goes_on_from.policies.pseudonymised:
            self._maker = EventMaker(self.config, rules, known=goes_on_from.pseudonyms)
        else:
            self._maker = EventMaker(self.config, Redactor.from_policies(goes_on_from.policies), masks=True)

    def keep_pseudonym(self, secret: str, pseudonym: str) -> None:
        """Say which pseudonym a secret has in the recording that this one goes on from."""
        if self._maker.book is not None:
            self._maker.book.pseudonyms.keep(secret, pseudonym)

    def __repr__(self) -> str:
        state = "ended" if self._finalized else "recording"
        number = len(self._pending) + len(self._given)
        return f"<{type(self).__name__} {self.short_id}: {state}, {number} call{'s' * (number != 1)}>"

    @property
    def mode(self) -> TraceMode:
        """`TraceMode.RECORD`."""
        return TraceMode.RECORD

    @property
    def session_id(self) -> str:
        """A random UUID, also that of the cassette."""
        return self._session_id

    @property
    def short_id(self) -> str:
        """The first eight characters of the identifier, as in file names."""
        return self._session_id[:8]

    @property
    def is_recording(self) -> bool:
        """True."""
        return True

    @property
    def is_replaying(self) -> bool:
        """False."""
        return False

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds from the session's begin until its root ended, or it was finalised, or now."""
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
        """The events up to now, redacted, in order of start. A new list is made each time."""
        with self._lock:
            pending, given, ended = list(self._pending), list(self._given), list(self._spans)
            span_ids = [call.span_id for call in pending]
            unseen = self._unseen(ended, frozenset(span_ids))
            ends = self._finalized and self._own is None
            if ends:
                self._end_with(pending, ended, span_ids)
        spans = {span.span_id: span for span in ended}
        made = self._events_of(pending, spans)
        events: list[DependencyEvent] = [*given, *made.values()]
        if unseen:
            alone: Counter[str] = Counter()
            roles = SpanRoles(pending, spans, self._zero_ns)
            within: dict[int, list[SpanFacts]] = {}
            for span in unseen:
                facts = span.facts()
                call = roles.within(span, facts)
                if call is not None:
                    within.setdefault(call.eid, []).append(facts)
                elif roles.is_above(span, facts):
                    call = roles.of_model(span, facts)
                    if call is not None:
                        within.setdefault(call.eid, []).append(facts)
                else:
                    event = self._maker.observed(facts, self._started_ns)
                    events.append(event)
                    if event.is_without_plugin:
                        alone[event.signature.lib] += 1
            for position, inner in within.items():
                self._maker.within(made[position], inner)
            if ends and alone:
                counters.calls_without_plugin(alone)
        self._maker.clean(events)
        events.sort(key=attrgetter("start_offset_ms"))
        for eid, event in enumerate(events, 1):
            if event.eid != eid:
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
        """Count a call that `wants` refused as lost, unless the settings do not capture its plugin."""
        if self._refuses and self.config.captures(plugin_name):
            self._refuse()

    def set_request(self, request: RequestSnapshot) -> None:
        """Set the request that the run is about."""
        self.request = request

    def set_response(self, response: ResponseSnapshot) -> None:
        """Set the response of the run."""
        self.response = response

    def add_event(self, event: DependencyEvent) -> None:
        """Add the event of a hand-written plugin; it gets the next position.

        After the end of the session, the event goes to the session that follows. Without one it is counted as lost.
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
        """The next position, for what is no call of a plugin: a given event, an observed span."""
        return next(self._eids)

    def call_began(self, call: PendingCall) -> bool:
        """Keep a call, and give it its position. Its event is made when somebody asks for it.

        False where the call is not kept: it is over a limit, or the session has ended at this moment.
        """
        if self._refuses or len(self._pending) >= self._max_calls or self.limits.left_bytes < 0:
            self._refuse()
            return False
        call.eid = next(self._eids)
        self._pending.append(call)
        return not self._finalized or self._began_in_time(call)

    @property
    def call_count(self) -> int:
        """How many calls are kept."""
        return len(self._pending)

    @property
    def is_calling(self) -> bool:
        """Whether a call has not ended yet."""
        with self._lock:
            # A call that has ended is not asked again. So to look takes no longer the more calls there are.
            pending, ended = self._pending, self._ended_calls
            while ended < len(pending) and pending[ended].ended_s is not None:
                ended += 1
            self._ended_calls = ended
            return ended < len(pending)

    def connected(self, library: str, address: str) -> None:
        """Note a connection that no plugin makes. After the end of the session, it goes to the one that follows.

        Args:
            library: Who makes it.
            address: Where it goes.
        """
        after = self.after() if self.after is not None else None
        if isinstance(after, TraceSession):
            after.connected(library, address)
            return
        with self._lock:
            if (library, address) not in self._connections and len(self._connections) >= _MOST_ADDRESSES:
                self.drop("addresses of connections over the limit")
            elif not self._finalized:
                self._connections[library, address] += 1
                counters.connection_without_plugin(library, address)

    def call_withdrawn(self, call: PendingCall) -> None:
        """Remove a call that turned out to be none of its plugin's."""
        with self._lock:
            at = self._place_of(call)
            if at is None:
                return
            if self._feed is not None:
                self._feed.withdrawn(call, at)
            if at < self._ended_calls:
                self._ended_calls -= 1
            del self._pending[at]

    def _place_of(self, call: PendingCall) -> int | None:
        """Where a call stands among those that are kept; None where it is not one of them."""
        pending = self._pending
        # They stand in the order of their positions, except where two threads began calls at the same moment.
        at = bisect_left(pending, call.eid, key=attrgetter("eid"))
        if at < len(pending) and pending[at] is call:
            return at
        return pending.index(call) if call in pending else None

    def client_span_is_known(self, span_id: int) -> None:
        """Note that a plugin knows a client span that is still open. The span becomes no event of its own."""
        with self._lock:
            self._known_spans.add(span_id)

    def span_ended(self, span: EndedSpan) -> None:
        """Take an ended span that was not put into `ended_spans`.

        It is over the limit, it ended after the session, or a replay passes it on to its recorder.
        """
        if self._own is not None:
            self._span_ended_late(span)
        elif len(self._spans) < self.max_spans:
            self._spans.append(span)
        else:
            self._known_spans.discard(span.span_id)
            self.drop("spans over the limit")

    @property
    def _zero_ns(self) -> int:
        """What `time.time_ns` gave when `time.perf_counter` gave 0."""
        return self._started_ns - int(self._started_s * 1e9)

    def _unseen(self, ended: list[EndedSpan], span_ids: Container[int]) -> list[EndedSpan]:
        """The ended client spans that no plugin knows. ``span_ids`` are those of all calls."""
        if not self.observes:
            return []
        known = self._known_spans
        return [
            span for span in ended if span.is_client and span.span_id not in span_ids and span.span_id not in known
        ]

    def mark_error(self, error_type: str, error_message: str, traceback: str | None = None) -> None:
        """Note that the run failed, and how."""
        texts = {"message": error_message, **({"traceback": traceback} if traceback else {})}
        if self._maker.rules.active:
            texts = {name: error_text(text) for name, text in texts.items()}
        self._error_info = {"type": error_type, **texts}

    def log_made(self, record: LoggedRecord) -> None:
        """Keep a log record of the app. One that comes after the end, or is over the limit, is not kept."""
        if not self._finalized and not self._logs.take(record) and self.config.log_records:
            self.drop(_LOGS_OVER)

    def drop(self, reason: str, number: int = 1) -> None:
        """Count a loss, here and for the whole process. ``reason`` is one of few constant texts."""
        with self._lock:
            self._dropped[reason] += number
        counters.event_dropped(reason, number)

    def end_root(self) -> None:
        """Note that the request has ended. Calls that are under way, or begin before `finalize`, still belong to
        it.
        """
        self._root_ended_s = time.perf_counter()

    @property
    def late_calls(self) -> int:
        """How many calls began after `end_root`."""
        ended_s = self._root_ended_s
        return 0 if ended_s is None else sum(call.started_s > ended_s for call in list(self._pending))

    def verdict(self) -> Verdict:
        """The number of recorded calls, and the refused connections. A recording has no hits and no misses."""
        return Verdict(recorded=len(self.events), blocked=tuple(self.blocked))

    def finalize(self) -> None:
        """End the session. No events are added any more; calls under way stay as they are now. Harmless when
        repeated.
        """
        with self._lock:
            if not self._finalized:
                # Set first: calls that begin from here on go to the successor.
                self.after = self.successor
                self._finalized, self._refuses, self.wanted = True, _AFTER_THE_END, {}
                self._ended_s = time.perf_counter()

    def finalize_if_quiet(self) -> bool:
        """End the session, unless a call is under way. No call can begin between the check and the end."""
        with self._lock:
            before = self._refuses, self.wanted, self.after
            # From here on, calls that begin go to the successor.
            self._refuses, self.wanted, self.after = _AFTER_THE_END, {}, self.successor
            if self.is_calling:
                self._refuses, self.wanted, self.after = before
                return False
            self.finalize()
            return True

    def discard(self) -> None:
        """End a session whose recording is not wanted. Calls that begin later are dropped without being counted."""
        with self._lock:
            self.successor = lambda: None
            self.finalize()
            self.release()

    def release(self) -> None:
        """Free the memory of a finalised session: its recording is written, or not wanted.

        A task, a thread or a connection that outlives its request refers to the session. It must not keep the
        recorded calls and bodies in memory.
        """
        with self._lock:
            self._own = self._own or (frozenset(), frozenset(self._known_spans))
            self.ended_spans = self._feed = None
            exchange, self.exchange = self.exchange, None
            self.request = self.response = self.origin = None
            for event in self._made.values():
                # What these are made of is the event itself. Python frees a circle only when it looks for circles.
                event.transaction = ()
            self._pending, self._given, self._spans, self._made = [], [], [], {}
            self._ended_calls = 0
            self._logs.clear()
        self._maker.release()
        if exchange is not None:
            exchange.release()

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child of the one that began the session. The parent writes the session."""
        return os.getpid() != self._pid

    def disown(self, successor: Callable[[], BaseSession | None] | None) -> None:
        """End the copy of the session in a forked child. The child's own calls go to the session that follows."""
        # A thread of the parent may have held the lock when the process was forked. That thread does not exist in the
        # child, and would never release the lock.
        self._lock = threading.RLock()
        self.successor, self._pending, self._ended_calls = successor, [], 0
        self.finalize()

    def head(self) -> Cassette:
        """The cassette up to now, redacted, without events."""
        return self._cassette([], self._exchanged())

    def to_cassette(self) -> Cassette:
        """Everything recorded so far, redacted."""
        # The secrets of the request and of its response may stand in events, and the other way round.
        logs = self._logs.entries(self._started_s)
        self._maker.note_logs(logs)
        exchanged = self._exchanged()
        events = self.events
        for _ in range(_MOST_TIMES_ANEW):
            if not self._renamed_anew():
                break
            exchanged = self._exchanged()
            events = self.events
        made = self._cassette(events, exchanged)
        made.logs = self._maker.logs(logs)
        return made

    def _renamed_anew(self) -> bool:
        """Whether a pseudonym was among the recording's own values, so that its secret gets another one, and the
        events are made anew.
        """
        book = self._maker.book
        if book is None or self._given:
            return False
        calls = list(self._pending)
        found = book.collisions(text for call in calls for text in raw_texts(call.call(), call.result()))
        if found:
            book.rename(found)
            self._made = {}
        return bool(found)

    def _cassette(
        self, events: list[DependencyEvent], exchanged: tuple[RequestSnapshot, ResponseSnapshot]
    ) -> Cassette:
        request, response = exchanged
        book, error_info = self._maker.book, self._error_info
        if book is not None:
            request, response = book.exchanged(request, response)
            error_info = book.error(error_info)
        # Where the request's own span was not recorded, the first call with a span names the trace.
        trace_id = self.trace_id or next((f"{call.trace_id:032x}" for call in self._pending if call.trace_id), None)
        return Cassette(
            schema_version=str(FORMAT_VERSION),
            session=meta(
                *(self.config, self._session_id, self._started_at, self.framework, trace_id, self._random_state),
                resource=self.resource,
            ),
            request=request,
            response=response,
            events=events,
            policies=policies(self.config, self._maker.redactor, self.kept_as),
            stats=CaptureStats.of(events, self.elapsed_ms, self._dropped, self._connections),
            error_info=error_info,
            pseudonyms=book.names() if book is not None else (),
        )

    def _exchanged(self) -> tuple[RequestSnapshot, ResponseSnapshot]:
        if self._error_info is not None and self._maker.book is not None:
            self._maker.book.note(self._error_info)
        seen = self.exchange or self.origin
        if seen is None and self.request is None and self.response is None:
            # A block is about no request: there is nothing to redact.
            return RequestSnapshot(method="", path=""), ResponseSnapshot(status=0)
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

    def _end_with(self, pending: list[PendingCall], ended: list[EndedSpan], span_ids: list[int]) -> None:
        """Note which calls and open spans the cassette has, now that no more come, and count the missing answers."""
        open_spans = self._known_spans.union(span_ids) - {span.span_id for span in ended}
        self._own = frozenset([call.eid for call in pending]), frozenset(open_spans)
        self.ended_spans = None
        unanswered = sum([call.returned_s is None and call.ended_s is None for call in pending])
        if unanswered:
            self.drop("answers that came after the end", unanswered)
        if self.limits.refused:
            self.drop("bodies over the limit", self.limits.refused)

    def _began_in_time(self, call: PendingCall) -> bool:
        """Whether the cassette has a call that was kept while another thread ended the session."""
        with self._lock:
            if self._own is None or call.eid in self._own[0]:
                return True
            self._refuse()
            return False

    def _span_ended_late(self, span: EndedSpan) -> None:
        after = self.after() if self.after is not None else None
        if isinstance(after, TraceSession) and self._own is not None and span.span_id not in self._own[1]:
            after.span_ended(span)

    def _events_of(self, calls: list[PendingCall], spans: dict[int, EndedSpan]) -> dict[int, DependencyEvent]:
        """The events of calls by the positions of these, in the same order. ``spans`` are those that have ended."""
        known = self._made
        events: dict[int, DependencyEvent | None] = {}
        anew: list[PendingCall] = []
        for call in calls:
            span, made = spans.get(call.span_id), known.get(call.eid)
            if made is None or (span is not None and not _has_span(made)):
                anew.append(call)
                made = None
            events[call.eid] = made
        statements = statements_of_boundaries(anew)
        self._make([call for call in anew if call.eid not in statements] if statements else anew, spans, events)
        if statements:
            # What follows from a statement is made of its event.
            left: list[PendingCall] = []
            for call in anew:
                statement = events[statements[call.eid]] if call.eid in statements else None
                if statement is None:
                    continue
                event = self._maker.boundary(call, statement, self._started_s)
                if event is None:
                    left.append(call)
                else:
                    events[call.eid] = known[call.eid] = event
            self._make(left, spans, events)
        return cast("dict[int, DependencyEvent]", events)

    def _make(
        self,
        calls: list[PendingCall],
        spans: dict[int, EndedSpan],
        events: dict[int, DependencyEvent | None],
    ) -> None:
        """Make the events of calls, each with the facts of its span, and put them among ``events``."""
        if not calls:
            return
        # The event of a call under way is not kept: it is made anew the next time, with what came since.
        ended = [call.ended_s is not None for call in calls]
        found = [(call, span.facts() if (span := spans.get(call.span_id)) else None) for call in calls]
        made = self._maker.events(found, self._started_s, self._ended_s)
        for call, has_ended, event in zip(calls, ended, made, strict=True):
            events[call.eid] = event
            if has_ended:
                self._made[call.eid] = event


def _has_span(event: DependencyEvent) -> bool:
    """Whether an event has the facts of a span that has ended."""
    facts = facts_in(event)
    return facts is not None and facts.name is not None


class EventFeed:
    """Gives each event of a session once, when it has finished. A session has at most one feed.

    One thread may use it, while other threads record. The cost of each `take` depends on the calls since the last
    one, and on those under way; not on the length of the session.
    """

    def __init__(self, session: TraceSession) -> None:
        self._session = session
        self._calls_seen = 0
        self._given_seen = 0
        self._under_way: list[PendingCall] = []
        self._calls_of_span: Counter[int] = Counter()
        """How many of the calls that were seen were made in a span, by its id."""
        self._spans: dict[int, EndedSpan] = {}
        self._spans_seen = 0
        self._unplaced: list[EndedSpan] = []
        self._above: set[int] = set()
        self._requests: deque[StartedRequest] = deque(maxlen=LATEST_REQUESTS)
        session._feed = self

    def take(self, patience_s: float) -> list[DependencyEvent]:
        """The events that have finished since the last `take`, redacted, each with its position as its ``eid``.

        Args:
            patience_s: How long to wait for the end of a call's span after the call has ended. Some spans last
                longer than their call.
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
            new = session._pending[self._calls_seen :]
            self._calls_of_span.update([call.span_id for call in new])
            for call in (*self._under_way, *new):
                ended = call.ended_s is not None and (
                    not call.span_id or call.span_id in spans or now_s - call.ended_s >= patience_s
                )
                (calls if ended else under_way).append(call)
            self._calls_seen, self._under_way = len(session._pending), under_way
            given = session._given[self._given_seen :]
            self._given_seen += len(given)
            unseen = [*self._unplaced, *session._unseen(ended_spans, self._calls_of_span)]
        # Copies, since `TraceSession.events` numbers the session's own events anew.
        events = [replace(event) for event in given]
        # Copies of these as well. They are written one by one, so that none of them stands within another.
        found = session._events_of(calls, spans)
        made = {eid: copy_of(event, eid) for eid, event in found.items()}
        events += made.values()
        for call in calls:
            span = spans.get(call.span_id)
            self._above.update(outer.span_id for outer in around(span) if outer.is_client)
            request = started_request(call, made[call.eid].event_type, span, session._zero_ns)
            if request is not None:
                self._requests.append(request)
        if unseen:
            events += self._placed(unseen, made, [*calls, *under_way], now_s - patience_s)
        session._maker.clean(events)
        book = session._maker.book
        if book is not None:
            for event in events:
                book.new_in(event)
        return events

    def _placed(
        self, unseen: list[EndedSpan], made: dict[int, DependencyEvent], calls: list[PendingCall], settled_s: float
    ) -> list[DependencyEvent]:
        """The events of spans that no plugin knows. A span within a call under way waits for the call's end.

        So does a span about a message, unless it had ended before ``settled_s``: a call may yet send the message.
        """
        session, self._unplaced = self._session, []
        roles = SpanRoles(calls, self._spans, session._zero_ns, self._requests)
        within: dict[int, list[SpanFacts]] = {}
        events: list[DependencyEvent] = []
        for span in unseen:
            facts = span.facts()
            call = roles.within(span, facts)
            if call is not None and call.eid not in made:
                self._unplaced.append(span)
            elif call is not None:
                within.setdefault(call.eid, []).append(facts)
            elif span.span_id in self._above or roles.is_above(span, facts):
                model_call = roles.of_model(span, facts)
                if model_call is not None and model_call.eid in made:
                    within.setdefault(model_call.eid, []).append(facts)
            elif message_of(facts) is not None and (facts.end_ns or 0) > session._zero_ns + int(settled_s * 1e9):
                self._unplaced.append(span)
            else:
                event = session._maker.observed(facts, session._started_ns)
                event.eid = session.next_eid()
                events.append(event)
        for eid, inner in within.items():
            session._maker.within(made[eid], inner)
        return events

    def withdrawn(self, call: PendingCall, at: int) -> None:
        """Adjust the feed to a call that is about to be removed from this place in the session's list."""
        if at < self._calls_seen:
            self._calls_seen -= 1
            self._under_way = [other for other in self._under_way if other is not call]
            self._calls_of_span[call.span_id] -= 1
            if not self._calls_of_span[call.span_id]:
                del self._calls_of_span[call.span_id]
