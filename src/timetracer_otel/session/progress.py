"""What of a recording that is still running was handed out already."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from timetracer_otel.session.base import EndedSpan, PendingCall
from timetracer_otel.types import DependencyEvent

if TYPE_CHECKING:
    from timetracer_otel.session.trace import TraceSession

__all__ = ["Progress"]


class Progress:
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
        session._progress = self

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
