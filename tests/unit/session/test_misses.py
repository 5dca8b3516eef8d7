"""The text of a miss: what differs, where a person sees it, and nothing that does not count."""

from __future__ import annotations

import gzip
import json
import pickle
from typing import Any

import pytest

from tests.unit.session.test_matching import event
from tests.unit.session.test_matching import replaying as replay_of
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.differences import Difference, value_differences
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import (
    Call,
    CallSnapshot,
    DependencyEvent,
    EventResult,
    EventSignature,
)

FORM = [(b"content-type", b"application/x-www-form-urlencoded")]
GZIP_JSON = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]


def post(body: bytes, headers: Any = (), url: str = "http://h/a") -> Call:
    return Call("httpx", EventType.HTTP_CLIENT, "POST", url, headers, body)


def replaying(*recorded: Call, **settings: Any) -> ReplaySession:
    return replay_of([event(made) for made in recorded], **settings)


def missed(session: ReplaySession, made: Call) -> list[str]:
    """The lines of the nearest recorded call."""
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(made)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    at = next(position for position, line in enumerate(lines) if line.startswith("#1 "))
    return lines[at + 1 : next(position for position, line in enumerate(lines) if line.startswith("what to do: "))]


def multipart(boundary: bytes, part: bytes) -> Call:
    body = b'--%b\r\nContent-Disposition: form-data; name="f"\r\n\r\n%b\r\n--%b--\r\n' % (boundary, part, boundary)
    return post(body, [(b"content-type", b"multipart/form-data; boundary=" + boundary)])


def zipped(content: bytes, at: int) -> Call:
    return post(gzip.compress(content, mtime=at), GZIP_JSON)


LONG = "x" * 100


@pytest.mark.parametrize(
    ("recorded", "made", "lines"),
    [
        (
            post(b"a=" + LONG.encode() + b"&b=1&c=%20&c=", FORM),
            post(b"a=" + LONG.encode() + b"&b=2&c=+&c=", FORM),
            ["body.b: recorded '1', now '2'"],
        ),
        (post(b"a=1&b", FORM), post(b"a=1&c", FORM), ["body: recorded b'a=1&b', now b'a=1&c'"]),
        (
            post(json.dumps({"s": LONG + "1" + LONG}).encode()),
            post(json.dumps({"s": LONG + "2" + LONG}).encode()),
            [f"body.s: recorded …{'x' * 30}1{'x' * 48}…, now …{'x' * 30}2{'x' * 48}…"],
        ),
        (
            post(json.dumps({"s": LONG}).encode()),
            post(json.dumps({"s": "y"}).encode()),
            [f"body.s: recorded '{'x' * 78}…, now 'y'"],
        ),
        (
            multipart(b"aaaa", b"1"),
            multipart(b"bbbb", b"2"),
            [
                (
                    'body: recorded …n: form-data; name="f"\\r\\n\\r\\n1\\r\\n--boundary--\\r\\n\', '
                    'now …n: form-data; name="f"\\r\\n\\r\\n2\\r\\n--boundary--\\r\\n\''
                )
            ],
        ),
        (zipped(b'{"a": 1}', 1), zipped(b'{"a": 2}', 1), ["body.a: recorded 1, now 2"]),
        (
            post(b'{"a":1}'),
            post(b'{"a": 1}'),
            ["body: recorded b'{\"a\":1}', now b'{\"a\": 1}'"],
        ),
        (
            post(b"", url=f"http://h/{LONG}/1"),
            post(b"", url=f"http://h/{LONG}/2"),
            [f"url: recorded …{'x' * 29}/1', now …{'x' * 29}/2'"],
        ),
    ],
    ids=["form", "no form", "text", "another text", "multipart", "gzip", "written otherwise", "url"],
)
def test_what_differs_is_seen(recorded: Call, made: Call, lines: list[str]) -> None:
    assert missed(replaying(recorded), made) == lines


@pytest.mark.parametrize(
    ("recorded", "now", "found"),
    [
        ([1, 2, 3], [1, 2, 3, 4], {"v[3]": ("(none)", "4")}),
        ([1, 2, 3], [1, 3], {"v[1]": ("2", "(none)")}),
        ([1, 2, 3], [0, 1, 2, 3], {"v[0]": ("(none)", "0")}),
        ([1, 2, 3], [1, 9, 3], {"v[1]": ("2", "9")}),
        ([1, 1], [1], {"v[1]": ("1", "(none)")}),
        ([], [[]], {"v[0]": ("(none)", "[]")}),
        ([{"a": 1}, 5], [{"a": 2}], {"v[0].a": ("1", "2"), "v[1]": ("5", "(none)")}),
        ([1, 2], [1, 2], {}),
    ],
)
def test_an_item_more_or_less_leaves_the_others_alone(recorded: Any, now: Any, found: dict[str, Any]) -> None:
    assert {
        each.field: (repr(each.recorded), repr(each.actual)) for each in value_differences("v", recorded, now)
    } == found


@pytest.mark.parametrize(
    ("made", "rules"),
    [
        (post(b'{"at": 2, "a b": 1}', url="http://h/a?ts=1"), 'ignore=["POST /a: query:ts", "POST /a: body:$.at"]'),
        (post(b'{"at": 1, "a b": 2}', url="http://h/a?ts=0"), None),
        (post(b'{"at": 2, "a b": 1}', url="http://h/b?ts=0"), None),
    ],
)
def test_the_rule_that_leaves_a_changing_value_out_is_named(made: Call, rules: str | None) -> None:
    session = replaying(post(b'{"at": 1, "a b": 1}', url="http://h/a?ts=0"))
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(made)
    assert caught.value.advice == (rules or "")
    lines = str(caught.value).splitlines()
    told = lines[lines.index("  to leave out of the comparison what changes from run to run:") + 1] if rules else None
    assert told == (f"    {rules}" if rules else None)


