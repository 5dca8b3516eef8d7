"""Client spans that are no calls of their own, since a plugin captured the same call at another level.

OpenTelemetry has instrumentations for several levels of one call. A span may stand *above* a captured call: that of a
client for language models, around its HTTP request. Or it may stand *within* one: that of urllib3, beneath a call of
requests; that of a driver, beneath a statement of an engine.

The instrumentation of an engine does not make its span current. So the driver's span has the same parent as the
engine's, and only its time and its thread tell that it is part of the statement. Many instrumentations of language
models do not make theirs current either, as it may last as long as a stream: the time tells which HTTP request was
made within it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from timetracer_otel.base.attributes import first_of
from timetracer_otel.constants import EventType
from timetracer_otel.match.leaves import joined_texts
from timetracer_otel.session.base import EndedSpan, PendingCall
from timetracer_otel.types import SpanFacts

__all__ = [
    "LATEST_REQUESTS",
    "SpanRoles",
    "StartedRequest",
    "around",
    "is_of_database",
    "is_of_model",
    "message_of",
    "open_model",
    "parent_id",
    "started_request",
]

LATEST_REQUESTS = 256
"""How many HTTP requests a recording that is written piece by piece remembers, for spans that end after them."""
_AT_ONCE = 16
"""How many calls that began before a span are looked at, to find the one that it is within."""
_TOLERANCE_NS = 1_000_000
"""Calls and spans are timed by two clocks, which may drift apart while a recording runs."""


def around(span: EndedSpan | None) -> Iterator[EndedSpan]:
    """The spans around one, innermost first."""
    while span is not None and span.parent is not None:
        span = span.parent
        yield span


def parent_id(span_id: int, span: EndedSpan | None) -> int:
    """The id of the span that a call was made in, its own client span left out; 0 for none."""
    if span is None or not span.is_client:
        return span_id
    return span.parent.span_id if span.parent is not None else 0


def is_of_database(facts: SpanFacts) -> bool:
    """Whether a span says that it is about a database."""
    return first_of(facts.attributes, "db.system.name", "db.system") is not None


def is_of_model(facts: SpanFacts) -> bool:
    """Whether a span says that it is about a call to a language model.

    https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and its older forms.
    """
    names = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "llm.request.type")
    return first_of(facts.attributes, *names) is not None


def message_of(facts: SpanFacts) -> str | None:
    """The id of the message that a span sends; None where it sends none.

    A producer's span need not be around the call that sends its message. OpenTelemetry's instrumentation of Celery
    ends it before, where the task is not registered in the sending process (`send_task`). The id stands in the
    message.
    """
    found = first_of(facts.attributes, "messaging.message.id", "messaging.message_id")
    return found if isinstance(found, str) and found else None


class StartedRequest(NamedTuple):
    """When a captured HTTP request began, and in which spans."""

    started_ns: int
    span_ids: frozenset[int]
    """Of the spans around it; with 0 where no span is around the outermost one."""


def started_request(
    call: PendingCall, event_type: EventType, span: EndedSpan | None, zero_ns: int
) -> StartedRequest | None:
    """When and where a call began, for `SpanRoles`; None where it is no HTTP request.

    Args:
        call: The call.
        event_type: Its type.
        span: The span that it was made in, where that is known.
        zero_ns: What `time.time_ns` gave when `time.perf_counter` gave 0.
    """
    if event_type is not EventType.HTTP_CLIENT:
        return None
    ids = {call.span_id, *(outer.span_id for outer in around(span))}
    outermost = span
    while outermost is not None and outermost.parent is not None:
        outermost = outermost.parent
    if outermost is not None:
        ids.add(0)
    return StartedRequest(zero_ns + int(call.started_s * 1e9), frozenset(ids))


def open_model(request: StartedRequest, thread: int | None, clients: Iterable[EndedSpan]) -> EndedSpan | None:
    """The span of a call to a language model that a request was made for, where it has not ended; None for none.

    Of several, that one is taken which is of the request's thread, and began last before the request. Tasks of one
    event loop may ask at the same time, each beneath the same parent.

    Args:
        request: The request.
        thread: `threading.get_ident` of the thread in which it was made; None where that is not known.
        clients: Client spans that have not ended.
    """
    best, best_rank = None, (False, False, 0)
    for client in clients:
        facts = client.facts()
        if facts.start_ns is None or not is_of_model(facts):
            continue
        if client.span_id in request.span_ids or _began_beside(request, client, facts, request.started_ns):
            is_before = facts.start_ns <= request.started_ns
            rank = (thread in (None, client.thread), is_before, facts.start_ns)
            if best is None or rank > best_rank:
                best, best_rank = client, rank
    return best


class _Timed(NamedTuple):
    started_ns: int
    ended_ns: int
    call: PendingCall


class SpanRoles:
    """Tells for each client span that no plugin knows whether it is above or within a captured call.

    Args:
        calls: The captured calls.
        spans: The ended spans by id.
        zero_ns: What `time.time_ns` gave when `time.perf_counter` gave 0.
        before: HTTP requests of calls that are not among these any more.
    """

    def __init__(
        self,
        calls: Sequence[PendingCall],
        spans: Mapping[int, EndedSpan],
        zero_ns: int,
        before: Iterable[StartedRequest] = (),
    ) -> None:
        self._calls = calls
        self._spans = spans
        self._zero_ns = zero_ns
        self._before = before
        self._by_span: dict[int, PendingCall] = {}
        self.above: set[int] = set()
        """The ids of client spans around captured calls."""
        self._by_parent: dict[int, list[_Timed]] = {}
        for call in calls:
            span = spans.get(call.span_id)
            if span is not None and span.is_client:
                self._by_span.setdefault(call.span_id, call)
            self.above.update(outer.span_id for outer in around(span) if outer.is_client)
            timed = _timed(call, span, zero_ns)
            self._by_parent.setdefault(parent_id(call.span_id, span), []).append(timed)
        for listed in self._by_parent.values():
            listed.sort(key=_start)

    def is_above(self, span: EndedSpan, facts: SpanFacts) -> bool:
        """Whether a captured call was made within the span, or sends the message that the span is about."""
        return (
            span.span_id in self.above
            or (is_of_model(facts) and self._has_request(span, facts))
            or self._has_message(message_of(facts))
        )

    def of_model(self, span: EndedSpan, facts: SpanFacts) -> PendingCall | None:
        """The last HTTP request that was made for a call to a language model, which gave its answer; None for other
        spans, and where there is none.
        """
        if not is_of_model(facts):
            return None
        made = [call for call in self._calls if call.call().event_type is EventType.HTTP_CLIENT]
        inside = [call for call in made if any(outer is span for outer in around(self._spans.get(call.span_id)))]
        if inside:
            return inside[-1]
        # The first request after the span may have begun within the tolerance. So the nearest one is taken, and the
        # last of those that began while the span was open.
        beside = [(far_ns, call) for call in made if (far_ns := self._far_ns(call, span, facts)) is not None]
        return min(reversed(beside), key=itemgetter(0), default=(0, None))[1]

    def _far_ns(self, call: PendingCall, span: EndedSpan, facts: SpanFacts) -> int | None:
        """By how much a request began before or after a span that it stands beside: 0 while that was open."""
        request = started_request(call, EventType.HTTP_CLIENT, self._spans.get(call.span_id), self._zero_ns)
        if request is None or not _began_beside(request, span, facts, facts.end_ns):
            return None
        start_ns, end_ns = facts.start_ns or 0, facts.end_ns or 0
        return max(start_ns - request.started_ns, request.started_ns - end_ns, 0)

    def _has_message(self, message: str | None) -> bool:
        return message is not None and message in self._sent

    @cached_property
    def _sent(self) -> str:
        return "\n".join([joined_texts(call.call().args) for call in self._calls])

    def _has_request(self, span: EndedSpan, facts: SpanFacts) -> bool:
        """Whether a captured HTTP request began while the span was open, beside it."""
        if facts.start_ns is None or facts.end_ns is None:
            return False
        made = (
            started_request(call, call.call().event_type, self._spans.get(call.span_id), self._zero_ns)
            for call in self._calls
        )
        return any(
            request is not None and _began_beside(request, span, facts, facts.end_ns)
            for request in chain(self._before, made)
        )

    def within(self, span: EndedSpan, facts: SpanFacts) -> PendingCall | None:
        """The captured call that the span is part of; None where there is none."""
        for outer in around(span):
            call = self._by_span.get(outer.span_id)
            if call is not None:
                return call
        if not is_of_database(facts) or facts.start_ns is None or facts.end_ns is None:
            return None
        listed = self._by_parent.get(span.parent.span_id if span.parent is not None else 0, [])
        behind = bisect_right(listed, facts.start_ns + _TOLERANCE_NS, key=_start)
        near = [
            timed
            for timed in listed[max(0, behind - _AT_ONCE) : behind]
            if timed.call.call().event_type is EventType.DB_QUERY and timed.call.thread in (None, span.thread)
        ]
        length_ns = max(facts.end_ns - facts.start_ns, 1)
        best = max(near, key=lambda timed: _common_ns(timed, facts), default=None)
        return best.call if best is not None and _common_ns(best, facts) * 2 >= length_ns else None


def _began_beside(request: StartedRequest, span: EndedSpan, facts: SpanFacts, end_ns: int | None) -> bool:
    """Whether a request began while a span was open (until this time), beneath the same parent."""
    start_ns = facts.start_ns
    if start_ns is None or end_ns is None:
        return False
    parents = {span.parent.span_id} if span.parent is not None else {0, int(facts.parent_span_id or "0", 16)}
    return (
        not parents.isdisjoint(request.span_ids)
        and start_ns - _TOLERANCE_NS <= request.started_ns <= end_ns + _TOLERANCE_NS
    )


def _timed(call: PendingCall, span: EndedSpan | None, zero_ns: int) -> _Timed:
    """When a call was under way. Where it has a span of its own, both times are by the clock of spans."""
    ended_s = call.ended_s
    started_ns = zero_ns + int(call.started_s * 1e9)
    ended_ns = zero_ns + int(ended_s * 1e9) if ended_s is not None else 1 << 63
    facts = span.facts() if span is not None and span.is_client else None
    if facts is not None and facts.start_ns is not None:
        # While the call is under way, its span has no end.
        return _Timed(facts.start_ns, facts.end_ns if facts.end_ns is not None else ended_ns, call)
    return _Timed(started_ns, ended_ns, call)


def _common_ns(timed: _Timed, facts: SpanFacts) -> int:
    """How long a call and a span were both under way; at least 1 where both times of the span are within the call."""
    start_ns, end_ns = facts.start_ns or 0, facts.end_ns or 0
    if timed.started_ns <= start_ns and end_ns <= timed.ended_ns:
        return max(end_ns - start_ns, 1)
    return min(end_ns, timed.ended_ns) - max(start_ns, timed.started_ns)


def _start(timed: _Timed) -> int:
    return timed.started_ns
