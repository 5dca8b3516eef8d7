"""Values of cassettes in log records come back exactly, and what is missing in a file of records is said."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.sdk.resources import Resource

from timetracer_otel.cassette import cassette_from_bytes, cassette_to_bytes, pack
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, imported_cassette, utc_text
from timetracer_otel.types import CallSnapshot, Cassette, DependencyEvent, EventResult, EventSignature, HeaderMap
from timetracer_otel_exporter_otlp import export_json_logs, import_format
from timetracer_otel_exporter_otlp._private_names import LogRecord, ReadableLogRecord, encode_logs
from timetracer_otel_exporter_otlp._values import from_message, plain, restored

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
)
KEYS = st.one_of(st.text(max_size=3), st.integers(0, 9), st.just("timetracer.bytes"), st.binary(max_size=2))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def through_otlp(value: Any) -> Any:
    record = ReadableLogRecord(LogRecord(body=plain(value)), Resource({}))
    data = LogsData.FromString(encode_logs([record]).SerializeToString())
    return restored(from_message(data.resource_logs[0].scope_logs[0].log_records[0].body))


@given(value=VALUES)
@settings(max_examples=200, deadline=None)
def test_values_of_msgpack_come_back_through_otlp(value: Any) -> None:
    assert msgpack.packb(through_otlp(value)) == msgpack.packb(value)


DEEP: list[Any] = []
for _ in range(90):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        (1, ("a", b"\xff"), [None]),
        {1, 2},
        frozenset({"a"}),
        Decimal("1.50"),
        Decimal(5),
        datetime(2026, 3, 1, 12, tzinfo=timezone.utc),
        UUID(int=7),
        HeaderMap([(b"A", b"1"), (b"a", b"\xe9"), (b"A", b"2")]),
        "\ud800",
        2**200,
        bytearray(b"x"),
        range(1, 9, 2),
        1 + 2j,
        DEEP,
        {"timetracer.headers": [["a", "b"]]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_of_cassettes_come_back_through_otlp(value: Any) -> None:
    packed = pack(value)
    tree = msgpack.unpackb(packed, ext_hook=msgpack.ExtType, strict_map_key=False)
    assert msgpack.packb(through_otlp(tree)) == packed


def test_what_only_looks_like_one_of_ours_is_refused() -> None:
    for value in (
        {"timetracer.other": 1},
        {"timetracer.headers": 5},
        {"timetracer.bytes": 5},
        {"timetracer.pairs": [[{"a": 1}, 2]]},
        {"timetracer.extension": [400, b""]},
        {"timetracer.msgpack": b"\xc1"},
    ):
        with pytest.raises(ValueError, match=r"."):
            restored(value)


def recorded() -> Cassette:
    calls = [HttpCall("GET", f"http://h/{number}", status=200, body=b"\xff", start_ms=number) for number in range(3)]
    made = imported_cassette(calls, utc_text(), "x")
    rows = DependencyEvent(
        4,
        EventType.DB_QUERY,
        9.0,
        1.0,
        EventSignature("sqlite3", "SELECT", "db"),
        EventResult(reply={"rows": [[1, Decimal("2.5")]]}),
        CallSnapshot(args={"statement": "SELECT 1", "parameters": (1,)}),
    )
    made.events.append(rows)
    made.request.path = "/cart"
    made.stats.total_events = 4
    return cassette_from_bytes(cassette_to_bytes(made), "x")


def records(cassette: Cassette) -> list[dict[str, Any]]:
    (resource,) = json.loads(export_json_logs(cassette))["resourceLogs"]
    return [record for scope in resource["scopeLogs"] for record in scope["logRecords"]]


def as_file(*found: dict[str, Any]) -> bytes:
    """As a Collector writes them: in any order, one in each message."""
    return b"\n".join(
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [each]}]}]}).encode() for each in found
    )


def test_a_recording_comes_back_from_records_in_any_order_and_twice() -> None:
    cassette = recorded()
    found = records(cassette)
    made = import_format.read(as_file(*found[2:], *found))
    assert made.notes == ()
    assert (made.cassette.events, made.cassette.session, made.cassette.complete) == (
        cassette.events,
        cassette.session,
        True,
    )


def test_calls_replay_where_other_records_are_missing() -> None:
    cassette = recorded()
    recording, _, *rest = records(cassette)
    made = import_format.read(as_file(recording, *rest))
    assert made.notes == (f"4 calls were recorded in {cassette.session.id}, and the records of 3 are here",)
    assert made.cassette.events == cassette.events[1:]
    assert made.cassette.request == cassette.request
    made = import_format.read(as_file(*rest))
    assert made.notes == (
        f"the record of the recording {cassette.session.id} is missing: its request and its answer are not known",
    )
    assert (made.cassette.events, made.cassette.complete) == (cassette.events[1:], True)


def test_spans_of_a_recording_that_is_there_whole_make_no_second_one() -> None:
    from timetracer_otel_exporter_otlp import export_json

    cassette = recorded()
    assert import_format.read_all is not None
    (made,) = import_format.read_all(export_json(cassette) + export_json_logs(cassette))
    assert made.cassette.events == cassette.events


@pytest.mark.parametrize("place", ["body", "eid", "format", "footer"])
def test_records_that_were_tampered_with_are_an_error(place: str) -> None:
    recording, call, *rest = records(recorded())
    if place == "body":
        call["body"] = {"stringValue": "x"}
    elif place == "eid":
        call["attributes"] = [each for each in call["attributes"] if each["key"] != "timetracer.event"]
    else:
        number = 0 if place == "format" else 1
        entry = recording["body"]["kvlistValue"]["values"][number]["value"]["kvlistValue"]["values"][0]
        entry["value"] = {"stringValue": "other"}
    with pytest.raises(CassetteError, match=r"Write the file again|no OTLP|imported"):
        import_format.read(as_file(recording, call, *rest))


def test_rows_and_parameters_can_be_read_in_a_backend() -> None:
    text = export_json_logs(recorded()).decode()
    assert '"stringValue":"SELECT 1"' in text
    assert '{"key":"timetracer.bytes","value":{"stringValue":"2.5"}}' in text
