"""Calls in which nothing is secret are found many at once, and their events are what a look at each call gives."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.ended_calls import Ended
from timetracer_otel.base import faults
from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.redact import forms
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import TraceSession, open_calls
from timetracer_otel.session.open_calls import OpenCalls
from timetracer_otel.session.secret_book import SecretBook
from timetracer_otel.types import BodySnapshot, Call, Cassette, EventResult, HeaderMap, HeaderPairs, SpanFacts

FORGE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
TOKEN = "Zq8vT41xKw0pLm7abcdef0123456789"
SECRETS = (FORGE, f"a text with {FORGE} in it", "postgresql://bob:s3cretpw@db/shop", f"Bearer {TOKEN}", TOKEN)
JSON = (b"Content-Type", b"application/json")


def http(
    body: bytes,
    headers: HeaderPairs = (),
    answer: HeaderPairs = (JSON,),
    sent: bytes | None = None,
    url: str = "https://h/items?n=1",
    facts: dict[str, Any] | None = None,
) -> Ended:
    """A request and its answer."""
    call = Call("httpx", EventType.HTTP_CLIENT, "POST" if sent else "GET", url, headers, sent)
    found = BodySnapshot(True, "bytes", body, size_bytes=len(body), chunks=((1.0, len(body)),)) if body else None
    return Ended(
        call,
        EventResult(status=200, headers=HeaderMap(answer), body=found, reply={"v": b"HTTP/1.1", **(facts or {})}),
    )


def sql(statement: str, parameters: Any, columns: Sequence[str], rows: list[Any]) -> Ended:
    """A statement and its rows."""
    args = {"statement": statement, "parameters": parameters}
    reply = {"description": [(name,) for name in columns], "rows": rows}
    return Ended(Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "sqlite:///", args=args), EventResult(reply=reply))


def redis(words: list[Any], reply: Any) -> Ended:
    """A command and its reply."""
    call = Call("redis", EventType.REDIS, str(words[0]), "redis://h/0", args=words)
    return Ended(call, EventResult(reply={"replies": [reply]}))


def plain(number: int) -> Ended:
    """A call in which nothing is secret."""
    return (
        http(json.dumps([{"id": number, "name": f"Item number {number}"}]).encode()),
        http(b"{}", sent=json.dumps({"n": number}).encode(), headers=((b"Content-Type", b"application/json"),)),
        sql("SELECT id, name FROM items WHERE id = :id_1", {"id_1": number}, ["id", "name"], [(number, "name")] * 20),
        redis(["GET", f"user:{number}"], b"some value"),
    )[number % 4]


def recorded(calls: Sequence[Ended], config: TraceConfig | None = None) -> Cassette:
    """The recording of these calls."""
    session = TraceSession(config or TraceConfig())
    for call in calls:
        session.call_began(call)
    return session.to_cassette()


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events of calls that were looked at one by one."""
    events: list[Any] = []
    note_forms = SecretBook.note_forms

    def noted(self: SecretBook, event: Any, *, kept: bool = False) -> None:
        events.append(event)
        note_forms(self, event, kept=kept)

    monkeypatch.setattr(SecretBook, "note_forms", noted)
    return events


def test_calls_without_a_secret_are_not_looked_at_one_by_one(looked_at: list[Any]) -> None:
    assert len(recorded([plain(number) for number in range(200)]).events) == 200
    assert looked_at == []


def test_a_call_with_a_secret_has_only_its_neighbours_looked_at(looked_at: list[Any]) -> None:
    calls = [plain(number) for number in range(128)]
    calls[70] = redis(["GET", "user:70"], FORGE.encode())
    cassette = recorded(calls)
    assert len(looked_at) == 8
    assert FORGE.encode() not in cassette_to_bytes(cassette)


def test_a_token_in_the_headers_leaves_the_call_open_and_is_noted_on_its_event(looked_at: list[Any]) -> None:
    token = (b"Authorization", f"Bearer {TOKEN}".encode())
    cassette = recorded([http(b"[1]", headers=(token, (b"Accept", b"*/*"))) for _ in range(20)])
    assert looked_at == []
    (pseudonym,) = cassette.pseudonyms
    assert {event.pseudonyms for event in cassette.events} == {(pseudonym,)}
    assert TOKEN.encode() not in cassette_to_bytes(cassette)


