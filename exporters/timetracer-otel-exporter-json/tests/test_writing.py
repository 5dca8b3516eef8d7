"""Our calls as timetracer's: those that it answers as they were, and what is said of the others."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.exchange import HttpCall, imported_cassette, utc_text
from timetracer_otel.types import DependencyEvent, EventResult, EventSignature, LogEntry
from timetracer_otel_exporter_json import export_json

STEP = "it is a step of a redirect that was followed, which is one call for timetracer"
TYPE = (b"Content-Type", b"application/json")


def call(url: str = "http://h/a", lib: str = "httpx", **changes: Any) -> DependencyEvent:
    made = HttpCall("GET", url, **{"status": 200, "headers": (TYPE,), "body": b'{"a": 1}', **changes}).event(1)
    return replace(made, signature=replace(made.signature, lib=lib))


def written(*events: DependencyEvent) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    numbered = [replace(each, eid=eid, start_offset_ms=float(eid)) for eid, each in enumerate(events, 1)]
    made = export_json.write(replace(imported_cassette((), utc_text(), "x"), events=numbered))
    return json.loads(made.data)["events"], made.left_out


@pytest.mark.parametrize(
    ("body", "encoding", "data"),
    [
        (b'{"a": 1}', "json", {"a": 1}),
        (b'{"a":1}', "text", '{"a":1}'),  # Of the value, timetracer would make other bytes.
        (b"null", "text", "null"),  # It takes the value for no body.
        ("é\0".encode(), "text", "é\0"),
    ],
)
def test_a_body_stands_in_the_form_that_gives_its_bytes_again(body: bytes, encoding: str, data: Any) -> None:
    (made,), left_out = written(call(body=body))
    assert (made["result"]["body"]["encoding"], made["result"]["body"]["data"], left_out) == (encoding, data, ())


def test_a_body_is_decoded_and_its_headers_say_so() -> None:
    headers = (TYPE, (b"Content-Encoding", b"gzip"), (b"Content-Length", b"99"), (b"Vary", b"A"), (b"Vary", b"B"))
    (made,), _ = written(call(headers=headers, body=gzip.compress(b'{"a": 1}')))
    assert made["result"]["headers"] == {
        "content-type": "application/json",
        "content-length": "8",
        "vary": "A, B",
    }
    assert made["result"]["body"]["data"] == {"a": 1}


def test_calls_stand_in_their_order_and_are_numbered() -> None:
    made, _ = written(call("http://h/a?x=1"), call(body=b"\xff"), call("http://h/b", lib="aiohttp"))
    assert [(each["eid"], each["signature"]["url"]) for each in made] == [(1, "http://h/a"), (2, "http://h/b")]
    assert made[0]["signature"]["query"] == {"x": "1"}


def redirect(**changes: Any) -> DependencyEvent:
    return call(status=302, headers=((b"Location", b"/b#top"),), body=b"", **changes)


CUT = call()
assert CUT.result.body is not None
CUT.result.body.end = BodyEnd.CLOSED


@pytest.mark.parametrize(
    ("events", "lines"),
    [
        ([call(lib="urllib3")], ["#1 urllib3 GET http://h/a: timetracer has no plugin for urllib3"]),
        ([call(not_replayable="why")], ["#1 httpx GET http://h/a: why"]),
        (
            [call(body=b"\xff")],
            ["#1 httpx GET http://h/a: its body is no text in UTF-8, which is all that timetracer's JSON holds"],
        ),
        ([CUT], ["#1 httpx GET http://h/a: its body is closed, and timetracer holds whole bodies alone"]),
        (
            [call(status=None)],
            ["#1 httpx GET http://h/a: timetracer raises an exception of another class for an error"],
        ),
        (
            [redirect(), call("http://h/b")],
            [
                f"#1 httpx GET http://h/a: {STEP}",
                f"#2 httpx GET http://h/b: {STEP}",
            ],
        ),
        (
            [
                DependencyEvent(
                    1, EventType.REDIS, 0.0, 1.0, EventSignature("redis", "GET", "k"), EventResult(reply=b"v")
                )
            ],
            ["1 call of redis: timetracer's JSON does not hold what they gave"],
        ),
    ],
)
def test_what_timetracer_would_not_answer_as_it_was_is_left_out(
    events: list[DependencyEvent], lines: list[str]
) -> None:
    made, left_out = written(*events)
    assert made == []
    assert list(left_out) == lines


def test_a_redirect_that_nobody_followed_is_an_answer() -> None:
    (made,), left_out = written(redirect())
    assert (made["result"]["status"], made["result"]["headers"]["location"], left_out) == (302, "/b#top", ())


def test_lines_that_became_one_are_said() -> None:
    cookies = (TYPE, (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"))
    (_,), left_out = written(call(headers=cookies))
    assert left_out == (
        "#1 httpx GET http://h/a: 2 lines Set-Cookie became one: timetracer's JSON has one for each name",
    )


def test_log_records_are_said_to_be_left_out() -> None:
    log = LogEntry(1.0, "INFO", 20, "app", "text")
    made = export_json.write(replace(imported_cassette((), utc_text(), "x"), logs=(log,)))
    assert made.left_out == ("1 log record: timetracer's JSON has none",)
