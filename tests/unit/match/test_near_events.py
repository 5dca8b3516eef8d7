"""The text of a miss names the nearest recorded call, also in a recording of very many."""

from __future__ import annotations

import pytest

from tests.sample_cassettes import http_event
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.near_events import FEW_EVENTS
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import (
    Call,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)


def session_of(events: list[DependencyEvent]) -> ReplaySession:
    assert len(events) > 4 * FEW_EVENTS
    meta = SessionMeta("1", "2024-01-01T00:00:00+00:00", "s", "e")
    return ReplaySession(
        Cassette("1", meta, RequestSnapshot("GET", "/"), ResponseSnapshot(200), events=events), "x.msgpack"
    )


def miss(session: ReplaySession, call: Call) -> ReplayMismatchError:
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(call)
    return caught.value


def get(url: str, method: str = "GET") -> Call:
    return Call("httpx", EventType.HTTP_CLIENT, method, url)


def pages() -> list[DependencyEvent]:
    return [http_event(eid, f"http://host-{eid % 7}/section/{eid}/page") for eid in range(1, 1000)]


@pytest.mark.parametrize(
    "url",
    [
        "http://host-6/section/601/pages",
        "http://host-6/sektion/601/page",
        "http://other/section/601/page",
        "https://host-6/section/601/page",
    ],
    ids=["another end", "another middle", "another host", "another scheme"],
)
def test_the_nearest_of_a_thousand_calls_is_named(url: str) -> None:
    error = miss(session_of(pages()), get(url))
    assert error.event_index == 601
    assert "#601 GET http://host-6/section/601/page" in str(error)


def test_the_nearest_call_may_have_another_method() -> None:
    assert miss(session_of(pages()), get("http://host-6/section/601/page", "PUT")).event_index == 601


def test_calls_that_wait_are_named_before_those_that_were_answered() -> None:
    session = session_of(pages())
    for number in range(1, 990):
        session.match(get(f"http://host-{number % 7}/section/{number}/page"))
    error = miss(session, get("http://host-6/section/601/pages"))
    assert error.event_index is not None
    assert error.event_index >= 990
    assert "answered already" not in str(error)


def test_how_often_a_call_was_answered_counts_all_of_many() -> None:
    session = session_of([http_event(eid, "http://host/poll") for eid in range(1, 500)])
    for _ in range(1, 500):
        session.match(get("http://host/poll"))
    assert "the cassette holds 499 such calls" in str(miss(session, get("http://host/poll")))


def test_the_nearest_of_many_statements_is_named() -> None:
    events = [
        DependencyEvent(
            eid,
            EventType.DB_QUERY,
            float(eid),
            1.0,
            EventSignature("sqlalchemy", "SELECT", "db", body_hash=f"{eid:064}"),
            EventResult(),
            CallSnapshot(args={"statement": f"SELECT column_{eid} FROM table_{eid} WHERE id = 1", "params": None}),
        )
        for eid in range(1, 1000)
    ]
    args = {"statement": "SELECT column_77 FROM table_77 WHERE id = 1 AND x", "params": None}
    error = miss(session_of(events), Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "db", args=args))
    assert error.event_index == 77