def test_the_facts_and_the_span_of_a_call_are_searched_where_those_of_the_call_before_were_others() -> None:
    calls = [http(b"[1]", facts={"reason": "OK", "head_ms": float(at)}) for at in range(6)]
    spans = [SpanFacts("1", "1", name="GET", attributes={"http.route": "/items"}) for _ in calls]
    assert _are_open(calls, spans)
    spans[4].attributes["http.route"] = f"/items/{FORGE}"
    assert not _are_open(calls, spans)
    spans[4].attributes["http.route"] = "/items"
    spans[5].name = FORGE
    assert not _are_open(calls, spans)
    spans[5].name = "GET"
    for key in ("reason", "head_ms"):
        calls[3] = http(b"[1]", facts={"reason": "OK", "head_ms": 1.0, key: FORGE})
        assert not _are_open(calls, spans)


def test_each_span_has_its_own_attributes_though_they_equal_those_of_the_one_before() -> None:
    values = [1, True, 1.0, 1, 1]
    spans = [SpanFacts("1", "1", name="GET", attributes={"n": value}) for value in values]
    attributes = [one[3] for one in _opened([http(b"[1]") for _ in values], spans) if one is not None]
    assert [repr(found) for found in attributes] == [repr({"n": value}) for value in values]
    assert len({id(found) for found in attributes}) == len(values)


def _are_open(calls: list[Ended], spans: list[SpanFacts]) -> bool:
    """Whether nothing is found in calls that are searched together."""
    return None not in _opened(calls, spans)


def _opened(calls: list[Ended], spans: list[SpanFacts]) -> Sequence[open_calls.OpenCall | None]:
    book = TraceSession(TraceConfig())._maker.book
    assert book is not None
    ((_, opened, _),) = OpenCalls(book).batches(zip(calls, spans, strict=True), dict)
    return opened


def test_a_secret_that_is_found_later_is_replaced_in_calls_that_were_open_before() -> None:
    calls = [plain(number) for number in range(70)]
    calls[3] = redis(["GET", "user:3"], f"the word {TOKEN} says nothing".encode())
    calls.append(http(b"[1]", headers=((b"Authorization", f"Bearer {TOKEN}".encode()),)))
    assert TOKEN.encode() not in cassette_to_bytes(recorded(calls))


def test_a_recording_full_of_secrets_is_soon_not_searched_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[Any] = []
    opened = open_calls._Search.opened

    def counted(self: Any, calls: Any) -> Any:
        searches.append(calls)
        return opened(self, calls)

    monkeypatch.setattr(open_calls._Search, "opened", counted)
    recorded([redis(["GET", f"user:{number}"], FORGE.encode()) for number in range(64 * 20)])
    assert len([calls for calls in searches if len(calls) == 64]) <= 5


@pytest.mark.parametrize(
    ("rules", "call"),
    [
        (["body:$.name"], http(b'{"name": "x1y2z3w4"}')),
        (["sql:items.name"], sql("SELECT name FROM items", {}, ["name"], [("x1y2z3w4",)])),
        (["redis:user:*"], redis(["GET", "user:1"], b"x1y2z3w4")),
        (["pattern:x1y2z3w."], redis(["GET", "a"], b"x1y2z3w4")),
    ],
)
def test_rules_of_places_are_asked_for_each_call(rules: list[str], call: Ended) -> None:
    cassette = recorded([call], TraceConfig(redact_rules=list(rules)))
    assert b"x1y2z3w4" not in cassette_to_bytes(cassette)


def test_a_form_that_redacts_and_does_not_say_which_calls_are_open_is_asked_for_each_call() -> None:
    class Hiding(forms.CallForm):
        def arguments(self, args: Any, redactor: Redactor) -> Any:
            return ["hidden"] if redactor.active else args

    class Open(Hiding):
        def is_open(self, args: Any, result: EventResult, redactor: Redactor) -> bool:
            return True

    class Again(Open):
        def arguments(self, args: Any, redactor: Redactor) -> Any:
            return ["hidden again"] if redactor.active else args

    result = EventResult()
    for form, is_open in ((Hiding(), False), (Open(), True), (Again(), False), (forms.CallForm(), True)):
        forms.declare("mylib", form)
        try:
            assert forms.is_open("mylib", [], result, Redactor()) is is_open
            (event,) = recorded([Ended(Call("mylib", EventType.CUSTOM, "f", args=["x"]), result)]).events
            assert event.call is not None
            assert event.call.args == (["x"] if is_open else form.arguments(["x"], Redactor()))
        finally:
            forms.declare("mylib", None)


