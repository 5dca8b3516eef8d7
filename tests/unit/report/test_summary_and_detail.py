"""The head of a cassette, and one call whole."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from tests.sample_cassettes import body, cassette, checkout, http_event
from timetracer_otel.constants import BodyEnd
from timetracer_otel.report import decode_body, event_detail, exchange_detail, hexdump, json_view, summary
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    CaptureStats,
    EventResult,
    HeaderMap,
    RecordedError,
)


def test_the_head_says_where_a_cassette_comes_from_and_what_is_in_it() -> None:
    assert summary(checkout()) == [
        "request   POST /checkout -> 200 in 100.0 ms",
        "service   shop (test)",
        "recorded  2026-03-01T12:00:00.250000+00:00 with timetracer-otel 0.1.0, Python 3.12.1",
        "trace     0af7651916cd43dd8448eb211c80319c",
        "file      none (complete)",
        "calls     5 (4 http.client, 1 custom); 1 observed only",
        "no plugin pika (1 call): a replay refuses them",
        "policies  redaction default, request bodies always, response bodies always",
        "lost      nothing",
        "versions  httpx 0.28.1",
    ]


def test_the_head_says_what_was_lost_and_what_is_not_whole() -> None:
    made = cassette(
        [http_event(1, "http://a/", not_replayable="its body was cut")],
        complete=False,
        error_info={"type": "ValueError", "message": "no\nmore"},
        stats=CaptureStats(dropped={"spans over the limit": 3, "nothing of this": 0}),
        policies=AppliedPolicies(
            redaction_rules=["headers", "name:ssn"], max_body_kb=64, sample_rate=0.5, errors_only=True
        ),
    )
    lines = summary(made)
    assert "file      none (recovered: the recorder died before the end; whole events are here)" in lines
    assert "calls     1 (1 http.client); 1 not replayable" in lines
    assert "lost      3 spans over the limit" in lines
    assert r"error     ValueError: no\nmore" in lines
    assert (
        "policies  redaction default and ssn, request bodies always, response bodies always, "
        "bodies up to 64 KiB, sample rate 0.5, failed requests only" in lines
    )


def test_one_call_is_shown_whole() -> None:
    assert event_detail(checkout().events[1]) == [
        "#2 httpx GET http://127.0.0.1:8001/cart?page=1&page=2&user=7",
        "  http.client, started at 25.0 ms, took 50.0 ms, 200",
        "  inside POST /checkout",
        "  request",
        "    (no body)",
        "  response 200",
        "    content-type: application/json",
        "    Content-Encoding: gzip",
        "    reply: {'http_version': b'HTTP/1.1', 'reason_phrase': b'OK'}",
        "    (48 B; decoded from gzip; 2 chunks, 10.0 to 49.0 ms)",
        "    {",
        '      "items": [',
        '        "café",',
        '        "tea"',
        "      ]",
        "    }",
        "  span GET 0000000000000002 of trace 0af7651916cd43dd8448eb211c80319c, sampled",
        "    scope: opentelemetry.instrumentation.httpx",
        "    http.request.method: GET",
    ]


def test_the_request_and_its_answer_are_shown_whole() -> None:
    made = checkout()
    assert exchange_detail(cassette([])) == []
    made.request.target = "/checkout?a=1"
    made.request.headers = HeaderMap([(b"Content-Type", b"application/json")])
    made.request.body = body(b'{"tea": 1}')
    made.response.headers = HeaderMap([(b"X-A", b"1"), (b"X-A", b"2")])
    made.response.body = BodySnapshot(captured=True, data=b"ok", size_bytes=2, end=BodyEnd.CLOSED)
    assert exchange_detail(made) == [
        "request POST /checkout?a=1",
        "    Content-Type: application/json",
        "    (10 B)",
        "    {",
        '      "tea": 1',
        "    }",
        "response 200",
        "    X-A: 1",
        "    X-A: 2",
        "    (2 B; closed by the app before its end)",
        "    ok",
    ]


def test_bytes_that_are_no_text_are_a_hexdump_and_header_lines_keep_duplicates() -> None:
    lines = event_detail(checkout().events[2])
    assert "    Set-Cookie: a=1; Path=/; HttpOnly" in lines
    assert "    Set-Cookie: b=2; Secure" in lines
    assert "    00000000  00 01 02 ff                                      ...." in lines


def test_an_error_is_shown_with_its_causes() -> None:
    cause = RecordedError("httpcore:ReadTimeout", "socket", unfaithful="an argument has no faithful encoding")
    event = http_event(
        1, "http://a/", status=None, error=RecordedError("httpx:ReadTimeout", "timed out", cause=cause)
    )
    lines = event_detail(event)
    at = lines.index("  error httpx:ReadTimeout: timed out")
    assert lines[at + 1 : at + 3] == [
        "  caused by httpcore:ReadTimeout: socket",
        "    cannot be rebuilt: an argument has no faithful encoding",
    ]


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (BodySnapshot(captured=False, size_bytes=4096, hash="ab"), "    (body not kept: 4.0 KiB, SHA-256 ab)"),
        (BodySnapshot(captured=False), "    (no body)"),
        (BodySnapshot(captured=True, data=b""), "    (0 B)"),
        (BodySnapshot(captured=True, encoding="json", data={"a": 1}), "    {'a': 1}"),
        (BodySnapshot(captured=True, encoding="text", data="hello"), "    hello"),
        (body(b"ab", end=BodyEnd.CANCELLED), "    (2 B; cancelled by the app)"),
        (BodySnapshot(captured=True, data=b"ab", truncated=True), "    (2 B; truncated)"),
    ],
)
def test_what_was_kept_of_a_body_is_said(snapshot: BodySnapshot, line: str) -> None:
    event = http_event(1, "http://a/")
    event.result = EventResult(status=200, body=snapshot)
    assert line in event_detail(event)


def test_json_that_is_none_and_text_in_its_own_charset_are_shown_as_they_are() -> None:
    event = http_event(1, "http://a/", response=body(b'{"a": '))
    assert '    {"a": ' in event_detail(event)
    latin = HeaderMap([(b"Content-Type", b'text/plain; charset="iso-8859-1"')])
    event.result = EventResult(status=200, headers=latin, body=body("café\tau lait".encode("latin-1")))
    assert "    café    au lait" in event_detail(event)


def test_encodings_are_undone_in_reverse_order_and_damage_is_said() -> None:
    twice = zlib.compress(gzip.compress(b"abc"))
    assert decode_body(twice, {"content-encoding": "gzip, deflate"}).data == b"abc"
    assert decode_body(b"abc", {"content-encoding": "identity"}).encodings == ()
    unknown = decode_body(b"abc", {"content-encoding": "rot13"})
    damaged = decode_body(b"abc", {"content-encoding": "gzip"})
    assert unknown.data == damaged.data == b"abc"
    assert unknown.problem == "could not be decoded from rot13"
    assert damaged.problem == "could not be decoded from gzip"


def test_a_hexdump_stops_and_says_how_much_is_left() -> None:
    lines = hexdump(bytes(range(32, 64)) + b"x" * 100, limit=32)
    assert lines[0] == "00000000  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f   !\"#$%&'()*+,-./"
    assert lines[2] == "… 100 B more"


def test_the_json_view_of_any_cassette_is_json() -> None:
    made = checkout()
    made.events[0].result.reply = {1: {2.5, "x"}, "n": float("nan"), "b": b"\xff", "s": "\ud800", "t": (1, None)}
    view = json.loads(json.dumps(json_view(made)))
    assert view["events"][1]["result"]["headers"][0] == ["content-type", "application/json"]
    assert view["events"][0]["result"]["body"]["data"] == {"text": '{"a":1e2}'}
    assert view["events"][2]["result"]["body"]["data"] == {"base64": "AAEC/w=="}
    assert view["events"][0]["event_type"] == "http.client"
    assert view["events"][0]["result"]["reply"]["type"] == "dict"
