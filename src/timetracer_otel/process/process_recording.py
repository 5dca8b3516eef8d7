"""The recording of calls outside any request: one cassette for the whole process, written call by call."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from timetracer_otel.base import counters, faults, real_time
from timetracer_otel.cassette import AppendWriter, CassetteStore, cassette_path, why_unwritten
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.session import TraceSession
from timetracer_otel.session.base import BaseSession, EndedSpan, PendingCall
from timetracer_otel.session.body_taps import BodyLimits
from timetracer_otel.session.span_roles import (
    LATEST_REQUESTS,
    SpanRoles,
    StartedRequest,
    around,
    open_model,
    started_request,
)
from timetracer_otel.types import Cassette, DependencyEvent, SpanFacts

__all__ = ["ProcessSession"]

_PAUSE_S = 10.0
_MOST_FINISHED = 2
_MOST_HELD = 64
"""How many calls at most wait for the end of a span of a language model: one for each such span, the last one."""
_ROTATED_OUT = "calls of files of the process that newer ones have replaced"
_UNWRITTEN = "calls that could not be written"


def _no_clients(_: BaseSession) -> Sequence[EndedSpan]:
    return ()


class ProcessSession(TraceSession):
    """Appends each call to its file as soon as the call and its span have ended, and keeps nothing of it in memory.

    An HTTP request to a language model waits for the end of the model's span, which says what it has used.

    The file is made with the first call. Where it cannot be written, one line is logged and the calls are counted as
    dropped; the app goes on.

    A worker may poll for years. A file that has as many calls, or as many bytes, as one recording may have is
    finished, and another one is begun. Of the finished ones two are kept: the first, which has what the process did
    at its start (a replay needs that), and the last.

    Args:
        config: Where to write, and what to capture.
        live: Gives the span with an id that has not ended yet, so that a call waits for its end; None for others.
        began_file: Called when there is one more file in the folder.
        open_clients: Gives the client spans of a session that have not ended.
    """

    def __init__(
        self,
        config: TraceConfig,
        live: Callable[[int], EndedSpan | None],
        began_file: Callable[[], object] = bool,
        open_clients: Callable[[BaseSession], Sequence[EndedSpan]] = _no_clients,
    ) -> None:
        super().__init__(config)
        # Only the size of each body is limited. Their sum is not: what is written is no longer in memory.
        self.limits = BodyLimits(config.max_body_bytes)
        self._live = live
        self._open_clients = open_clients
        self._under_way: dict[int, PendingCall] = {}
        self._calls_of_span: dict[int, int] = {}
        # The span processor appends ended spans to this list. Without one it calls `span_ended` for each.
        self.ended_spans = None
        self._spans_of_calls: dict[int, EndedSpan] = {}
        self._waiting_for_span: dict[int, list[PendingCall]] = {}
        self._within: dict[int, list[SpanFacts]] = {}
        """By the position of a call under way: the spans of other instrumentations that are part of it."""
        self._above: set[int] = set()
        """The ids of live client spans around calls that are written."""
        self._held: dict[int, tuple[PendingCall, EndedSpan | None]] = {}
        """By the id of a live span of a language model: the last request that was made for it, with its own span."""
        self._requests: deque[StartedRequest] = deque(maxlen=LATEST_REQUESTS)
        self._output: AppendWriter | None = None
        self._finished: list[tuple[str, int]] = []
        self._began_file = began_file
        self._pauses_until_s = 0.0
        self._unwritten = _UNWRITTEN
        self._closed = False
        self._writing = False
        self._to_write: list[DependencyEvent] = []
        """Events that came while another one was being written, by the same thread: a garbage collection may end a
        call at any place."""
        self._alone: Counter[str] = Counter()
        """How many calls no plugin captured, by library."""
        self.call_ended = self._write_ended

    def call_began(self, call: PendingCall) -> bool:
        """Take in a call that begins; False, counted, where it is not recorded."""
        with self._lock:
            if self._closed:
                self.drop(_UNWRITTEN)
                return False
            if len(self._under_way) >= self.config.max_events:
                # Most likely streams that nobody closes.
                self.drop("calls under way over the limit")
                return False
            call.eid = self.next_eid()
            self._under_way[call.eid] = call
            self._calls_of_span[call.span_id] = self._calls_of_span.get(call.span_id, 0) + 1
        return True

    def _write_ended(self, call: PendingCall) -> None:
        with self._lock:
            if self._under_way.pop(call.eid, None) is None:
                return
            span = self._spans_of_calls.get(call.span_id)
            if span is None and call.span_id and self._live(call.span_id) is not None:
                self._waiting_for_span.setdefault(call.span_id, []).append(call)
                return
            self._settled(call.span_id)
            self._place(call, span)

    @property
    def is_calling(self) -> bool:
        """Whether a call has not ended yet."""
        return bool(self._under_way)

    def call_withdrawn(self, call: PendingCall) -> None:
        """Forget a call that is not to be recorded after all."""
        with self._lock:
            if self._under_way.pop(call.eid, None) is not None:
                self._within.pop(call.eid, None)
                self._settled(call.span_id)

    def span_ended(self, span: EndedSpan) -> None:
        """Write the calls that waited for this span. A client span that is no part of a call, and no call is part of
        it, becomes an observed event.
        """
        span_id = span.span_id
        with self._lock:
            stands_alone = span.is_client and span_id not in self._known_spans and span_id not in self._above
            self._above.discard(span_id)
            self._known_spans.discard(span_id)
            for call in self._waiting_for_span.pop(span_id, ()):
                self._settled(span_id)
                self._place(call, span)
                stands_alone = False
            if span_id in self._held:
                self._model_ended(span)
                stands_alone = False
            if span_id in self._calls_of_span:
                self._spans_of_calls[span_id] = span
            elif stands_alone:
                facts = span.facts()
                roles = self._roles()
                around_it = roles.within(span, facts)
                if around_it is not None:
                    self._within.setdefault(around_it.eid, []).append(facts)
                    return
                if roles.is_above(span, facts):
                    asked = roles.of_model(span, facts)
                    if asked is not None and all(asked is not held for held, _ in self._held.values()):
                        self._within.setdefault(asked.eid, []).append(facts)
                    return
                event = self._maker.observed(facts, self._started_ns)
                event.eid = self.next_eid()
                if event.is_without_plugin:
                    self._alone[event.signature.lib] += 1
                    counters.calls_without_plugin({event.signature.lib: 1})
                self._write(event)

    def _roles(self) -> SpanRoles:
        """Tells what the spans that end now are of the calls under way, which end later, or whose spans do."""
        calls = [
            *self._under_way.values(),
            *(call for waiting in self._waiting_for_span.values() for call in waiting),
        ]
        spans = {call.span_id: live for call in calls if (live := self._live(call.span_id)) is not None}
        spans |= self._spans_of_calls
        spans.update((span.span_id, span) for _, span in self._held.values() if span is not None)
        calls += [call for call, _ in self._held.values()]
        return SpanRoles(calls, spans, self._zero_ns, self._requests)

    def add_event(self, event: DependencyEvent) -> None:
        """Write an event that was made elsewhere."""
        event.eid = self.next_eid()
        with self._lock:
            self._write(self._maker.given(event))

    def finish(self) -> None:
        """Write the calls that are still under way as they are now, and then the footer."""
        self.finalize()
        with self._lock:
            for call in [*self._under_way.values(), *(c for calls in self._waiting_for_span.values() for c in calls)]:
                self._write_call(call, self._spans_of_calls.get(call.span_id))
            for held in self._held.values():
                self._write_call(*held)
            self._under_way.clear()
            self._waiting_for_span.clear()
            self._held.clear()
            output, self._output = self._output, None
            self._closed = True
        if output is not None:
            try:
                output.finish(self._finished_cassette())
            except CassetteError as error:
                self._give_up(error)

    def _finished_cassette(self) -> Cassette:
        """What the footer of a file is made of: its events are written already."""
        cassette = self.to_cassette()
        cassette.stats.without_plugin = dict(sorted(self._alone.items()))
        cassette.stats.connected(self._connections)
        return cassette

    def _settled(self, span_id: int) -> None:
        left = self._calls_of_span.get(span_id, 0) - 1
        if left > 0:
            self._calls_of_span[span_id] = left
        else:
            self._calls_of_span.pop(span_id, None)
            self._spans_of_calls.pop(span_id, None)

    def _place(self, call: PendingCall, span: EndedSpan | None) -> None:
        """Write a call that has ended with its span, or hold it until the span of the model that it asks ends."""
        self._place_among(self._open_clients(self), call, span)

    def _place_among(self, clients: Sequence[EndedSpan], call: PendingCall, span: EndedSpan | None) -> None:
        model = self._model_of(call, span, clients)
        if model is None:
            self._write_call(call, span)
            return
        # Of the requests for one model the last one gave its answer, so that those before it need not wait.
        before = self._held.pop(model.span_id, None)
        if before is None and len(self._held) >= _MOST_HELD:
            before = self._held.pop(next(iter(self._held)))
        self._held[model.span_id] = (call, span)
        if before is not None:
            self._write_call(*before)

    def _model_of(self, call: PendingCall, span: EndedSpan | None, clients: Sequence[EndedSpan]) -> EndedSpan | None:
        if not clients:
            return None
        try:
            request = started_request(call, call.call().event_type, span, self._zero_ns)
            own = span.facts() if span is not None and span.is_client else None
            if request is not None and own is not None and own.start_ns is not None:
                # Timed by the clock of the model's span: requests that are made at once begin close to one another.
                request = request._replace(started_ns=own.start_ns)
            return open_model(request, call.thread, clients) if request is not None else None
        except Exception as error:
            faults.contain("process_session.model", error)
            return None

    def _model_ended(self, span: EndedSpan) -> None:
        call, own = self._held.pop(span.span_id)
        self._within.setdefault(call.eid, []).append(span.facts())
        # An agent's span may be around that of the model. Those beside it are of other requests.
        outer = {each.span_id for each in around(span)}
        self._place_among([client for client in self._open_clients(self) if client.span_id in outer], call, own)

    def _write_call(self, call: PendingCall, span: EndedSpan | None) -> None:
        try:
            event = self._maker.event(call, span.facts() if span else None, self._started_s, self._ended_s)
        except Exception as error:
            self.drop("faults")
            faults.contain("process_session.event", error)
            return
        inner = self._within.pop(call.eid, None)
        if inner is not None:
            self._maker.within(event, inner)
        self._above.update(outer.span_id for outer in around(span) if outer.is_client and self._live(outer.span_id))
        request = started_request(call, event.event_type, span, self._zero_ns)
        if request is not None:
            self._requests.append(request)
        self._write(event)

    def _write(self, event: DependencyEvent) -> None:
        self._maker.clean([event])
        self._maker.written(event)
        self._to_write.append(event)
        if self._writing:
            return
        self._writing = True
        try:
            while self._to_write:
                self._write_now(self._to_write.pop(0))
        finally:
            self._writing = False

    def _write_now(self, event: DependencyEvent) -> None:
        if self._closed or time.monotonic() < self._pauses_until_s:
            self.drop(_UNWRITTEN if self._closed else self._unwritten)
            return
        try:
            output = self._output
            if output is not None and output.is_gone:
                # The setting `keep`, or a user, has deleted the file.
                output.close()
                output = None
            if output is None:
                head = self.to_cassette()
                path = cassette_path(head, self.config.cassette_dir, self.config.compression)
                self._output = output = AppendWriter(path, head, self.config.compression)
                self._began_file()
            book = self._maker.book
            if book is not None:
                book.new_in(event)
            output.append(event)
            if output.events >= self.config.max_events or output.size_bytes >= self.config.max_session_bytes:
                self._rotate(output)
        except CassetteError as error:
            self._give_up(error)
            self.drop(self._unwritten)

    def _rotate(self, output: AppendWriter) -> None:
        """Finish the file, and delete the one before it, unless that is the first. The next call begins another."""
        self._output = None
        self._finished.append((output.finish(self._finished_cassette()), output.events))
        self._alone.clear()
        self._connections.clear()
        self._started_at = real_time.utc_now()
        self._started_s, self._started_ns = time.perf_counter(), real_time.time_ns()
        if len(self._finished) > _MOST_FINISHED:
            path, events = self._finished.pop(1)
            CassetteStore(self.config.cassette_dir).delete(path)
            self.drop(_ROTATED_OUT, events)

    def _give_up(self, error: CassetteError) -> None:
        # The file may end in the middle of an event, and nothing behind that could be read. So the calls that come
        # when there is room again go to another file.
        self._output = None
        self._unwritten = f"{_UNWRITTEN}: {why_unwritten(error)}"
        self._pauses_until_s = time.monotonic() + _PAUSE_S
        faults.warn_once(
            self._unwritten,
            f"{error} Calls outside requests are counted, not recorded; every {_PAUSE_S:.0f} s it is tried again.",
        )