def test_a_fault_of_the_search_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(open_calls._Search, "_takes", fails)
    cassette = recorded([*map(plain, range(8)), redis(["GET", "a"], FORGE.encode())])
    assert [event.not_replayable for event in cassette.events] == [None] * 9
    assert FORGE.encode() not in cassette_to_bytes(cassette)


TEXTS = st.sampled_from(
    [*("nothing at all", "plain", "a", "12.5", "x" * 30, "it's", 'say "a"', "{}", "…") * 3, *SECRETS]
)
LINES = st.lists(
    st.tuples(
        st.sampled_from([b"Accept", b"X-Note", b"Authorization", b"Set-Cookie", b"Location", b"Content-Type"]),
        TEXTS.map(str.encode),
    ),
    max_size=3,
)
NAMES = st.sampled_from(["id", "name", "note", "n", "total", "password", "token"])
BODIES = st.one_of(
    st.dictionaries(NAMES, TEXTS, max_size=3).map(lambda found: json.dumps(found).encode()),
    st.lists(st.dictionaries(NAMES, TEXTS, max_size=2), max_size=3).map(lambda found: json.dumps(found).encode()),
    TEXTS.map(str.encode),
    TEXTS.map(lambda text: f"name={text}".encode()),
)


@st.composite
def calls_of_all_kinds(draw: st.DrawFn) -> Ended:
    """A call, most often one without a secret."""
    kind = draw(st.sampled_from(["plain", "plain", "http", "sql", "redis"]))
    if kind == "plain":
        return plain(draw(st.integers(0, 1000)))
    if kind == "http":
        types = draw(st.lists(st.sampled_from([JSON, (b"content-type", b"text/html"), (b"X-Id", b"1")]), max_size=2))
        path, query = draw(TEXTS), draw(TEXTS)
        return http(
            draw(BODIES),
            draw(LINES),
            (*types, *draw(LINES)),
            draw(st.none() | BODIES),
            f"https://h/{path.replace(' ', '+')}?n={query.replace(' ', '%20')}",
            draw(st.fixed_dictionaries({}, optional={"head_ms": st.floats(0, 9) | TEXTS, "reason": TEXTS})),
        )
    if kind == "sql":
        rows = [(draw(TEXTS), draw(st.integers()))] * draw(st.sampled_from([0, 1, 20]))
        statement = draw(st.sampled_from(["SELECT a, b FROM t WHERE c = :c", "SELECT 'x' AS token, password = 'y'"]))
        return sql(statement, {draw(NAMES): draw(TEXTS)}, [draw(NAMES), draw(NAMES)], rows)
    words = draw(
        st.sampled_from([["GET", "k"], ["AUTH", TOKEN], ["SET", "k", "v"], ["CONFIG", "GET", "requirepass"]])
    )
    return redis([*words, draw(TEXTS)], draw(st.one_of(TEXTS, TEXTS.map(str.encode), BODIES)))


@given(st.lists(calls_of_all_kinds(), min_size=1, max_size=12))
@examples(40, HealthCheck.function_scoped_fixture)
def test_a_recording_is_the_same_as_by_a_look_at_each_call(
    monkeypatch: pytest.MonkeyPatch, calls: list[Ended]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", lambda size: b"k" * size)
        together = recorded(calls)
        patched.setattr(OpenCalls, "_opened", lambda self, calls, _: ([None] * len(calls), None))
        one_by_one = recorded(calls)
    assert sorted(together.pseudonyms) == sorted(one_by_one.pseudonyms)
    for event, other in zip(together.events, one_by_one.events, strict=True):
        assert replace(event, pseudonyms=(), start_offset_ms=0.0) == replace(
            other, pseudonyms=(), start_offset_ms=0.0
        )
        assert sorted(event.pseudonyms) == sorted(other.pseudonyms)
