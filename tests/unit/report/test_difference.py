"""How an answer differs from the recorded one, as text."""

from __future__ import annotations

import gzip

from timetracer_otel.report import body_difference, header_difference
from timetracer_otel.types import HeaderMap

JSON = HeaderMap([(b"Content-Type", b"application/json")])
TEXT = HeaderMap([(b"content-type", b"text/plain; charset=utf-8")])
BYTES = HeaderMap([(b"content-type", b"application/octet-stream")])


def test_headers_are_compared_by_name_with_their_values_in_order() -> None:
    recorded = HeaderMap(
        [(b"A", b" 1"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Date", b"x"), (b"Gone", b"")]
    )
    now = HeaderMap(
        [(b"date", b"y"), (b"set-cookie", b"b=2"), (b"set-cookie", b"a=1"), (b"a", b"1"), (b"new", b"\x1b")]
    )
    assert header_difference(recorded, now, {"date"}) == [
        "header set-cookie: recorded 'a=1', 'b=2', now 'b=2', 'a=1'",
        "header gone: recorded '', now (none)",
        "header new: recorded (none), now '\\x1b'",
    ]
    assert header_difference(recorded, recorded) == []


def test_json_is_compared_by_content_path_by_path() -> None:
    recorded = b'{"items": [{"id": 1, "price": 2.5}, {"id": 2}], "total": 3, "flag": 1}'
    assert (
        body_difference(recorded, JSON, b'{"total":3,"items":[{"price":2.5,"id":1},{"id":2}],"flag":1}', JSON) == []
    )
    now = b'{"items": [{"id": 1, "price": 3.5}, {"id": 2, "x": null}], "total": 3, "flag": true}'
    assert body_difference(recorded, JSON, now, JSON) == [
        "body $.items[0].price: recorded 2.5, now 3.5",
        "body $.items[1].x: recorded (none), now None",
        "body $.flag: recorded 1, now True",
    ]
    assert body_difference(recorded, JSON, now, JSON, ["$.items[*].price", "$.items[1].x", "$.flag"]) == []


def test_a_type_that_changed_is_a_difference() -> None:
    assert body_difference(b"[1, 2]", JSON, b"[1.0, 2]", JSON) == ["body $[0]: recorded 1, now 1.0"]


def test_encoded_bodies_are_decoded_first() -> None:
    packed = HeaderMap([*JSON.pairs, (b"Content-Encoding", b"gzip")])
    assert (
        body_difference(gzip.compress(b'{"a":1}', mtime=1), packed, gzip.compress(b'{"a": 1}', mtime=2), packed) == []
    )
    assert body_difference(b'{"a":1}', JSON, gzip.compress(b'{"a":2}'), packed) == ["body $.a: recorded 1, now 2"]
    assert body_difference(b"same", TEXT, b"same", HeaderMap([*TEXT.pairs, (b"Content-Encoding", b"gzip")])) == []


def test_text_is_compared_line_by_line() -> None:
    assert body_difference(b"eins\nzwei\ndrei\n", TEXT, "eins\nzw\u00f6i\ndrei\n".encode(), TEXT) == [
        "--- recorded body",
        "+++ body now",
        "@@ -1,3 +1,3 @@",
        " eins",
        "-zwei",
        "+zwöi",
        " drei",
    ]
    assert body_difference(b"a\n", TEXT, b"a\r\n", TEXT) == ["body: recorded 2 B, now 3 B: line ends differ"]
    assert body_difference(b"", TEXT, b"Oh", TEXT)[2:] == ["@@ -0,0 +1 @@", "+Oh"]


def test_json_that_is_none_any_more_is_compared_as_text() -> None:
    lines = body_difference(b'{"a":1}', JSON, b"<html>", HeaderMap([(b"content-type", b"text/html")]))
    assert lines[3:] == ['-{"a":1}', "+<html>"]


def test_other_bodies_are_compared_byte_by_byte() -> None:
    recorded = bytes(range(40))
    assert body_difference(recorded, BYTES, recorded[:20] + b"\xff" + recorded[21:], BYTES) == [
        "body: recorded 40 B, now 40 B; differs from byte 20 on",
        "- 00000010  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................",
        "+ 00000010  10 11 12 13 ff 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................",
    ]
    assert body_difference(recorded, BYTES, recorded[:16], BYTES)[0] == (
        "body: recorded 40 B, now 16 B; differs from byte 16 on"
    )


def test_long_differences_are_cut() -> None:
    before, after = (b"[" + b",".join([b"%d" % (n + shift) for n in range(99)]) + b"]" for shift in (0, 1))
    lines = body_difference(before, JSON, after, JSON)
    assert len(lines) == 41
    assert lines[-1] == "… 59 more lines"
