"""HAR files as other tools write them: what becomes an event, and what is said of the rest."""

from __future__ import annotations

import base64
import json
from importlib.metadata import entry_points
from typing import Any

import pytest

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.report import decode_body
from timetracer_otel.types import BodySnapshot, DependencyEvent, header_pairs
from timetracer_otel_exporter_har import import_format


def entry(**changes: Any) -> dict[str, Any]:
    """As Chromium's network panel writes one."""
    request = {
        "method": "GET",
        "url": "https://shop.test/cart#top",
        "httpVersion": "h2",
        "headers": [{"name": ":authority", "value": "shop.test"}, {"name": "accept", "value": "*/*"}],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": 0,
        **changes.pop("request", {}),
    }
    response = {
        "status": 200,
        "statusText": "",
        "httpVersion": "h2",
        "headers": [{"name": "content-type", "value": "text/plain"}],
        "cookies": [],
        "content": {"size": 3, "mimeType": "text/plain", "text": "tea"},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        **changes.pop("response", {}),
    }
    return {
        "startedDateTime": "2026-03-01T12:00:00.5Z",
        "time": 40.5,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"blocked": 2.5, "dns": -1, "ssl": 1, "connect": 3, "send": 0.5, "wait": 20, "receive": 14.5},
        **changes,
    }


def har(*entries: dict[str, Any]) -> bytes:
    return json.dumps(
        {"log": {"version": "1.2", "creator": {"name": "X", "version": "1"}, "entries": entries}}
    ).encode()


def only(made: dict[str, Any]) -> tuple[DependencyEvent, list[str]]:
    imported = import_format.read(har(made))
    (event,) = imported.cassette.events
    return event, list(imported.notes)


def data_of(body: BodySnapshot | None) -> bytes:
    assert body is not None
    assert isinstance(body.data, bytes)
    return body.data


def test_it_is_registered_under_its_name() -> None:
    (found,) = entry_points(group="timetracer_otel_importer", name="har")
    assert found.load() is import_format


def test_an_entry_of_a_browser_becomes_a_call_of_any_client() -> None:
    event, notes = only(entry())
    assert (event.signature.lib, event.signature.method, event.signature.url) == (
        "http",
        "GET",
        "https://shop.test/cart",
    )
    assert event.call is not None
    assert header_pairs(event.call.headers) == ((b"accept", b"*/*"),)
    assert data_of(event.result.body) == b"tea"
    assert event.result.reply == {"http_version": b"HTTP/2", "reason_phrase": b"", "head_ms": 26.0}
    assert (event.duration_ms, event.not_replayable, notes) == (40.5, None, [])


def test_calls_stand_in_order_of_start() -> None:
    later = entry(startedDateTime="2026-03-01T13:00:00.750000000+01:00", request={"method": "PUT"})
    imported = import_format.read(har(later, entry()))
    assert [(event.signature.method, event.start_offset_ms) for event in imported.cassette.events] == [
        ("GET", 0.0),
        ("PUT", 250.0),
    ]
    assert imported.cassette.session.recorded_at == "2026-03-01T12:00:00.500000+00:00"
    assert imported.cassette.session.framework == "X 1"


def test_lines_that_a_browser_joined_are_lines_again() -> None:
    event, _ = only(entry(response={"headers": [{"name": "set-cookie", "value": "a=1; Path=/\nb=2"}]}))
    assert header_pairs(event.result.headers) == ((b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2"))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_body_is_encoded_again_as_its_headers_say(encoding: str) -> None:
    headers = [{"name": "Content-Encoding", "value": encoding}, {"name": "Content-Length", "value": "7"}]
    event, notes = only(entry(response={"headers": headers}))
    data = data_of(event.result.body)
    assert data != b"tea"
    assert decode_body(data, event.result.headers).data == b"tea"
    assert (event.result.headers["content-length"], notes) == (str(len(data)), [])


def test_an_encoding_that_nobody_knows_goes_and_is_said() -> None:
    headers = [{"name": "Content-Encoding", "value": "zz"}, {"name": "X", "value": "1"}]
    event, notes = only(entry(response={"headers": headers}))
    assert (data_of(event.result.body), dict(event.result.headers)) == (b"tea", {"x": "1"})
    (note,) = notes
    assert note.endswith("/cart: the header Content-Encoding: zz is left out: no encoder for it is installed")


def test_text_has_the_charset_of_its_headers_again() -> None:
    kind = [{"name": "content-type", "value": "text/plain; charset=iso-8859-1"}]
    event, _ = only(entry(response={"headers": kind, "content": {"size": 4, "mimeType": "", "text": "café"}}))
    assert data_of(event.result.body) == b"caf\xe9"
    packed = {"size": 2, "mimeType": "", "text": base64.b64encode(b"\xff\x00").decode(), "encoding": "base64"}
    event, _ = only(entry(response={"content": packed}))
    assert data_of(event.result.body) == b"\xff\x00"


@pytest.mark.parametrize(
    ("posted", "expected"),
    [
        ({"mimeType": "application/json", "text": '{"a":1}'}, b'{"a":1}'),
        ({"mimeType": "", "text": "/wA=", "_encoding": "base64"}, b"\xff\x00"),
        (
            {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "1&"}]},
            b"a+b=1%26",
        ),
    ],
)
def test_the_body_of_a_request_is_known_by_its_text_or_its_fields(posted: dict[str, Any], expected: bytes) -> None:
    event, notes = only(entry(request={"method": "POST", "postData": posted}))
    assert event.call is not None
    assert (data_of(event.call.body), event.not_replayable, notes) == (expected, None, [])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            entry(response={"status": 0, "_error": "net::ERR_FAILED"}),
            "no answer came (net::ERR_FAILED), and HAR does",
        ),
        (entry(response={"status": 101}), "the connection was upgraded to another protocol, which HAR does not hold"),
        (entry(response={"content": {"size": 99}}), "its answer had a body of 99 bytes, which the HAR does not hold"),
        (entry(request={"bodySize": 5}), "its request had a body of 5 bytes, which the HAR does not hold"),
        (
            entry(request={"postData": {"mimeType": "multipart/form-data", "params": [{"name": "a"}]}}),
            "the HAR holds the fields of its request's body, and not their bytes",
        ),
        (entry(_notReplayable="too long"), "too long"),
    ],
)
def test_what_cannot_answer_a_call_says_why(made: dict[str, Any], reason: str) -> None:
    event, notes = only(made)
    assert event.not_replayable is not None
    assert event.not_replayable.startswith(reason)
    assert notes == [f"log.entries[0] GET https://shop.test/cart cannot be replayed: {event.not_replayable}"]


def test_what_is_no_http_is_left_out_and_said() -> None:
    imported = import_format.read(har(entry(request={"url": "data:text/plain,tea"})))
    assert (imported.cassette.events, imported.notes) == (
        [],
        ("log.entries[0] GET data:text/plain,tea is left out: it is no HTTP",),
    )


@pytest.mark.parametrize("data", [b"", b"[]", b'{"log": []}', b'{"log": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_har_is_recognised_and_refused(data: bytes) -> None:
    assert not import_format.recognises(data)
    with pytest.raises(CassetteError, match="no log with entries"):
        import_format.read(data)


@pytest.mark.parametrize(
    "made", [{}, 7, entry(startedDateTime="soon"), entry(response={"status": "x"}), entry(response={"content": None})]
)
def test_an_entry_that_is_none_is_named(made: Any) -> None:
    assert import_format.recognises(har(made))
    with pytest.raises(CassetteError, match=r"log\.entries\[0\] is none of HAR 1\.2"):
        import_format.read(har(made))
