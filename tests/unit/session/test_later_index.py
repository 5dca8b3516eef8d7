"""A replay of events that are not read yet gives each call what one of events that were read gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.session.test_matching import SIGNER
from timetracer_otel.cassette import open_cassette, read_cassette, reader, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType, TraceMode
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match import later_index
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)

URLS = (
    "http://h/items/1",
    "http://h/items/12",
    "http://other/items/1",
    "http://h",
    "http://h/",
    "http://user@h/items/1",
    "http://h/items/1?name=value1&name=value2",
    "http://h/items/1?name=value1",
    "http://h/items/1?name=value12",
    "http://h/itéms/1",
)
CALLS = (
    *(Call("httpx", EventType.HTTP_CLIENT, "GET", url) for url in URLS),
    *(Call("httpx", EventType.HTTP_CLIENT, "POST", URLS[0], body=body) for body in (b"/items/1", b'{"a": 1}')),
    *(Call("redis", EventType.REDIS, "GET", "redis://h/0", args=["GET", key]) for key in ("/items/1", "b", b"b")),
    *(
        Call("sqlalchemy", EventType.DB_QUERY, name, "sqlite://", args={"statement": name})
        for name in ("BEGIN", "SELECT 1")
    ),
    Call("mine", EventType.CUSTOM, "ask"),
)
PATHS = ((), ("GET /a",), ("GET /b",))
EVENTS = st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(PATHS)), min_size=1, max_size=30)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["match"] * 6 + ["upcoming", "claim", "next", "verdict", "expects", "left", "elsewhere"]),
        st.sampled_from(CALLS),
        st.sampled_from(PATHS),
        st.integers(0, 29),
    ),
    max_size=30,
)


def event(eid: int, made: Call, path: tuple[str, ...]) -> DependencyEvent:
    sent = BodySnapshot(True, "bytes", made.body) if made.body else None
    return DependencyEvent(
        eid,
        made.event_type,
        float(eid),
        1.5,
        SIGNER.redacted(made).signature,
        EventResult(200, reply={"number": eid}),
        CallSnapshot(HeaderMap(made.headers), sent, made.args),
        path=path,
    )


def written(events: list[DependencyEvent], path: Path) -> Path:
    head = SessionMeta("id", "2024-01-01T00:00:00+00:00", "", ""), RequestSnapshot("GET", "/"), ResponseSnapshot(200)
    save_cassette(Cassette("1", *head, events), path)
    return path


def done(session: ReplaySession, step: str, call: Call, path: tuple[str, ...], number: int) -> Any:
    if step == "match":
        return session.match(call, path).eid
    if step == "upcoming":
        found = session.upcoming(call, path)
        return found and found.eid
    if step == "claim":
        events = session.events
        return session.claim(events[number % len(events)]), session.is_taken(events[number % len(events)])
    if step == "next":
        fields = {"method": call.method, "lib": call.lib}
        return session.get_next_event(call.event_type, fields).eid
    if step == "verdict":
        verdict = session.verdict()
        return [each.eid for each in verdict.hits], [each.eid for each in verdict.unused], verdict.repeats
    if step == "expects":
        return session.expects_body(call, path)
    if step == "elsewhere":
        return [each.eid for each in session.waiting_elsewhere(call)]
    return session.current_cursor, session.has_more_events, [each.eid for each in session.get_unconsumed_events()]


def outcome(act: Callable[..., Any], *args: Any) -> Any:
    try:
        return act(*args)
    except ReplayMismatchError as error:
        return str(error)


@pytest.fixture(autouse=True)
def _none_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(reader, "DECODED_AT_ONCE", 0)
        yield


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, STEPS, st.sampled_from([0, 1, 3, 16]), st.sampled_from([0, 2, 32]), st.booleans())
def test_each_call_gets_the_event_that_it_would_get_of_all(
    tmp_path: Path, rows: list[Any], steps: list[Any], looks: int, most: int, repeats: bool
) -> None:
    path = written([event(eid, *row) for eid, row in enumerate(rows, 1)], tmp_path / "x.msgpack")
    config = TraceConfig(mode=TraceMode.REPLAY, allow_repeats=repeats)
    before = later_index._MOST_LOOKS, later_index._MOST_FOUND
    try:
        later_index._MOST_LOOKS, later_index._MOST_FOUND = looks, most  # type: ignore[misc]
        opened = ReplaySession(open_cassette(path), "x", config=config)
        read = ReplaySession(read_cassette(path), "x", config=config)
        assert isinstance(opened._index, later_index.LaterIndex)
        verdicts = []
        for step in steps:
            assert outcome(done, opened, *step) == outcome(done, read, *step)
            verdicts.append((opened.verdict(), tuple(each.eid for each in read.verdict().unused)))
        assert replace(opened.verdict(), misses=()) == replace(read.verdict(), misses=())
        for verdict, unused in verdicts:
            assert tuple(each.eid for each in verdict.unused) == unused
    finally:
        later_index._MOST_LOOKS, later_index._MOST_FOUND = before  # type: ignore[misc]


def test_a_few_calls_read_their_own_events_and_no_others(tmp_path: Path) -> None:
    calls = [Call("httpx", EventType.HTTP_CLIENT, "GET", f"http://h/items/{number}") for number in range(50)]
    path = written([event(eid, call, ()) for eid, call in enumerate(calls, 1)], tmp_path / "x.msgpack")
    cassette = open_cassette(path)
    session = ReplaySession(cassette, "x")
    for number in (40, 7):
        assert session.match(calls[number]).result.reply == {"number": number + 1}
    verdict = session.verdict()
    assert [each.eid for each in verdict.hits] == [8, 41]
    assert verdict.ok
    later: Any = cassette.later_events
    assert len(later._read) == 2
    # What a later call takes was unused when the account was given.
    session.match(calls[0])
    assert len(verdict.unused) == 48
    assert cassette.later_events is later
