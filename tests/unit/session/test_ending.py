"""A recording ends while threads go on calling: each call is in it or in its successor, and in one of the two."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.calls.flow import Recording, Site, flow, run
from timetracer_otel.constants import EventType
from timetracer_otel.context import get_current_session, reset_session, set_session
from timetracer_otel.session import TraceSession
from timetracer_otel.types import Call, EventResult, SpanFacts


@pytest.fixture
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class _Call(Site):
    lib = "mine"

    def __init__(self, name: str) -> None:
        self.name = name

    def live(self) -> str:
        return self.name

    def call(self) -> Call:
        return Call("mine", EventType.CUSTOM, self.name)

    def returned(self, value: Any, recording: Recording) -> Any:
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        return EventResult(status=0)


def test_no_call_is_lost_or_kept_twice_while_its_recording_ends(many_switches: None) -> None:
    both = 0
    for _ in range(30):
        first, second = TraceSession(), TraceSession()
        first.successor = lambda session=second: session  # type: ignore[misc]
        made: list[str] = []

        def work(worker: int, first: TraceSession = first, made: list[str] = made) -> None:
            token = set_session(first)
            for number in range(200):
                session = get_current_session()
                assert session is not None
                made.append(run(flow(_Call(f"{worker}.{number}"), session)))
            reset_session(token)

        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in workers:
            thread.start()
        while not first.finalize_if_quiet():
            pass
        cassette = first.to_cassette()
        for thread in workers:
            thread.join()
        kept = Counter(event.signature.method for event in [*cassette.events, *second.events])
        assert kept == Counter(made)
        both += bool(cassette.events and second.events)
        assert (cassette.stats.dropped, second.to_cassette().stats.dropped) == ({}, {})
    assert both


class _Ended(NamedTuple):
    span_id: int
    is_client: bool = True
    scope: str | None = None
    thread: int = 0
    parent: None = None

    def facts(self) -> SpanFacts:
        return SpanFacts("0" * 32, f"{self.span_id:016x}", name="GET", kind="CLIENT")


def test_a_span_that_ends_late_is_the_successors_unless_its_call_was_kept_before() -> None:
    first, second = TraceSession(), TraceSession()
    first.successor = lambda: second

    class Pending(Recording):
        span_id = 7  # type: ignore[assignment]

    first.call_began(Pending(first, _Call("kept")))
    first.finalize()
    assert [event.signature.method for event in first.to_cassette().events] == ["kept"]
    for span_id in (7, 8):
        first.span_ended(_Ended(span_id))
    assert len(second.events) == 1
    assert first.to_cassette().stats.dropped == {"answers that came after the end": 1}


class _Pending:
    """A call of which the session asks nothing but these."""

    transaction = boundary = thread = not_replayable = returned_s = latest_s = None
    goes_on = False
    trace_id = span_id = eid = 0
    started_s = 1.0
    path = ()

    def __init__(self) -> None:
        self.ended_s: float | None = None


@given(st.lists(st.tuples(st.sampled_from(["begin", "late", "end", "withdraw", "look"]), st.integers(0, 9))))
def test_whether_a_call_is_under_way_is_known_however_calls_end_and_are_withdrawn(
    steps: list[tuple[str, int]],
) -> None:
    session = TraceSession()
    kept: list[Any] = []
    delayed: list[Any] = []
    for step, number in steps:
        if step == "begin":
            kept.append(_Pending())
            assert session.call_began(kept[-1])
            # A thread that got its position before is kept after this one.
            for call in delayed:
                session._pending.append(call)
                kept.append(call)
            delayed = []
        elif step == "late":
            late: Any = _Pending()
            late.eid = session.next_eid()
            delayed.append(late)
        elif step == "end" and kept:
            kept[number % len(kept)].ended_s = 2.0
        elif step == "withdraw" and kept:
            call = kept.pop(number % len(kept))
            session.call_withdrawn(call)
            session.call_withdrawn(call)
        assert session.is_calling is any(call.ended_s is None for call in kept)
        assert session.call_count == len(kept)
        assert session._pending == kept
