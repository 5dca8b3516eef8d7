"""Beginnings and ends of database transactions, which stand in a file within the event of a statement.

They have no answer, and all but their times follows from the statement: the one behind a beginning, the one before an
end. As events of their own they were a third of a recording of small queries. In memory they are events as any other,
so that a replay, the tools and the counts need not know how a file has them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from timetracer_otel.cassette.codec import pack
from timetracer_otel.cassette.tables import bounded
from timetracer_otel.types import (
    CallSnapshot,
    DependencyEvent,
    EventResult,
    EventSignature,
    NotedEvent,
    SpanFacts,
)

__all__ = [
    "BEGIN",
    "BOUNDARIES",
    "boundaries_of",
    "boundary_event",
    "noted_boundary",
    "pack_boundaries",
    "read_boundaries",
    "span_of_boundary",
    "standing_alone",
]

BEGIN: Final = "BEGIN"
_ENDS: Final = ("COMMIT", "ROLLBACK")
BOUNDARIES: Final = frozenset({BEGIN, *_ENDS})
"""The methods of such events."""
_WITHIN_ONE: Final = frozenset({(BEGIN,), *((end,) for end in _ENDS), *((BEGIN, end) for end in _ENDS)})
"""What one statement can have: it may be the first of its transaction, the last, or both."""
_HASHES: Final = {method: hashlib.sha256(pack({"statement": method})).hexdigest() for method in BOUNDARIES}
"""Of the arguments of each."""
_OWN_SPAN: Final = "CLIENT"


def boundary_event(
    statement: DependencyEvent, method: str, eid: int, start_offset_ms: float, duration_ms: float
) -> DependencyEvent:
    """The beginning or end of a transaction, as an event.

    Args:
        statement: The one that stands next to it in the transaction.
        method: One of `BOUNDARIES`.
        eid: Of the beginning or end.
        start_offset_ms: Likewise.
        duration_ms: Likewise.
    """
    of = statement.signature
    event = DependencyEvent(
        eid,
        statement.event_type,
        start_offset_ms,
        duration_ms,
        EventSignature(of.lib, method, of.url, body_hash=_HASHES[method]),
        EventResult(reply={}),
        CallSnapshot(args={"statement": method}),
        None,
        statement.path,
    )
    if statement.lacks("span"):
        del event.span
        event.leave(_SpanLater(statement), 0)
    else:
        event.span = span_of_boundary(statement.span, statement.path)
    return event


def noted_boundary(
    statement: DependencyEvent, method: str, eid: int, start_offset_ms: float, duration_ms: float
) -> DependencyEvent:
    """As `boundary_event`, but the event is made whole only when somebody asks for what it holds."""
    return NotedEvent.of(
        eid, statement.event_type, start_offset_ms, duration_ms, (), _OF_STATEMENT, (statement, method)
    )


class _OfStatement:
    """Makes beginnings and ends of transactions whole, each of its statement and its method. Safe from any thread."""

    def __init__(self) -> None:
        # It can be entered twice: a collector of garbage may run in between, and with it anybody's code.
        self._lock = threading.RLock()

    def fill(self, event: DependencyEvent, place: tuple[DependencyEvent, str], name: str) -> None:
        statement, method = place
        with self._lock:
            if event.lacks(name):
                event.complete(boundary_event(statement, method, event.eid, event.start_offset_ms, event.duration_ms))

    def may_hold_body(self, place: tuple[DependencyEvent, str]) -> bool:
        return False

    def packed(self, event: DependencyEvent, place: tuple[DependencyEvent, str], own: object) -> None:
        """Where such an event stands in a file by itself, it is packed as any other."""

    def facts(self, place: tuple[DependencyEvent, str]) -> SpanFacts | None:
        statement = place[0]
        return span_of_boundary(statement.span, statement.path)


_OF_STATEMENT: Final = _OfStatement()


def span_of_boundary(span: SpanFacts | None, path: tuple[str, ...]) -> SpanFacts | None:
    """The span that the beginning or end of a transaction is made in.

    OpenTelemetry makes none for it. So it is the one around that of the statement, of which the statement knows the
    id and the name; or that of the statement, where the statement has no span of its own either.

    Args:
        span: That of the statement.
        path: The names of the spans around the statement.
    """
    if span is None:
        return None
    if span.kind != _OWN_SPAN:
        return replace(span, attributes=dict(span.attributes))
    if span.parent_span_id is None:
        return None
    return SpanFacts(span.trace_id, span.parent_span_id, name=path[-1] if path else None)


def boundaries_of(statement: DependencyEvent, found: Iterable[Any]) -> tuple[DependencyEvent, ...]:
    """The events of what the file has within a statement: method, position, start and duration of each."""
    return tuple(boundary_event(statement, *each) for each in found)


def read_boundaries(items: list[Any]) -> list[tuple[str, int, float, float]]:
    """Check what a file has within a statement; raises `ValueError`."""
    found: list[tuple[str, int, float, float]] = []
    for item in items:
        if type(item) is not list or len(item) != 4 or type(item[1]) is not int:
            raise ValueError("a part is not [method, eid, milliseconds, milliseconds]")
        method, eid, start_ms, duration_ms = item
        if type(method) is not str or not {type(start_ms), type(duration_ms)} <= {float, int}:
            raise ValueError("a part is not [method, eid, milliseconds, milliseconds]")
        found.append((method, eid, bounded(float(start_ms)), bounded(float(duration_ms))))
    if tuple(method for method, *_ in found) not in _WITHIN_ONE:
        raise ValueError("it is not a beginning, an end, or both")
    return found


def pack_boundaries(events: Sequence[DependencyEvent]) -> list[list[Any]]:
    """What a file has within a statement."""
    return [[_method(event), event.eid, event.start_offset_ms, event.duration_ms] for event in events]


def _method(event: DependencyEvent) -> str:
    noted = _noted(event)
    return event.signature.method if noted is None else noted[1]


def _noted(event: DependencyEvent) -> tuple[DependencyEvent, str] | None:
    """What such an event is made of: its statement and its method. None where it is whole."""
    noted = event.notes() if type(event) is NotedEvent else None
    return noted[1] if noted is not None and noted[0] is _OF_STATEMENT else None


def standing_alone(events: Sequence[DependencyEvent]) -> Sequence[DependencyEvent]:
    """The events that a file has by themselves. The others stand within one of these.

    A beginning or end stands by itself where it says more than follows from its statement, and where the one or the
    other was left out or changed since.
    """
    if not any(event.transaction for event in events):
        return events
    there = set(map(id, events))
    within: set[int] = set()
    alone: list[DependencyEvent] = []
    for event in events:
        if event.transaction:
            kept = tuple(each for each in event.transaction if id(each) in there and _follows(each, event))
            within.update(map(id, kept))
            if len(kept) < len(event.transaction):
                event = replace(event, transaction=kept)
        alone.append(event)
    return [event for event in alone if id(event) not in within]


def _follows(boundary: DependencyEvent, statement: DependencyEvent) -> bool:
    noted = _noted(boundary)
    if noted is not None:
        return noted[0] is statement and not boundary.pseudonyms
    method = boundary.signature.method
    return method in BOUNDARIES and boundary == boundary_event(
        statement, method, boundary.eid, boundary.start_offset_ms, boundary.duration_ms
    )


class _SpanLater:
    """Gives a boundary its span when it is asked for: that of its statement is still to be decoded."""

    __slots__ = ("_statement",)

    def __init__(self, statement: DependencyEvent) -> None:
        self._statement = statement

    def may_hold_body(self, place: int) -> bool:
        return False

    def fill(self, event: DependencyEvent, place: int, name: str) -> None:
        if event.lacks("span"):
            event.span = span_of_boundary(self._statement.span, self._statement.path)
