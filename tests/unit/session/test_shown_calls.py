"""What a replay says of a call without an answer holds no secret of the present run."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.unit.session.test_matching import event as event_of
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import (
    AppliedPolicies,
    Call,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)

KEY = "sk_live_" + "aB3d" * 6
OTHER = "Zq8vT41xKw0pLm7"


def replay_of(
    events: list[DependencyEvent], mode: str = "default", pseudonyms: tuple[str, ...] = ()
) -> ReplaySession:
    for eid, one in enumerate(events, 1):
        one.eid = eid
    return ReplaySession(
        Cassette(
            "1",
            SessionMeta("id", "", "", ""),
            RequestSnapshot("GET", "/me"),
            ResponseSnapshot(200),
            events,
            policies=AppliedPolicies(redaction_mode=mode, pseudonymised=True),
            pseudonyms=pseudonyms,
        ),
        "x.msgpack",
    )


def event(made: Call) -> DependencyEvent:
    one = event_of(made)
    one.call = CallSnapshot(HeaderMap(made.headers), one.call.body if one.call is not None else None, made.args)
    return one


def post(url: str = "http://h/a", body: bytes = b"{}", *headers: tuple[bytes, bytes]) -> Call:
    pairs = ((b"content-type", b"application/json"), *headers)
    return Call("httpx", EventType.HTTP_CLIENT, "POST", url, pairs, body)


def command(*words: Any) -> Call:
    return Call("redis", EventType.REDIS, str(words[0]), "redis://h/0", args=list(words))


def missed(session: ReplaySession, made: Call) -> str:
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(made)
    return f"{caught.value} {caught.value.actual} {session.misses[-1]}"


@pytest.mark.parametrize(
    "made",
    [
        post(f"http://h/{KEY}"),
        post(f"http://h/a?of={KEY}"),
        post(body=json.dumps({"of": f"see {KEY}"}).encode()),
        post("http://h/a", gzip.compress(json.dumps({"of": KEY}).encode()), (b"content-encoding", b"gzip")),
        command("SET", "a", f"see {KEY}"),
        command("GET", KEY),
        command("SET", "a", f"see postgresql://app:aB3daB3d@db/x {KEY}".encode()),
    ],
)
def test_a_secret_that_its_form_tells(made: Call) -> None:
    session = replay_of([event(post("http://h/b", b'{"of":"b"}')), event(command("SET", "a", "b"))])
    text = missed(session, made)
    assert "aB3d" not in text
    assert "[REDACTED]" in text


def test_a_secret_that_an_earlier_call_had_under_its_name() -> None:
    first = post("http://h/a", b"{}", (b"authorization", b"Bearer x1"))
    session = replay_of([event(first), event(command("GET", "a"))])
    assert OTHER in missed(session, command("GET", f"of:{OTHER}"))
    session.match(post("http://h/a", b"{}", (b"authorization", f"Bearer {OTHER}".encode())))
    text = missed(session, command("GET", f"of:{OTHER}"))
    assert OTHER not in text
    assert "of:[REDACTED]" in text


def test_the_pseudonyms_of_the_recording_are_shown() -> None:
    """They tell what the app did with an answer."""
    session = replay_of([event(command("GET", "a"))], pseudonyms=(KEY,))
    assert KEY in missed(session, command("GET", KEY))


def test_a_recording_that_keeps_all_shows_all() -> None:
    session = replay_of([event(command("GET", "a"))], mode="off")
    assert KEY in missed(session, command("GET", KEY))


def test_a_secret_of_calls_that_were_found_by_their_facts_alone() -> None:
    headers = ((b"authorization", f"Bearer {OTHER}".encode()),)
    events = [event(Call("httpx", EventType.HTTP_CLIENT, "GET", f"http://h/{path}")) for path in ("a", "b?token=1")]
    session = replay_of([*events, event(command("GET", "a"))])
    first = session.redacted(Call("httpx", EventType.HTTP_CLIENT, "GET", "http://h/a", headers))
    session.match(first)
    session.keep_headers(first, list(headers))
    for _ in range(300):
        assert session.match_as_recorded("httpx", ("GET", "http://h/none", b"", list(headers))) is None
    facts = "GET", f"http://h/b?token=x{OTHER}x", b"", list(headers)
    assert session.match_as_recorded("httpx", facts) is not None
    text = missed(session, command("GET", f"of:{OTHER}:x{OTHER}x"))
    assert OTHER not in text
    assert "of:[REDACTED]:[REDACTED]" in text
