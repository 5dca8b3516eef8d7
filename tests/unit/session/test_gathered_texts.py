"""Secrets are looked for by their form in many events at once. Each event is redacted as if it were the only one."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
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
from timetracer_otel.redact.occurrences import Occurrences
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.redact.secret_forms import well_known_secrets
from timetracer_otel.session import TraceSession, secret_book
from timetracer_otel.session.events import EventMaker
from timetracer_otel.types import BodySnapshot, Call, Cassette, EventResult, HeaderMap

KEY = "AKIAIOSFODNN7EXAMPLE"
FORGE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
PLANTED = "Zq8vT41xKw0pLm7"
CUT_OFF = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAabcdefghijklmn"
IDENTITY = "0af7651916cd43dd8448eb211c80319c"


def get(answer: str, note: str = "", token: str = "") -> Ended:
    """A GET with a text in a header, and one in its answer."""
    headers = [(b"X-Note", note.encode())] if note else []
    headers += [(b"Authorization", f"Bearer {token}".encode())] if token else []
    body = BodySnapshot(True, "bytes", answer.encode(), size_bytes=len(answer.encode()))
    lines = HeaderMap(((b"content-type", b"text/plain"), (b"X-Id", note.encode())))
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", "https://h/a", headers)
    return Ended(call, EventResult(status=200, headers=lines, body=body))


def redis(*words: str) -> Ended:
    """A command that gives its last word back."""
    call = Call("redis", EventType.REDIS, words[0], "redis://h/0", args=list(words))
    return Ended(call, EventResult(reply={"replies": [words[-1].encode()]}))


def recorded(calls: list[Ended], **settings: Any) -> Cassette:
    """The cassette of these calls."""
    session = TraceSession(TraceConfig(**settings))
    for call in calls:
        session.call_began(call)
    return session.to_cassette()


TEXTS = st.sampled_from(
    [
        *(PLANTED, f"say {PLANTED} twice", KEY, f"{FORGE} {KEY}", "nothing at all", "plain", CUT_OFF, IDENTITY),
        *("Bearer", "BASIC", "AccountKey=", "postgresql://bob:", "s3cretpw@db/shop", "x", "a" * 25, "%3A%2F%2F"),
    ]
) | st.text(max_size=8)
CALLS = st.lists(
    st.builds(get, TEXTS, st.sampled_from(["", PLANTED, KEY, "plain", IDENTITY]), st.sampled_from(["", PLANTED]))
    | st.builds(redis, st.just("SET"), TEXTS, TEXTS),
    min_size=1,
    max_size=8,
)


@given(CALLS)
@examples(25, HealthCheck.function_scoped_fixture)
def test_events_are_redacted_together_as_each_alone(monkeypatch: pytest.MonkeyPatch, calls: list[Ended]) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", lambda size: b"k" * size)
        together = recorded(calls)
        patched.setattr(secret_book, "_MOST_WAITING", 1)
        alone = recorded(calls)
    assert sorted(together.pseudonyms) == sorted(alone.pseudonyms)
    for one, other in zip(together.events, alone.events, strict=True):
        assert replace(one, start_offset_ms=0.0) == replace(other, start_offset_ms=0.0)
    packed = cassette_to_bytes(together)
    assert KEY.encode() not in packed
    assert FORGE.encode() not in packed


SECRETS = [PLANTED * 2, "Zq8v/T41xKw0+pLm7abcdef", "pw-1/x", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"]
PIECES = st.sampled_from(
    [
        *(*SECRETS, *(base64.b64encode(f"{'u' * skipped}{SECRETS[0]}".encode()).decode() for skipped in range(3))),
        *(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "abc8Q~" + "w" * 34,
            FORGE,
            IDENTITY,
            "AKIA",
            "-",
            ".",
            " ",
            "a",
        ),
    ]
)


@given(st.lists(PIECES, max_size=6).map("".join), st.sets(st.sampled_from(SECRETS)))
@examples(60)
def test_known_secrets_are_found_in_the_long_parts_of_a_text_as_in_all_of_it(text: str, secrets: set[str]) -> None:
    places = Occurrences()
    for secret in sorted(secrets):
        places.add(secret, secret[::-1], surely=True)
    long: list[bytes] = []
    data = text.encode()
    well_known_secrets(data, None, long)
    assert places.may_be_in(data, long) == places.may_be_in(data)


def test_a_private_key_that_is_cut_off_takes_in_no_other_text() -> None:
    """The text behind it was a part of the key once, so that nothing was found which was equal to both."""
    packed = cassette_to_bytes(recorded([redis("SET", "k", CUT_OFF), redis("GET", IDENTITY)]))
    assert CUT_OFF.encode() not in packed
    assert IDENTITY.encode() in packed


def test_a_secret_of_a_later_event_is_replaced_in_those_that_were_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_book, "_MOST_WAITING", 2)
    calls = [*(redis("SET", "k", f"of {PLANTED}") for _ in range(5)), get("an answer", token=PLANTED)]
    for before in ([], [get("an answer", token="another-4f7a9c1b")]):
        assert PLANTED.encode() not in cassette_to_bytes(recorded([*before, *calls]))


def test_a_function_of_the_user_is_given_one_event_at_a_time() -> None:
    given_texts: list[str] = []

    def find(text: str) -> Iterator[str]:
        given_texts.append(text)
        yield from (word for word in text.split() if word.startswith("hush"))

    calls = [redis("SET", "one", "hush-4f7a"), redis("SET", "two", "hush-9c1b"), redis("GET", "hush-4f7a")]
    packed = cassette_to_bytes(recorded(calls, redact_rules=(find,)))
    assert b"hush-4f7a" not in packed
    assert b"hush-9c1b" not in packed
    assert [text for text in given_texts if "hush-4f7a" in text and "hush-9c1b" in text] == []


def test_where_events_cannot_be_searched_none_of_them_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(faults, "contain", lambda *_: None)
    monkeypatch.setattr(Pseudonymiser, "note", broken)
    cassette = recorded([redis("SET", "k", KEY), redis("GET", "k")])
    assert KEY.encode() not in cassette_to_bytes(cassette)
    assert ["a fault of the recorder" in (event.not_replayable or "") for event in cassette.events] == [True, True]


def test_an_event_that_is_written_is_not_held() -> None:
    maker = EventMaker(TraceConfig(), Redactor.of("default", ()))
    book = maker.book
    assert book is not None
    book.redactor.secret(PLANTED)
    for _ in range(3):
        event = maker.event(redis("GET", "k"), None, 0.0, 1.0)
        maker.clean([event])
        assert list(book._without.values()) == [event]
        maker.written(event)
        assert not book._without
        assert not book._kept


def test_after_a_fault_later_events_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    maker = EventMaker(TraceConfig(), Redactor.of("default", ()))
    reasons = []
    for fails in (True, False):
        with monkeypatch.context() as patched:
            patched.setattr(faults, "contain", lambda *_: None)
            if fails:
                patched.setattr(Pseudonymiser, "note", broken)
            event = maker.event(redis("GET", "k"), None, 0.0, 1.0)
            maker.clean([event])
            maker.written(event)
            reasons.append(event.not_replayable)
    assert reasons == ["a fault of the recorder, which its log has: RuntimeError", None]
