"""Which captured call a span of another instrumentation is part of."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from timetracer_otel.constants import EventType
from timetracer_otel.match.process_recordings import empty_cassette
from timetracer_otel.session import TraceSession
from timetracer_otel.session.models import PaidCalls
from timetracer_otel.session.span_roles import SpanRoles
from timetracer_otel.session.trace import EventFeed
from timetracer_otel.session.uncovered import UncoveredCalls
from timetracer_otel.types import Call, EventResult, SpanFacts

DB = {"db.system": "postgresql"}


@dataclass
class Span:
    span_id: int
    start_ns: int = 0
    end_ns: int | None = 0
    parent: Span | None = None
    is_client: bool = True
    scope: str | None = None
    attributes: dict[str, Any] = field(default_factory=lambda: dict(DB))
    thread: int = 0

    def facts(self) -> SpanFacts:
        return SpanFacts(
            "0" * 32,
            f"{self.span_id:016x}",
            attributes=self.attributes,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
        )


@dataclass
class Made:
    """A call that was captured, by the clock of calls, in seconds."""

    span_id: int
    started_s: float
    ended_s: float | None
    kind: EventType = EventType.DB_QUERY
    eid: int = 0
    returned_s: float | None = None
    goes_on: bool = False
    latest_s: float | None = None
    path: tuple[str, ...] = ()
    not_replayable: str | None = None
    transaction: object | None = None
    boundary: str | None = None
    trace_id: int = 0
    thread: int | None = None

    def call(self) -> Call:
        return Call("db", self.kind, "SELECT")

    def result(self) -> EventResult:
        return EventResult()


ROOT = Span(1, is_client=False)


def part_of(roles: SpanRoles, span: Span) -> object:
    return roles.within(span, span.facts())


def statement(span_id: int, start_ns: int, end_ns: int) -> tuple[Made, Span]:
    return Made(span_id, start_ns / 1e9, end_ns / 1e9), Span(span_id, start_ns, end_ns, ROOT)


def test_a_span_in_another_thread_is_no_part_of_a_statement_that_is_under_way_at_the_same_time() -> None:
    call = Made(2, 0.0, 9e-6, thread=7)
    roles = SpanRoles([call], {2: Span(2, 0, 9_000, ROOT)}, 0)
    assert part_of(roles, Span(3, 4_000, 6_000, ROOT, thread=7)) is call
    assert part_of(roles, Span(4, 4_000, 6_000, ROOT, thread=8)) is None
    # The driver of aiosqlite runs in a thread of its own.
    call.thread = None
    assert part_of(roles, Span(4, 4_000, 6_000, ROOT, thread=8)) is call


def test_a_statement_that_is_under_way_at_the_same_time_is_told_apart_by_its_span() -> None:
    calls, spans = zip(
        *(statement(*times) for times in ((2, 0, 9_000), (3, 4_000, 6_000), (4, 6_100, 6_900))), strict=True
    )
    # By the clock of calls, the commit overlaps all of them a little: the clocks have drifted apart.
    commit = Made(1, 5_900 / 1e9, 8_000 / 1e9)
    roles = SpanRoles([*calls, commit], {span.span_id: span for span in (*spans, ROOT)}, 0)
    assert part_of(roles, Span(7, 4_100, 5_950, ROOT)) is calls[0]
    assert part_of(roles, Span(7, 6_200, 6_300, ROOT)) is not None
    assert part_of(roles, Span(7, 20_000_000, 20_000_100, ROOT)) is None
    assert part_of(roles, Span(7, 4_100, 5_900, Span(8))) is None
    assert part_of(roles, Span(7, 4_100, 5_900, ROOT, attributes={})) is None


@pytest.mark.parametrize("kind", [EventType.HTTP_CLIENT, EventType.CUSTOM])
def test_only_a_statement_takes_in_spans_beside_its_own(kind: EventType) -> None:
    call, span = Made(2, 0.0, 1.0, kind), Span(2, 0, 1_000_000_000, ROOT)
    roles = SpanRoles([call], {2: span}, 0)
    assert part_of(roles, Span(7, 100, 200, ROOT)) is None
    # What is made inside the call's own span is part of it, whatever it is.
    assert part_of(roles, Span(8, 100, 200, Span(9, parent=span, is_client=False))) is call


def test_spans_around_a_call_are_above_it() -> None:
    model = Span(5, parent=ROOT)
    call, span = Made(2, 0.0, None), Span(2, 0, None, Span(6, parent=model, is_client=False))
    roles = SpanRoles([call], {2: span}, 0)
    assert roles.is_above(model, model.facts())
    assert not roles.is_above(span, span.facts())
    assert not roles.is_above(ROOT, ROOT.facts())


@pytest.mark.parametrize("attribute", ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system"])
def test_a_request_that_begins_within_a_models_span_is_beneath_it(attribute: str) -> None:
    model: dict[str, Any] = {"attributes": {attribute: "x"}}
    # The clients of models have spans of their own around the request, or none, and those of HTTP as well.
    step = Span(3, parent=Span(4, parent=ROOT), is_client=False)
    for at in (1, 2, 3):
        call = Made(at, 5.0, None, EventType.HTTP_CLIENT)
        roles = SpanRoles([call], {span.span_id: span for span in (ROOT, Span(2, parent=ROOT), step)}, 0)
        within, later = Span(7, 4_900_000_000, 5_100_000_000, ROOT, **model), Span(7, 5_100_000_000, 9, ROOT, **model)
        assert roles.is_above(within, within.facts())
        assert not roles.is_above(later, later.facts())
        for other in (
            Span(7, 4_900_000_000, 5_100_000_000, Span(9), **model),
            Span(7, 4_900_000_000, 5_100_000_000, ROOT),
            Span(7, 4_900_000_000, None, ROOT, **model),
        ):
            assert not roles.is_above(other, other.facts())
    statement = SpanRoles([Made(1, 5.0, None)], {}, 0)
    assert not statement.is_above(within, within.facts())


SENDS = "opentelemetry.instrumentation.celery"


def sent(message: str) -> Span:
    at_ns = time.time_ns()
    return Span(5, at_ns - 1, at_ns, scope=SENDS, attributes={"messaging.message.id": message})


class Sending(Made):
    """A command that sends a message."""

    def call(self) -> Call:
        return Call("redis", EventType.REDIS, "LPUSH", args=["LPUSH", "celery", '{"headers": {"id": "m-1"}}'])


def test_a_span_is_above_the_call_that_sends_its_message() -> None:
    roles = SpanRoles([Sending(2, 0.0, 1.0)], {}, 0)
    assert roles.is_above(sent("m-1"), sent("m-1").facts())
    assert not roles.is_above(sent("m-2"), sent("m-2").facts())


def test_a_span_about_a_message_waits_for_the_call_that_sends_it() -> None:
    session = TraceSession()
    feed = EventFeed(session)
    session.span_ended(sent("m-1"))
    session.span_ended(sent("m-2"))
    assert feed.take(60.0) == []
    session.call_began(Sending(0, time.perf_counter(), time.perf_counter()))
    assert [event.signature.lib for event in feed.take(60.0)] == ["redis"]
    # Nobody has sent the other one: it is a call of a library without a plugin.
    (alone,) = feed.take(0.0)
    assert alone.is_observed_only
    assert feed.take(0.0) == []


def test_a_message_that_a_replayed_call_sends_is_in_the_account() -> None:
    uncovered = UncoveredCalls(empty_cassette(), PaidCalls(list))
    for message in ("m-1", "m-2"):
        uncovered.span_began(sent(message))
        uncovered.span_ended(sent(message))
    assert uncovered.live() == {"celery": 2}
    uncovered.called_with(Sending(0, 0.0, 1.0).call().args)
    assert uncovered.live() == {"celery": 1}


def test_a_models_span_has_the_last_request_within_it_and_not_the_next_one() -> None:
    """The next request may begin a moment after the span's end."""
    model = Span(2, 1_000_000, 9_000_000, ROOT, attributes={"gen_ai.operation.name": "chat"})
    requests = [Made(1, started_s, None, EventType.HTTP_CLIENT) for started_s in (0.002, 0.004, 0.0095)]
    roles = SpanRoles(requests, {1: ROOT, 2: model}, 0)
    assert roles.of_model(model, model.facts()) is requests[1]
    late = Span(3, 9_700_000, 20_000_000, ROOT, attributes={"gen_ai.operation.name": "chat"})
    assert roles.of_model(late, late.facts()) is requests[2]
