"""One secret, one pseudonym, in everything that is written of a recording."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.ended_calls import Ended
from timetracer_otel import TraceConfig
from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.trace import EventFeed
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    Cassette,
    DependencyEvent,
    EventResult,
    HeaderMap,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
)

JSON = (b"content-type", b"application/json")
TOKEN = "Zq8-vT41xKw0pLm7/+x"
KEY = "sk-proj-" + "aB3d" * 10


def get(url: str, body: bytes = b"{}", **fields: Any) -> Ended:
    answer = BodySnapshot(True, "bytes", body, size_bytes=len(body), chunks=((1.0, len(body)),))
    headers = HeaderMap([JSON, (b"content-length", str(len(body)).encode()), *fields.pop("headers", ())])
    return Ended(
        Call("httpx", EventType.HTTP_CLIENT, "GET", url, **fields),
        EventResult(status=200, headers=headers, body=answer),
    )


def redis(*words: str, reply: Any = b"OK") -> Ended:
    return Ended(Call("redis", EventType.REDIS, words[0], "redis://h/0", args=list(words)), EventResult(reply=reply))


def recorded(*calls: Ended, config: TraceConfig | None = None) -> TraceSession:
    session = TraceSession(config)
    for call in calls:
        session.call_began(call)
    return session


def body_of(event: DependencyEvent) -> bytes:
    assert event.result.body is not None
    data = event.result.body.data
    assert type(data) is bytes
    return data


def flow() -> tuple[Ended, ...]:
    """A token is given in an answer, stored, and used in every kind of place. The answer comes last but one."""
    error = RecordedError("builtins:ValueError", f"no {TOKEN}", (f"no {TOKEN!r}", TOKEN.encode()))
    failed = Ended(
        Call("custom", EventType.CUSTOM, "f", args={"n": 1}), EventResult(error=error.message, exception=error)
    )
    packed = gzip.compress(json.dumps({"next": f"/a/{TOKEN}"}).encode(), mtime=0)
    return (
        get(f"https://h/items/{quote(TOKEN, safe='')}?q={quote(TOKEN)}"),
        get("https://h/z", packed, headers=[(b"content-encoding", b"gzip"), (b"x-of", TOKEN.encode())]),
        redis("SET", f"session:{TOKEN}", base64.b64encode(f"user:{TOKEN}".encode()).decode()),
        redis("HGETALL", "h", reply={b"of": [TOKEN.encode()], TOKEN.encode(): 1}),
        failed,
        get("https://h/token", json.dumps({"access_token": TOKEN, "n": 1}).encode()),
        get("https://h/me", headers=[], body=b"{}"),
    )


def test_a_secret_is_gone_wherever_it_stood() -> None:
    session = recorded(*flow())
    session.set_request(RequestSnapshot("GET", f"/r/{TOKEN}", target=f"/r/{TOKEN}?a=1", query={"a": TOKEN}))
    session.set_response(ResponseSnapshot(200, {"x-t": TOKEN}, BodySnapshot(True, "bytes", TOKEN.encode())))
    session.mark_error("ValueError", f"bad {TOKEN}", f"Traceback: {TOKEN}")
    cassette = session.to_cassette()
    (name,) = cassette.pseudonyms
    assert cassette.policies.pseudonymised
    data = cassette_to_bytes(cassette)
    for form in (TOKEN, quote(TOKEN), quote(TOKEN, safe=""), base64.b64encode(f"user:{TOKEN}".encode()).decode()):
        assert form.encode() not in data
    events = cassette.events
    assert events[0].signature.url == f"https://h/items/{quote(name, safe='')}"
    assert events[0].signature.query == {"q": name}
    assert json.loads(gzip.decompress(body_of(events[1]))) == {"next": f"/a/{name}"}
    assert events[1].result.headers["content-length"] == str(len(body_of(events[1])))
    assert events[1].result.headers["x-of"] == name
    assert events[2].call is not None
    assert events[2].call.args == ["SET", f"session:{name}", base64.b64encode(f"user:{name}".encode()).decode()]
    assert events[3].result.reply == {b"of": [name.encode()], name.encode(): 1}
    assert events[4].result.exception is not None
    assert events[4].result.exception.args == (f"no {name!r}", name.encode())
    assert json.loads(body_of(events[5])) == {"access_token": name, "n": 1}
    assert (cassette.request.path, cassette.request.query) == (f"/r/{name}", {"a": name})
    assert cassette.response.body is not None
    assert cassette.response.body.data == name.encode()
    assert cassette.error_info == {"type": "ValueError", "message": f"bad {name}", "traceback": f"Traceback: {name}"}
    assert [bool(event.pseudonyms) for event in events] == [True, False, True, False, False, False, False]


@pytest.mark.parametrize(
    "fields",
    [
        {"path": f"/of/{KEY}"},
        {"route_template": f"/of/{KEY}"},
        {"query": {"of": KEY}},
        {"query": {KEY: "1"}},
        {"headers": HeaderMap([(b"x-of", KEY.encode())])},
        {"headers": {KEY: "1"}},
        {"headers": {"X-Of": KEY}},
        {"user_agent": KEY},
        {"target": f"/?of={KEY}"},
    ],
)
def test_a_secret_of_a_call_is_gone_from_a_request_without_a_body(fields: dict[str, Any]) -> None:
    session = TraceSession(TraceConfig())
    session.call_began(get("http://h/a", headers=((b"Authorization", f"Bearer {KEY}".encode()),)))
    session.request = RequestSnapshot(**{"method": "GET", "path": "/", **fields})
    session.response = ResponseSnapshot(200, headers=HeaderMap([(b"x-of", KEY.encode())]))
    assert KEY.encode() not in cassette_to_bytes(session.to_cassette())


def test_what_came_from_an_answer_matches_where_it_is_sent_again() -> None:
    cassette = recorded(*flow()).to_cassette()
    (name,) = cassette.pseudonyms
    replay = ReplaySession(cassette, "x")
    again = Call("httpx", EventType.HTTP_CLIENT, "GET", f"https://h/items/{quote(name, safe='')}?q={quote(name)}")
    assert replay.match(again) is cassette.events[0]
    words = ["SET", f"session:{name}", base64.b64encode(f"user:{name}".encode()).decode()]
    assert replay.match(Call("redis", EventType.REDIS, "SET", "redis://h/0", args=words)) is cassette.events[2]


def test_any_secret_matches_at_a_secret_place() -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")

    def calls(secret: str) -> list[Call]:
        return [
            get(f"https://h/a?token={secret}&n=1", headers=[]).call(),
            Call(
                "httpx", EventType.HTTP_CLIENT, "POST", "https://h/b", (JSON,), f'{{"password":"{secret}"}}'.encode()
            ),
            Call("httpx", EventType.HTTP_CLIENT, "POST", "https://h/c", (form,), f"client_secret={secret}".encode()),
            Call("redis", EventType.REDIS, "AUTH", "redis://h/0", args=["AUTH", "user", secret]),
            Call("redis", EventType.REDIS, "SET", "redis://h/0", args=["SET", "k", f'{{"token": "{secret}"}}']),
            Call(
                "sqlalchemy",
                EventType.DB_QUERY,
                "UPDATE",
                "db://h/a",
                args={"statement": f"UPDATE t SET password = '{secret}'", "parameters": {"token_1": secret, "n": 1}},
            ),
        ]

    cassette = recorded(*(Ended(call, EventResult(reply=1)) for call in calls(TOKEN))).to_cassette()
    assert TOKEN.encode() not in cassette_to_bytes(cassette)
    assert all(event.pseudonyms for event in cassette.events)
    for secret in ("other-Secret1", *cassette.pseudonyms[:1]):
        replay = ReplaySession(cassette, "x")
        assert [replay.match(call) for call in calls(secret)] == cassette.events


def test_a_stored_signature_is_that_of_what_is_stored() -> None:
    cassette = recorded(*flow()).to_cassette()
    for event in cassette.events[2:3]:
        assert event.call is not None
        hashed = Signer(Redactor("off")).arguments_hash(event.signature.lib, event.call.args)
        assert event.signature.body_hash == hashed


@pytest.mark.parametrize("place", ["url", "header", "argument", "reply", "body", "error", "path"])
def test_what_is_secret_by_its_form_is_gone_from_any_place(place: str) -> None:
    call = get("https://h/a")
    if place == "url":
        call = get(f"https://h/bot/{KEY}/send")
    elif place == "header":
        call = get("https://h/a", headers=[(b"x-any", KEY.encode())])
    elif place == "argument":
        call = redis("SET", "k", f"the key {KEY}")
    elif place == "reply":
        call = redis("GET", "k", reply=[[KEY.encode()]])
    elif place == "body":
        call = get("https://h/a", json.dumps({"prompt": f"use {KEY}"}).encode())
    elif place == "error":
        call._result.error = f"401: {KEY}"
    else:
        call.path = (f"GET /{KEY}",)
    cassette = recorded(call).to_cassette()
    assert KEY.encode() not in cassette_to_bytes(cassette)
    (name,) = cassette.pseudonyms
    assert name.startswith("sk-proj-")


def test_what_is_secret_by_its_form_is_gone_from_the_error_of_a_request() -> None:
    session = recorded(redis("SET", "k", KEY))
    session.mark_error("ValueError", f"no {KEY}", "line 1\n  connect(password='hunter2')")
    cassette = session.to_cassette()
    assert cassette.error_info is not None
    name = cassette.error_info["message"].removeprefix("no ")
    assert cassette.pseudonyms[0] == name
    assert cassette.events[0].call is not None
    assert cassette.events[0].call.args == ["SET", "k", name]
    assert "hunter2" not in cassette.error_info["traceback"]
    assert cassette.error_info["traceback"].startswith("line 1\n  connect(password='")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "https://auth.internal/v2"),
        ("password", ""),
        ("accessToken", {"kind": "bearer", "ttl": 3600}),
        ("password_hash", "bcrypt"),
        ("secret", [[], {}]),
        ("token", True),
    ],
)
def test_a_call_with_a_value_that_is_no_secret_is_found_again_and_compared(name: str, value: Any) -> None:
    def calls(value: Any) -> list[Call]:
        data = json.dumps({name: value}).encode()
        quoted = quote(str(value))
        args = {"statement": f"UPDATE t SET {name} = :{name}", "parameters": {name: value}}
        return [
            Call("httpx", EventType.HTTP_CLIENT, "POST", "https://h/b", (JSON,), data),
            Call("redis", EventType.REDIS, "SET", "redis://h/0", args=["SET", "k", data.decode()]),
            Call("sqlalchemy", EventType.DB_QUERY, "UPDATE", "db://h/a", args=args),
            *([get(f"https://h/a?{name}={quoted}", headers=[]).call()] if isinstance(value, str) else []),
        ]

    cassette = recorded(*(Ended(call, EventResult(reply=1)) for call in calls(value))).to_cassette()
    assert not cassette.pseudonyms
    replay = ReplaySession(cassette, "x")
    for other in calls("https://auth.internal/v1"):
        with pytest.raises(ReplayMismatchError):
            replay.match(other)
    assert [replay.match(call) for call in calls(value)] == cassette.events


def test_literals_that_an_insert_gives_to_secret_columns() -> None:
    statement = "INSERT INTO users (mail, password, n) VALUES ('a', '{0}', 1), ('it''s', '{1}', 2) RETURNING n"

    def insert(*words: str) -> Call:
        text = statement.format(*(word.replace("'", "''") for word in words))
        return Call("sqlalchemy", EventType.DB_QUERY, "INSERT", "db://h/d", args={"statement": text})

    cassette = recorded(Ended(insert("hunter2", "it's mine"), EventResult(reply=1))).to_cassette()
    (event,) = cassette.events
    assert event.call is not None
    assert event.call.args == insert(*cassette.pseudonyms).args
    assert {"hunter2", "it's mine"}.isdisjoint(cassette.pseudonyms)
    assert ReplaySession(cassette, "x").match(insert("another", "one")) is event


def test_a_word_for_a_password_is_replaced_only_where_it_is_one() -> None:
    call = redis("SET", "dsn", "postgresql://postgres:postgres@h/postgres")
    cassette = recorded(call).to_cassette()
    assert cassette.events[0].call is not None
    text: str = cassette.events[0].call.args[2]
    assert text.startswith("postgresql://postgres:")
    assert text.endswith("@h/postgres")
    assert text.count("postgres") == 3


def test_what_is_written_as_it_goes_knows_the_secrets_up_to_then() -> None:
    calls = flow()
    session = recorded(calls[5])
    feed = EventFeed(session)
    (first,) = feed.take(0.0)
    session.call_began(calls[0])
    (second,) = feed.take(0.0)
    (name,) = first.pseudonyms
    assert second.signature.query == {"q": name}
    assert second.pseudonyms == (name,)
    assert TOKEN not in repr((first, second))


def test_an_exchange_is_held_back_until_its_answer_has_told() -> None:
    """So what an answer gives is replaced in its own request, in a file that is written as it goes."""
    session = recorded(get(f"https://h/of/{quote(TOKEN, safe='')}", json.dumps({"token": TOKEN}).encode()))
    (event,) = EventFeed(session).take(0.0)
    (name,) = event.pseudonyms
    assert event.signature.url == f"https://h/of/{quote(name, safe='')}"
    assert TOKEN not in repr(event)


def test_recordings_have_keys_of_their_own() -> None:
    one, other = (recorded(*flow()).to_cassette() for _ in range(2))
    assert one.pseudonyms != other.pseudonyms


def test_a_recording_that_goes_on_keeps_its_pseudonyms() -> None:
    cassette = recorded(*flow()).to_cassette()
    (name,) = cassette.pseudonyms
    more = TraceSession(goes_on_from=cassette)
    more.call_began(get(f"https://h/a?token={quote(name)}"))
    more.call_began(get("https://h/a?token=another-1"))
    events = more.events
    assert events[0].signature.query == {"token": name}
    assert events[1].signature.query != {"token": "another-1"}


def test_a_first_recording_goes_on_as_it_began() -> None:
    cassette = recorded(get("https://h/a?token=x")).to_cassette()
    first = replace(cassette, policies=replace(cassette.policies, pseudonymised=False), pseudonyms=())
    more = TraceSession(goes_on_from=first)
    more.call_began(get("https://h/a?token=x&oauth_token=y"))
    assert more.events[0].signature.query == {"token": "[REDACTED]", "oauth_token": "y"}


def test_off_is_off() -> None:
    cassette: Cassette = recorded(*flow(), config=TraceConfig(redact="off")).to_cassette()
    assert (cassette.pseudonyms, cassette.policies.pseudonymised) == ((), False)
    assert TOKEN.encode() in cassette_to_bytes(cassette)


def test_a_first_recording_replays_as_it_did() -> None:
    """It has one text for every secret, and the names of its time: both sides are masked by them."""
    body = b'{"password":"[REDACTED]","oauth_token":"kept"}'
    event = recorded(get("https://h/a?token=%5BREDACTED%5D")).events[0]
    masked = Signer(Redactor(first=True)).redacted(
        Call("httpx", EventType.HTTP_CLIENT, "POST", "https://h/b?token=x", (JSON,), body)
    )
    event = replace(event, signature=masked.signature, pseudonyms=())
    cassette = recorded().to_cassette()
    first = replace(cassette, events=[event], policies=replace(cassette.policies, pseudonymised=False))
    now = b'{"password":"mine","oauth_token":"kept"}'
    call = Call("httpx", EventType.HTTP_CLIENT, "POST", "https://h/b?token=mine", (JSON,), now)
    assert ReplaySession(first, "x").match(call) is event


def test_faults_of_the_recorder_write_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timetracer_otel.base import faults
    from timetracer_otel.session.secret_book import SecretBook

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(faults, "contain", lambda *_: None)
    monkeypatch.setattr(SecretBook, "clean", broken)
    cassette = recorded(*flow()).to_cassette()
    assert TOKEN.encode() not in cassette_to_bytes(cassette)
    # The last two are not looked through again: when they were made, nothing secret was left in them, and no secret
    # has been found since.
    assert [event.not_replayable is not None for event in cassette.events] == [True] * 5 + [False] * 2
    assert [event.eid for event in cassette.events if event.call is not None and event.call.args] == []


def test_a_fault_of_the_recorder_costs_every_event_where_each_is_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from timetracer_otel.base import faults
    from timetracer_otel.session.secret_book import SecretBook

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(faults, "contain", lambda *_: None)
    monkeypatch.setattr(SecretBook, "clean", broken)
    note_forms = SecretBook.note_forms
    monkeypatch.setattr(SecretBook, "note_forms", lambda self, event, kept=False: note_forms(self, event))
    cassette = recorded(*flow()).to_cassette()
    assert TOKEN.encode() not in cassette_to_bytes(cassette)
    assert all(event.not_replayable for event in cassette.events)


def test_a_pseudonym_is_no_other_value_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are few numbers of four digits: the first one that is drawn may be an order's."""
    from timetracer_otel.redact import pseudonyms

    drawn = iter(["1234", "1234", "5678"])
    monkeypatch.setattr(pseudonyms, "_number", lambda *_: next(drawn))
    calls = get("https://h/pin", b'{"password": "9876"}'), get("https://h/orders/1234", b'{"order": 1234}')
    cassette = recorded(*calls).to_cassette()
    assert cassette.pseudonyms == ("5678",)
    assert [body_of(event) for event in cassette.events] == [b'{"password": "5678"}', b'{"order": 1234}']
    assert cassette.events[1].signature.url == "https://h/orders/1234"
