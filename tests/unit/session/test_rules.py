"""``match_on``, ``ignore``, custom matchers, repeats, verdicts; and that the default rules cost nothing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.session.test_matching import SIGNER, call, event, replaying
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.match.rules import rules_of
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import BodySnapshot, Call, CallSnapshot, CallView, DependencyEvent

JSON = [(b"Content-Type", b"application/json")]


def recorded(made: Call, answer: object = 1) -> DependencyEvent:
    kept = event(made, answer)
    stored = SIGNER.view(made)
    body = BodySnapshot(captured=True, data=stored.body) if stored.body else None
    kept.call = CallSnapshot(headers=dict(stored.headers), body=body, args=stored.args)
    return kept


def answers(session: ReplaySession, made: Call) -> bool:
    try:
        session.match(made)
    except ReplayMismatchError:
        return False
    return True


def function(args: Any) -> Call:
    return Call("ledger", EventType.CUSTOM, "book", args=args)


BASE = call(
    "http://h/a?x=1&ts=5", b'{"at": 1, "items": [{"id": 1, "n": 2}]}', "POST", headers=[*JSON, (b"X-T", b"a")]
)


@pytest.mark.parametrize(
    ("settings", "made", "fits"),
    [
        ({}, {}, True),
        ({}, {"method": "PUT"}, False),
        ({"match_on": ["url", "query", "body"]}, {"method": "PUT"}, True),
        ({"match_on": ["method"]}, {"url": "http://other/", "body": b"x"}, True),
        ({"match_on": ["method", "url"]}, {"url": "http://h/a"}, True),
        ({"match_on": ["method", "url"]}, {"url": "http://h/b"}, False),
        ({"ignore": ["query:ts"]}, {"url": "http://h/a?ts=9&x=1"}, True),
        ({"ignore": ["query:ts"]}, {"url": "http://h/a?x=2"}, False),
        ({"ignore": ["query:ts"]}, {"body": b"{}"}, False),
        ({"ignore": ["body:$.at"]}, {"body": b'{"items": [{"n": 2, "id": 1}], "at": 9}'}, True),
        ({"ignore": ["body:$.at"]}, {"body": b'{"at": 1, "items": []}'}, False),
        ({"ignore": ["body:$.items[*].id"]}, {"body": b'{"at": 1, "items": [{"id": 7, "n": 2}]}'}, True),
        ({"ignore": ["body:$.items[0].id"]}, {"body": b'{"at": 1, "items": [{"id": 7, "n": 3}]}'}, False),
        ({"ignore": ["body:$['items']", "body:$.at"]}, {"body": b'{"items": 3}'}, True),
        ({"ignore": ["body:$"]}, {"body": b"[]"}, True),
        ({"ignore": ["body:$.at"]}, {"body": b"no JSON"}, False),
        ({"match_on": ["method", "url", "headers:x-t"]}, {"headers": [(b"x-T", b"a")]}, True),
        ({"match_on": ["method", "url", "headers:X-T"]}, {"headers": [(b"X-T", b"b")]}, False),
        ({"match_on": ["method", "url", "headers"]}, {"headers": [*JSON, (b"x-t", b"a")]}, True),
        ({"match_on": ["method", "url", "headers"]}, {"headers": JSON}, False),
        ({"match_on": ["method", "url", "headers"], "ignore": ["header:X-T"]}, {"headers": JSON}, True),
    ],
)
def test_what_counts(settings: dict[str, Any], made: dict[str, Any], fits: bool) -> None:
    fields: dict[str, Any] = {"url": BASE.url, "body": BASE.body, "method": BASE.method, "headers": BASE.headers}
    assert answers(replaying([recorded(BASE)], **settings), call(**{**fields, **made})) is fits


def test_arguments_of_functions_have_paths_too() -> None:
    settings = {"ignore": ["body:$.kwargs.now", "body:$.args[1]"]}
    session = replaying([recorded(function({"args": [1, 2], "kwargs": {"now": 3, "n": 4}}))], **settings)
    assert not answers(session, function({"args": [9, 2], "kwargs": {"now": 3, "n": 4}}))
    assert answers(session, function({"args": [1, 7], "kwargs": {"now": 8, "n": 4}}))


def test_secrets_match_redacted() -> None:
    seen: list[tuple[CallView, CallView]] = []

    def matcher(recorded: CallView, now: CallView) -> bool:
        seen.append((recorded, now))
        return recorded == now

    made = call("http://h/a?token=s3cret", b'{"password": "s3cret"}', "POST", headers=JSON)
    session = replaying([recorded(made)], match_on=["method", "url", matcher])
    assert answers(session, made)
    assert b"s3cret" not in (seen[0][1].body or b"")
    assert "s3cret" not in str(seen[0][1])


def test_matchers_choose_among_those_that_have_the_rest_in_common() -> None:
    def longer(recorded: CallView, now: CallView) -> bool:
        return len(recorded.body or b"") >= len(now.body or b"")

    events = [recorded(call(body=b"x" * size, method="POST"), size) for size in (1, 5, 3)]
    session = replaying(events, match_on=["method", longer])
    assert [session.match(call(body=b"y" * 3, method="POST")).result.reply for _ in range(2)] == [5, 3]
    assert not answers(session, call(body=b"yyy", method="POST"))
    assert answers(session, call(body=b"y", method="POST"))


def test_repeats_are_given_only_where_allowed() -> None:
    events: Callable[[], list[DependencyEvent]] = lambda: [recorded(call(), 1), recorded(call(), 2)]  # noqa: E731
    session = replaying(events(), allow_repeats=True)
    assert [session.match(call()).result.reply for _ in range(4)] == [1, 2, 2, 2]
    assert not answers(session, call("http://h/other"))
    assert str(session.verdict()) == "4 hit, 1 missed, 0 unused, 0 live"
    session = replaying(events())
    assert [answers(session, call()) for _ in range(3)] == [True, True, False]


def test_hand_written_plugins_follow_the_rules() -> None:
    session = replaying([recorded(BASE)], match_on=["method", "query"], ignore=["query:ts"])
    fields = {"lib": "httpx", "method": "POST", "url": "elsewhere", "query": {"x": "1"}, "body_hash": "none"}
    assert session.get_next_event(EventType.HTTP_CLIENT, fields).result.reply == 1


def test_a_verdict_counts() -> None:
    observed = recorded(call("http://h/seen"))
    observed.not_replayable = "only observed"
    session = replaying(
        [recorded(call()), recorded(call("http://h/b")), observed, recorded(function([]))], live_plugins=["ledger"]
    )
    session.match(call())
    session.note_live("ledger")
    assert session.verdict().ok
    assert str(session.verdict()) == "1 hit, 0 missed, 1 unused, 1 live"
    assert [one.eid for one in session.verdict().unused] == [2]
    assert not answers(session, call("http://h/c"))
    assert not session.verdict().ok
    assert replaying([]).verdict().ok
    assert not replaying([recorded(call())], fail_on_unused=True).verdict().ok


def test_headers_that_are_new_in_every_call_do_not_count_among_all() -> None:
    def upload(trace: bytes, boundary: bytes, tenant: bytes) -> Call:
        headers = [
            (b"TraceParent", trace),
            (b"baggage", b"a=" + trace),
            (b"X-B3-TraceId", trace),
            (b"Content-Type", b"multipart/form-data; boundary=" + boundary),
            (b"X-Tenant", tenant),
        ]
        return call("http://h/", b"--%s--" % boundary, "POST", headers=headers)

    everything = ["method", "url", "query", "body", "headers"]
    session = replaying([recorded(upload(b"1", b"xyz", b"a"))], match_on=everything)
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(upload(b"2", b"abc", b"b"))
    assert caught.value.expected == {"headers.x-tenant": "a"}
    assert caught.value.actual == {"headers.x-tenant": "b"}
    assert answers(session, upload(b"2", b"abc", b"a"))
    named = replaying([recorded(upload(b"1", b"x", b"a"))], match_on=["url", "headers:traceparent"])
    assert not answers(named, upload(b"2", b"x", b"a"))


def test_the_length_of_a_body_is_none_of_its_headers() -> None:
    def upload(token: bytes) -> Call:
        body = b'{"token": "%b"}' % token
        return call("http://h/", body, "POST", headers=[*JSON, (b"Content-Length", b"%d" % len(body))])

    everything = ["method", "url", "query", "body", "headers"]
    assert answers(replaying([recorded(upload(b"short"))], match_on=everything), upload(b"longer"))
    named = [*everything, "headers:content-length"]
    assert not answers(replaying([recorded(upload(b"short"))], match_on=named), upload(b"longer"))


def test_paths_lead_into_compressed_bodies() -> None:
    def upload(at: int) -> Call:
        body = gzip.compress(b'{"at": %d, "b": 1}' % at, mtime=at)
        return call("http://h/", body, "POST", headers=[*JSON, (b"Content-Encoding", b"gzip")])

    assert answers(replaying([recorded(upload(1))], ignore=["body:$.at"]), upload(2))
    assert not answers(replaying([recorded(upload(1))], ignore=["body:$.b"]), upload(2))


def test_a_miss_names_what_counts_and_nothing_else() -> None:
    session = replaying([recorded(BASE)], match_on=["query", "body"], ignore=["query:ts", "body:$.at"])
    body = b'{"at": 9, "items": [{"id": 7, "n": 2}]}'
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(call("http://h/b?x=2&ts=6", body, "PUT", headers=JSON))
    assert caught.value.expected == {"query.x": "1", "body.items[0].id": 1}
    assert caught.value.actual == {"query.x": "2", "body.items[0].id": 7}


def test_the_default_rules_are_none() -> None:
    assert rules_of(None) is rules_of(TraceConfig()) is None
    assert rules_of(TraceConfig(match_on=["url"])) is not None