def test_the_rule_for_an_argument_is_that_of_its_place() -> None:
    session = replaying(Call("ledger", EventType.CUSTOM, "book", args=[1, {"id": "a"}]))
    session.events[0].call = CallSnapshot(args=[1, {"id": "a"}])
    with pytest.raises(ReplayMismatchError, match=r'ignore=\["ledger:book body:\$\[1\].id"\]'):
        session.match(Call("ledger", EventType.CUSTOM, "book", args=[1, {"id": "b"}]))


def test_a_form_has_no_rule_for_its_fields() -> None:
    with pytest.raises(ReplayMismatchError) as caught:
        replaying(post(b"a=1", FORM)).match(post(b"a=2", FORM))
    assert "ignore" not in str(caught.value)


def test_values_that_differ_in_their_type_alone_differ() -> None:
    assert list(map(str, value_differences("v", True, 1))) == ["v: recorded True, now 1"]
    assert str(Difference("v", "a" * 80, "a" * 81)) == f"v: recorded …{'a' * 30}', now …{'a' * 30}a'"


def test_the_same_path_at_another_port_is_nearer_than_ports_that_are_alike() -> None:
    alike = [post(b"", url=f"http://127.0.0.1:3535{digit}/users/1{digit}") for digit in (1, 2, 3, 4)]
    meant = post(b"", url="http://127.0.0.1:42269/users/16")
    session = replaying(*alike, meant)
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(post(b"", url="http://127.0.0.1:35357/users/16"))
    differs = "url: recorded 'http://127.0.0.1:42269/users/16', now 'http://127.0.0.1:35357/users/16'"
    assert differs in str(caught.value)


def test_a_matcher_that_says_no_is_named() -> None:
    def same_tenant(recorded: object, now: object) -> bool:
        return False

    session = replaying(post(b""), match_on=["method", "url", same_tenant])
    assert missed(session, post(b"")) == ["the matcher same_tenant says that this is another call"]


def test_what_was_answered_and_is_no_answer_for_a_matcher_is_not_counted_as_used_up() -> None:
    answers = iter([True, False, False, False, False])
    session = replaying(post(b""), match_on=["method", "url", lambda *_: next(answers)])
    session.match(post(b""))
    with pytest.raises(ReplayMismatchError, match="No recorded call matches"):
        session.match(post(b""))


def test_the_values_of_an_error_are_plain() -> None:
    with pytest.raises(ReplayMismatchError) as caught:
        replaying(post(b"{}")).match(post(b"{}", url="http://h/a?x=1"))
    assert (caught.value.expected, caught.value.actual) == ({}, {"query.x": "1"})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.expected, again.actual) == (caught.value.expected, caught.value.actual)


def test_a_refused_call_is_a_miss_and_no_hit_and_is_named_whole() -> None:
    session = replaying(post(b""))
    session.events[0].signature.query = {"page": "2"}
    session.events[0].not_replayable = "it is too long"
    session = ReplaySession(session.cassette, "x.msgpack")
    found = session.match(post(b"", url="http://h/a?page=2"))
    error = session.refuse(found, "it is too long")
    assert "Recorded, but cannot be replayed: httpx POST http://h/a?page=2: it is too long" in str(error)
    verdict = session.verdict()
    assert (len(verdict.hits), len(verdict.misses)) == (0, 1)


@pytest.fixture
def by_hand() -> ReplaySession:
    session = TraceSession()
    signature = EventSignature("mine", "GET", "thing://a", query={"q": "1"}, body_hash="h")
    session.add_event(DependencyEvent(0, EventType.CUSTOM, 0.0, 1.0, signature, EventResult(status=200)))
    session.finalize()
    return ReplaySession(session.to_cassette(), "x.msgpack")


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"lib": "mine", "method": "POST", "url": "thing://a"}, ["method: recorded 'GET', now 'POST'"]),
        ({"method": "POST", "url": "thing://a"}, ["method: recorded 'GET', now 'POST'"]),
        ({"method": "GET", "query": {"q": "2"}}, ["query.q: recorded '1', now '2'"]),
        ({"method": "GET", "key": "k"}, ["key: recorded (none), now 'k'"]),
    ],
)
def test_fields_that_a_hand_written_plugin_leaves_out_are_no_difference(
    by_hand: ReplaySession, fields: dict[str, Any], lines: list[str]
) -> None:
    with pytest.raises(ReplayMismatchError) as caught:
        by_hand.get_next_event(EventType.CUSTOM, fields)
    (candidate,) = caught.value.candidates
    assert [line.strip() for line in candidate.splitlines()] == ["#1 GET thing://a?q=1", *lines]


def test_the_same_call_of_a_hand_written_plugin_once_more_is_one_too_many(by_hand: ReplaySession) -> None:
    by_hand.get_next_event(EventType.CUSTOM, {"method": "GET", "url": "thing://a"})
    with pytest.raises(ReplayMismatchError, match="No recorded answer is left"):
        by_hand.get_next_event(EventType.CUSTOM, {"method": "GET", "url": "thing://a"})
