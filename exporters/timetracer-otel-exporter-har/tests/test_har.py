"""Cassettes as HAR 1.2: what the specification asks for, and nothing of the calls lost."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any

import pytest

from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import (
    BodySnapshot,
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)
from timetracer_otel_exporter_har import export

JSON = (b"Content-Type", b"application/json; charset=utf-8")

# Object types of http://www.softwareishard.com/blog/har-12-spec/: required fields and their types.
REQUIRED: dict[str, dict[str, Any]] = {
    "log": {"version": str, "creator": dict, "entries": list},
    "creator": {"name": str, "version": str},
    "page": {"startedDateTime": str, "id": str, "title": str, "pageTimings": dict},
    "entry": {
        "startedDateTime": str,
        "time": (int, float),
        "request": dict,
        "response": dict,
        "cache": dict,
        "timings": dict,
    },
    "request": {
        "method": str,
        "url": str,
        "httpVersion": str,
        "cookies": list,
        "headers": list,
        "queryString": list,
        "headersSize": int,
        "bodySize": int,
    },
    "response": {
        "status": int,
        "statusText": str,
        "httpVersion": str,
        "cookies": list,
        "headers": list,
        "content": dict,
        "redirectURL": str,
        "headersSize": int,
        "bodySize": int,
    },
    "content": {"size": int, "mimeType": str},
    "timings": {"send": (int, float), "wait": (int, float), "receive": (int, float)},
}


def body(data: bytes, chunks: tuple[tuple[float, int], ...] = (), end: BodyEnd = BodyEnd.COMPLETE) -> BodySnapshot:
    return BodySnapshot(
        captured=True,
        encoding="bytes",
        data=data,
        size_bytes=len(data),
        chunks=chunks or ((4.0, len(data)),),
        end=end,
    )


def call(eid: int = 1, **changes: Any) -> DependencyEvent:
    result = EventResult(
        status=changes.pop("status", 200),
        headers=HeaderMap(changes.pop("headers", (JSON,))),
        body=changes.pop("response", body(b'{"a":1e2}')),
        error=changes.pop("error", None),
        error_type=changes.pop("error_type", None),
        reply={"http_version": b"HTTP/2", "reason_phrase": b"OK"},
    )
    request = CallSnapshot(
        headers=HeaderMap(changes.pop("request_headers", ())), body=changes.pop("request_body", None)
    )
    signature = EventSignature(
        lib="httpx", method=changes.pop("method", "GET"), url="http://h/a b", query=changes.pop("query", {})
    )
    values = {"event_type": EventType.HTTP_CLIENT, "start_offset_ms": eid * 1.5, "duration_ms": 10.0, **changes}
    return DependencyEvent(eid=eid, signature=signature, result=result, call=request, **values)


def recording(
    *events: DependencyEvent, request: RequestSnapshot | None = None, at: str = "2026-03-01T12:00:00+00:00"
) -> Cassette:
    return Cassette(
        schema_version="1",
        session=SessionMeta(id="s", recorded_at=at, service="shop", env="test"),
        request=request or RequestSnapshot("", ""),
        response=ResponseSnapshot(200, duration_ms=42.0),
        events=list(events),
    )


def har(*events: DependencyEvent, request: RequestSnapshot | None = None) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(export(recording(*events, request=request)))["log"]
    _has(log, "log")
    _has(log["creator"], "creator")
    for page in log["pages"]:
        _has(page, "page")
    for each in log["entries"]:
        _has(each, "entry")
        _has(each["request"], "request")
        _has(each["response"], "response")
        _has(each["response"]["content"], "content")
        _has(each["timings"], "timings")
        assert datetime.fromisoformat(each["startedDateTime"]).tzinfo is not None
        assert each["time"] == pytest.approx(sum(time for time in each["timings"].values() if time != -1))
    return log


def _has(value: dict[str, Any], kind: str) -> None:
    for name, type_ in REQUIRED[kind].items():
        assert isinstance(value[name], type_), f"{kind}.{name} is {value.get(name)!r}"


def only(event: DependencyEvent) -> dict[str, Any]:
    (entry,) = har(event)["entries"]
    assert isinstance(entry, dict)
    return entry


def test_it_is_registered_under_its_name() -> None:
    (found,) = entry_points(group="timetracer_otel_exporter", name="har")
    assert found.load() is export


def test_a_cassette_without_calls_is_a_log_without_entries() -> None:
    log = har()
    assert (log["version"], log["entries"], log["pages"]) == ("1.2", [], [])
    assert log["creator"]["name"] == "timetracer-otel-exporter-har"


def test_the_recorded_request_is_the_page() -> None:
    log = har(call(), request=RequestSnapshot("POST", "/checkout"))
    assert [page["title"] for page in log["pages"]] == ["POST /checkout"]
    assert log["entries"][0]["pageref"] == log["pages"][0]["id"]


def test_calls_stand_in_order_of_start_and_others_are_left_out() -> None:
    sql = DependencyEvent(2, EventType.DB_QUERY, 2.0, 1.0, EventSignature("sqlalchemy", "SELECT"), EventResult())
    entries = har(call(3, method="PUT"), sql, call(1))["entries"]
    assert [entry["request"]["method"] for entry in entries] == ["GET", "PUT"]
    assert entries[0]["startedDateTime"] == "2026-03-01T12:00:00.001500+00:00"


@pytest.mark.parametrize(("at", "start_ms"), [("yesterday", 0.0), ("9999-12-31T00:00:00", 1e12)])
def test_a_time_that_is_none_is_said(at: str, start_ms: float) -> None:
    with pytest.raises(CassetteError, match=f"recorded_at is '{at}': no time that HAR could say"):
        export(recording(call(start_offset_ms=start_ms), at=at))


def test_headers_keep_order_case_and_duplicates() -> None:
    lines = ((b"X-B", b"2"), (b"x-a", b"1"), (b"X-B", b"caf\xe9"))
    entry = only(call(headers=lines, request_headers=lines))
    expected = [{"name": "X-B", "value": "2"}, {"name": "x-a", "value": "1"}, {"name": "X-B", "value": "café"}]
    assert entry["request"]["headers"] == entry["response"]["headers"] == expected


def test_the_url_has_its_query_back() -> None:
    request = only(call(query={"page": ["1", "2"], "q": "a b&c"}))["request"]
    assert request["url"] == "http://h/a b?page=1&page=2&q=a+b%26c"
    assert request["queryString"] == [
        {"name": "page", "value": "1"},
        {"name": "page", "value": "2"},
        {"name": "q", "value": "a b&c"},
    ]


def test_text_is_text_and_exact() -> None:
    content = only(call())["response"]["content"]
    assert content == {"size": 9, "mimeType": "application/json; charset=utf-8", "text": '{"a":1e2}'}


def test_an_encoded_body_is_decoded_and_its_saving_counted() -> None:
    plain = b"tea " * 100
    packed = gzip.compress(plain)
    response = only(call(headers=(JSON, (b"Content-Encoding", b"gzip")), response=body(packed)))["response"]
    assert response["content"]["text"] == plain.decode()
    assert response["content"]["size"] == 400
    assert response["content"]["compression"] == 400 - len(packed)
    assert response["bodySize"] == len(packed)


def test_bytes_that_are_no_text_are_base64() -> None:
    content = only(call(headers=((b"Content-Type", b"image/png"),), response=body(b"\x89PNG\x00")))["response"][
        "content"
    ]
    assert content["encoding"] == "base64"
    assert base64.b64decode(content["text"]) == b"\x89PNG\x00"


def test_text_in_another_charset_is_transcoded() -> None:
    latin = ((b"Content-Type", b"text/plain; charset=iso-8859-1"),)
    assert only(call(headers=latin, response=body(b"caf\xe9")))["response"]["content"]["text"] == "café"


def test_a_damaged_encoding_is_said_and_keeps_the_bytes() -> None:
    entry = only(call(headers=((b"Content-Encoding", b"gzip"),), response=body(b"\x00\x01")))
    content = entry["response"]["content"]
    assert content["comment"] == "could not be decoded from gzip"
    assert base64.b64decode(content["text"]) == b"\x00\x01"


@pytest.mark.parametrize(
    ("headers", "data", "expected"),
    [
        ((JSON,), b'{"n":1}', {"mimeType": JSON[1].decode(), "text": '{"n":1}'}),
        (
            ((b"content-type", b"application/x-www-form-urlencoded"),),
            b"a=1&a=&b=x+y",
            {
                "mimeType": "application/x-www-form-urlencoded",
                "params": [{"name": "a", "value": "1"}, {"name": "a", "value": ""}, {"name": "b", "value": "x y"}],
                "text": "a=1&a=&b=x+y",
            },
        ),
        ((), b"\xff\x00", {"mimeType": "", "text": "/wA=", "_encoding": "base64"}),
    ],
)
def test_request_bodies_are_post_data(headers: Any, data: bytes, expected: dict[str, Any]) -> None:
    request = only(call(method="POST", request_headers=headers, request_body=body(data)))["request"]
    assert request["postData"] == expected
    assert request["bodySize"] == len(data)


def test_cookies_are_taken_apart() -> None:
    entry = only(
        call(
            request_headers=((b"Cookie", b"a=1; b=x=y"),),
            headers=(
                (b"Set-Cookie", b"s=1; Path=/; Domain=h; HttpOnly; SameSite=Lax"),
                (b"set-cookie", b"t=; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; Max-Age=5"),
                (b"Set-Cookie", b"u=2; expires=never"),
            ),
        )
    )
    assert entry["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "x=y"}]
    assert entry["response"]["cookies"] == [
        {"name": "s", "value": "1", "path": "/", "domain": "h", "httpOnly": True, "sameSite": "Lax"},
        {"name": "t", "value": "", "expires": "2026-10-21T07:28:00+00:00", "secure": True},
        {"name": "u", "value": "2"},
    ]


def test_a_stream_has_its_chunks_and_waits_until_the_first() -> None:
    entry = only(call(response=body(b"abcdef", ((2.0, 2), (7.0, 4)))))
    assert entry["response"]["_chunks"] == [[2.0, 2], [7.0, 4]]
    assert (entry["timings"]["wait"], entry["timings"]["receive"], entry["time"]) == (2.0, 8.0, 10.0)
    assert entry["timings"]["dns"] == -1


def test_waiting_ends_with_the_headers_where_their_time_is_known() -> None:
    event = call(response=body(b"abcdef", ((2.0, 2), (7.0, 4))))
    event.result.reply["head_ms"] = 1.5
    assert only(event)["timings"]["wait"] == 1.5


def test_a_failed_call_has_status_0_and_its_error() -> None:
    event = call(status=None, headers=(), response=None, error="timed out", error_type="httpx:ReadTimeout")
    response = only(event)["response"]
    assert (response["status"], response["_error"]) == (0, "httpx:ReadTimeout: timed out")
    assert response["content"] == {"size": 0, "mimeType": "x-unknown"}
    assert response["bodySize"] == 0


def test_what_was_not_kept_or_not_read_is_said() -> None:
    lost = only(call(response=BodySnapshot(captured=False, size_bytes=99), not_replayable="too long"))
    assert lost["response"]["content"]["comment"] == "the body was not kept"
    assert lost["response"]["bodySize"] == 99
    assert lost["_notReplayable"] == "too long"
    closed = only(call(response=body(b"ab", end=BodyEnd.CLOSED)))
    assert closed["response"]["content"]["comment"] == "the body is closed"


def test_a_redirect_names_its_target_and_http_its_version() -> None:
    response = only(call(status=302, headers=((b"Location", b"/next"),), response=body(b"")))["response"]
    assert (response["redirectURL"], response["httpVersion"], response["statusText"]) == ("/next", "HTTP/2", "OK")


def test_an_observed_call_has_what_its_span_said() -> None:
    event = DependencyEvent(
        1,
        EventType.HTTP_CLIENT,
        0.0,
        3.0,
        EventSignature("aiohttp_client", "GET", "http://h/"),
        EventResult(status=200),
        not_replayable="only observed: no plugin captures the calls of aiohttp_client",
    )
    entry = only(event)
    assert entry["response"]["status"] == 200
    assert entry["response"]["httpVersion"] == "unknown"
    assert entry["_notReplayable"].startswith("only observed")
