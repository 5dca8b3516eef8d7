"""Events that are written from what was noted of a call are those that are written from their objects."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.ended_calls import Ended
from timetracer_otel.cassette import cassette_from_bytes, cassette_to_bytes
from timetracer_otel.cassette.boundaries import BOUNDARIES
from timetracer_otel.cassette.costs import Account, OwnCosts
from timetracer_otel.cassette.model import encode_event
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.session import TraceSession
from timetracer_otel.session.open_events import OpenEvents
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    Cassette,
    DependencyEvent,
    EventResult,
    HeaderMap,
    NotedEvent,
)


class Text(str):
    """A subclass, which no cassette can hold as a value."""

    __slots__ = ()


ODD = [
    *(None, True, 0, -(1 << 70), 1.5, float("inf"), "", "x", "\ud800", b"", b"\xff"),
    *(Decimal("1.50"), dt.date(2024, 1, 2), dt.timezone.utc, bytearray(b"x"), object(), Text("x")),
    *({1: 2}, {("a",): [1]}, {"set": {1, (2, 3)}}, (), ((), (1 << 70,)), HeaderMap(((b"A", b"b"),))),
    *([(1, "a"), (2, "b")], [(1, Decimal(2)), (bytearray(b"x"),)], [(1,), [2]], [("a", "\ud800")]),
]
LEAVES = st.sampled_from(ODD) | st.integers() | st.text(max_size=4) | st.binary(max_size=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
HEADERS = st.sampled_from([(), ((b"Accept", b"*/*"),), ((b"A", b"1"), (b"a", b"2")), ((b"Authorization", b"Zq8v"),)])
BODIES = st.sampled_from([None, b"", b"x", b'{"n": 1}', b"\xff" * 300])
STATUSES = st.sampled_from([None, 200, 404, 500, True])
URLS = st.sampled_from([None, "", "https://h/x", "HTTPS://H:443/x?b=2&a=1&a=0", "redis://h/0", "postgresql://h/shop"])
KINDS = st.sampled_from(
    [
        ("httpx", EventType.HTTP_CLIENT, "GET"),
        ("redis", EventType.REDIS, "GET"),
        ("sqlalchemy", EventType.DB_QUERY, "SELECT"),
        ("mine", EventType.CUSTOM, ""),
    ]
)
ARGUMENTS = VALUES | st.builds(
    lambda values: {"statement": "SELECT 1 WHERE n = :n", "parameters": {"n": values}}, VALUES
)


@st.composite
def ended_calls(draw: st.DrawFn) -> Ended:
    lib, kind, method = draw(KINDS)
    sent = draw(BODIES)
    call = Call(lib, kind, method, draw(URLS), draw(HEADERS), sent, args=None if sent else draw(ARGUMENTS))
    data, headers = draw(BODIES), draw(HEADERS)
    body = None
    if data is not None:
        end, cut = draw(st.sampled_from([BodyEnd.COMPLETE, BodyEnd.CLOSED])), draw(st.booleans())
        size = draw(st.sampled_from([None, len(data)]))
        body = BodySnapshot(True, "bytes", data, cut, size, chunks=((1.0, len(data)),), end=end, end_ms=2.0)
    given_headers: Any = draw(st.sampled_from([{}, HeaderMap(headers), {"Plain": "yes"}]))
    result = EventResult(draw(STATUSES), given_headers, body, reply=draw(VALUES))
    return Ended(call, result, draw(st.sampled_from([(), ("GET /", "inner")])))


def recorded(calls: list[Ended], redact: str) -> Cassette:
    session = TraceSession(TraceConfig(redact=redact))
    for call in calls:
        session.call_began(call)
    session.finalize()
    return session.to_cassette()


@pytest.mark.parametrize("redact", ["default", "off"])
@examples(40, HealthCheck.function_scoped_fixture)
@given(calls=st.lists(ended_calls(), min_size=1, max_size=3))
@example(
    calls=[
        Ended(
            Call("redis", EventType.REDIS, "GET", "redis://h/0", args=["GET", "k"]),
            EventResult(reply={"replies": [(1 << 70, "x")]}),
        )
    ]
)
@example(calls=[Ended(Call("redis", EventType.REDIS, "", "redis://h/0", args=[["GET", "k"], True]), EventResult())])
def test_notes_are_written_as_the_objects_of_them(
    monkeypatch: pytest.MonkeyPatch, calls: list[Ended], redact: str
) -> None:
    cassette = recorded(calls, redact)
    for event in cassette.events:
        own = OwnCosts()
        quick, left_out = encode_event(event, own)
        # What the reader will spend is never more than what the writer has counted.
        if own.known:
            account = Account()
            account.charge(quick, 0, len(quick))
            assert account.spent <= own.spent
        with monkeypatch.context() as patched:
            patched.setattr(OpenEvents, "packed", lambda *_: None)
            assert (quick, left_out) == encode_event(event)
        # All that stands in it is asked for, so that its objects are made.
        assert event == event
        assert type(event) is DependencyEvent
        assert (quick, left_out) == encode_event(event)


def plain(method: str = "GET") -> Ended:
    call = Call("redis", EventType.REDIS, method, "redis://h/0", args=["GET", "k"])
    return Ended(call, EventResult(reply={"replies": [b"v"]}), ("GET /",))


def test_an_event_that_nobody_reads_stays_noted() -> None:
    cassette = recorded([plain(), plain()], "default")
    data = cassette_to_bytes(cassette)
    assert [type(event) for event in cassette.events] == [NotedEvent, NotedEvent]
    assert [event.eid for event in cassette_from_bytes(data, "x").events] == [1, 2]
    assert cassette_from_bytes(data, "x").events == cassette.events


def test_a_transaction_that_nobody_reads_stays_noted() -> None:
    calls = [sql("BEGIN"), sql("SELECT"), sql("ROLLBACK"), sql("BEGIN"), sql("INSERT"), sql("INSERT"), sql("COMMIT")]
    for call, transaction in zip(calls, "aaabbbb", strict=True):
        call.transaction = transaction
    cassette = recorded(calls, "default")
    data = cassette_to_bytes(cassette)
    assert [type(event) for event in cassette.events] == [NotedEvent] * 7
    assert [len(event.transaction) for event in cassette.events] == [0, 2, 0, 0, 1, 1, 0]
    found = cassette_from_bytes(data, "x").events
    # Making them whole changes nothing.
    assert [(event.eid, event.signature.method) for event in cassette.events] == [
        (eid, call.call().method) for eid, call in enumerate(calls, 1)
    ]
    assert found == cassette.events
    assert [type(event) for event in cassette.events] == [DependencyEvent] * 7
    assert cassette_to_bytes(cassette) == data


def sql(method: str) -> Ended:
    statement = {"statement": method} if method in BOUNDARIES else {"statement": f"{method} 1", "parameters": [1]}
    call = Call("sqlalchemy", EventType.DB_QUERY, method, "postgresql://h/shop", args=statement)
    made = Ended(call, EventResult(reply={} if method in BOUNDARIES else {"rowcount": 1}), ("GET /",))
    made.boundary = method if method in BOUNDARIES else None
    return made


READERS: list[Callable[[Any], object]] = [
    lambda event: event.signature,
    lambda event: event.not_replayable,
    lambda event: event == plain(),
    repr,
    copy.copy,
    copy.deepcopy,
    pickle.dumps,
    lambda event: event.may_hold_body or event.path,
]


@pytest.mark.parametrize("reader", READERS)
def test_whoever_looks_into_an_event_makes_it_whole(reader: Callable[[Any], object]) -> None:
    (event,) = recorded([plain()], "default").events
    assert type(event) is NotedEvent
    reader(event)
    assert type(event) is DependencyEvent
    assert (event.signature.lib, event.path, event.result.reply) == ("redis", ("GET /",), {"replies": [b"v"]})


def test_what_is_set_is_written() -> None:
    (event,) = recorded([plain()], "default").events
    event.eid = 7
    assert type(event) is NotedEvent
    event.not_replayable = "because"
    assert type(event) is DependencyEvent
    cassette = replace(recorded([], "default"), events=[event])
    (read,) = cassette_from_bytes(cassette_to_bytes(cassette), "x").events
    assert (read.eid, read.not_replayable, read.result.reply) == (7, "because", {"replies": [b"v"]})
