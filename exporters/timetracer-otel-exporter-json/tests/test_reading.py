"""Files of timetracer: what becomes an event, and what is said of the rest. Those that it made are in tests/cli."""

from __future__ import annotations

import gzip
import json
from importlib.metadata import entry_points
from typing import Any

import pytest

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent
from timetracer_otel_exporter_json import export_json, import_format
from timetracer_otel_exporter_json._bodies import digest

TEXT_OF_PHP = '{"url":"http:\\/\\/h","n":[1,2]}'
TEXT_OF_GO = '{"text":"\\u003cb\\u003e","n":1}\n'


def event(**changes: Any) -> dict[str, Any]:
    """An HTTP call, as timetracer notes it."""
    result = {"status": 200, "headers": {"Content-Type": "application/json", "Content-Length": "9"}}
    return {
        "eid": 1,
        "type": "http.client",
        "start_offset_ms": 1.5,
        "duration_ms": 20.0,
        "signature": {"lib": "requests", "method": "GET", "url": "http://h/a", **changes.pop("signature", {})},
        "result": {**result, **changes.pop("result", {})},
        **changes,
    }


def body(text: str, **changes: Any) -> dict[str, Any]:
    """A body of JSON, as timetracer notes it."""
    data = text.encode()
    made = {"_captured": True, "encoding": "json", "data": json.loads(text), "size_bytes": len(data)}
    return {**made, "hash": digest(data), **changes}


def file(*events: dict[str, Any], **changes: Any) -> bytes:
    session = {"id": "f0b2e26e-bdc7-4ed0-8429-d8cab17769a6", "recorded_at": "2026-03-01T12:00:00+00:00"}
    content = {
        "schema_version": "1.0",
        "session": session,
        "request": {"method": "GET", "path": "/"},
        "response": {"status": 200, "duration_ms": 30.0},
        "events": events,
        **changes,
    }
    return json.dumps(content).encode()


def read(*events: dict[str, Any], **changes: Any) -> tuple[Cassette, tuple[str, ...]]:
    imported = import_format.read(file(*events, **changes))
    return imported.cassette, imported.notes


def only(made: dict[str, Any]) -> tuple[DependencyEvent, tuple[str, ...]]:
    cassette, notes = read(made)
    (found,) = cassette.events
    return found, notes


def body_of(event: DependencyEvent) -> BodySnapshot:
    assert event.result.body is not None
    return event.result.body


def test_the_formats_are_registered_under_their_name() -> None:
    (exporter,) = entry_points(group="timetracer_otel_exporter", name="json")
    assert exporter.load() is export_json
    (importer,) = entry_points(group="timetracer_otel_importer", name="json")
    assert importer.load() is import_format


@pytest.mark.parametrize("text", ['{"a": "\\u00e9"}', '{"a":"é"}', '{\n  "a": 1\n}', TEXT_OF_PHP, TEXT_OF_GO, "null"])
def test_json_is_written_in_the_form_that_it_came_in(text: str) -> None:
    found, notes = only(event(result={"body": body(text)}))
    assert (body_of(found).data, notes, found.not_replayable) == (text.encode(), (), None)
    assert found.result.headers["content-length"] == str(len(text.encode()))


def test_json_of_another_form_is_written_anew_and_that_is_said() -> None:
    found, notes = only(event(result={"body": body('{ "a" :1.50 }')}))
    assert (body_of(found).data, found.not_replayable) == (b'{"a": 1.5}', None)
    assert found.result.headers["content-length"] == "10"
    assert notes == (
        "#1 GET http://h/a: the JSON of its answer is written anew: its spacing, or its escapes, were not kept",
    )


def test_the_query_and_the_address_are_those_that_went_out() -> None:
    query = {"b": ["2", 1], "a": 7, "gone": None}
    found, _ = only(event(signature={"url": "http://h/a b/%20", "query": query}))
    assert found.signature.url == "http://h/a%20b/%20"
    assert found.signature.query == {"a": "7", "b": ["1", "2"]}


def test_events_stand_in_the_order_in_which_they_began() -> None:
    late, early = event(start_offset_ms=9.0), event(start_offset_ms=2.0, signature={"url": "http://h/b"})
    cassette, _ = read(late, early)
    assert [(each.eid, each.signature.url) for each in cassette.events] == [(1, "http://h/b"), (2, "http://h/a")]
    assert cassette.session.recorded_at == "2026-03-01T12:00:00+00:00"
    assert cassette.stats.total_events == 2


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (event(result={"body": {"_captured": False, "size_bytes": 3}}), "the body of its answer was not kept"),
        (event(result={"body": body("[1]", truncated=True)}), "the body of its answer was cut"),
        (event(signature={"url": "/a"}), "timetracer kept no whole address of it"),
        (event(signature={"method": "PATCH"}), "timetracer does not note of each request whether it had a body"),
        (event(result={"status": None}), "timetracer kept no answer"),
        (event(type="custom", signature={"lib": "mine"}), "timetracer keeps no value of a plugin's own"),
    ],
)
def test_what_is_lost_is_said(made: dict[str, Any], why: str) -> None:
    found, notes = only(made)
    assert found.not_replayable == why
    assert [note.partition(" cannot be replayed: ")[2] for note in notes] == [why]


@pytest.mark.parametrize(
    ("changes", "is_empty"),
    [
        ({"headers": {"content-length": "0"}}, True),
        ({"status": 204, "headers": {}}, True),
        ({"headers": {"content-length": "9"}}, False),
        ({"headers": {}}, False),
    ],
)
def test_an_empty_answer_is_told_from_a_stream_of_httpx(changes: dict[str, Any], is_empty: bool) -> None:
    found, _ = only(event(signature={"lib": "httpx"}, result=changes))
    assert (found.not_replayable is None) is is_empty


def test_a_redacted_request_is_not_taken_for_the_one_that_came() -> None:
    redacted = body('{"pin": 1234}', data={"pin": "[REDACTED]"})
    cassette, _ = read(request={"method": "POST", "path": "/pay", "body": redacted})
    kept = cassette.request.body
    assert kept is not None
    assert (kept.captured, kept.data, kept.size_bytes) == (False, None, 13)


def test_gzip_is_read_and_recognised() -> None:
    data = gzip.compress(file(event()))
    assert import_format.recognises(data)
    assert len(import_format.read(data).cassette.events) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no cassette of timetracer"),
        (b"[]", "it is no object of JSON"),
        (b'{"interactions": []}', "it has no schema_version"),
        (b"[" * 100_000, "it is nested too deeply"),
        (gzip.compress(b"\0" * 50_000_000), "it could not be decoded from gzip"),
        (b"\x1f\x8b\x08", "no cassette of timetracer"),
    ],
)
def test_a_file_that_is_none_is_neither_recognised_nor_read(data: bytes, text: str) -> None:
    assert not import_format.recognises(data)
    with pytest.raises(CassetteError, match=text):
        import_format.read(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (file(schema_version="2.0"), "of schema '2.0', and only 0.1 and 1.0 are read"),
        (file({"eid": 1}), "KeyError: 'start_offset_ms'"),
        (file(event(duration_ms=-1)), "-1 is no number of milliseconds"),
        (file(event(type="smoke")), "'smoke' is not a valid EventType"),
        (file(session={"id": "x", "recorded_at": "then"}), "Invalid isoformat string"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(data: bytes, text: str) -> None:
    assert import_format.recognises(data)
    with pytest.raises(CassetteError, match=text):
        import_format.read(data)
