"""What stands in the tables, and that they are written while recordings are read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]
import pytest

from timetracer_otel.cassette.stores.files import stored_cassette
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, Recording, imported_cassette
from timetracer_otel.types import CallSnapshot, DependencyEvent, EventResult, EventSignature
from timetracer_otel_exporter_parquet import _writing, export_parquet, import_format

AT = "2026-03-01T12:00:00.250000+00:00"


def recording(*events: DependencyEvent, recorded_at: str = AT, **changes: Any) -> Recording:
    cassette = imported_cassette((), recorded_at, "x")
    cassette.events.extend(events)
    for name, value in changes.items():
        setattr(cassette, name, value)
    return Recording(stored_cassette(cassette, len(events), "a.msgpack", 100), cassette)


def tables(folder: Path, *recordings: Recording) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    assert export_parquet.write(recordings, folder) == ()
    requests, calls = (pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("requests", "calls"))
    return requests, calls


def call(kind: EventType, lib: str, method: str, args: Any, reply: Any) -> DependencyEvent:
    return DependencyEvent(
        1, kind, 5.0, 2.0, EventSignature(lib, method, "x"), EventResult(reply=reply), CallSnapshot(args=args)
    )


def test_it_is_registered_under_its_name() -> None:
    for way, loaded in (("exporter", export_parquet), ("importer", import_format)):
        (found,) = entry_points(group=f"timetracer_otel_{way}", name="parquet")
        assert found.load() is loaded


def test_a_call_by_http_has_its_sizes_and_its_time(tmp_path: Path) -> None:
    made = HttpCall(
        "POST", "http://h/a?b=1", status=503, request_body=b"ab", body=b"abc", start_ms=1.5, duration_ms=3
    )
    (request,), (found,) = tables(tmp_path, recording(made.event(1)))
    assert found["started_at"] == datetime(2026, 3, 1, 12, 0, 0, 251500, tzinfo=timezone.utc)
    assert (found["upstream"], found["url"], found["status"], found["failed"]) == (
        "http://h",
        "http://h/a",
        503,
        True,
    )
    assert (found["sent_bytes"], found["received_bytes"], found["rows"], found["hits"]) == (2, 3, None, None)
    assert (request["sent_bytes"], request["received_bytes"], request["failed_calls"]) == (2, 3, 1)
    assert (request["waited_ms"], request["hits"], request["method"], request["duration_ms"]) == (
        3.0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("method", "replies", "expected"),
    [
        ("GET", [None], (0, 1)),
        ("GET", [b"1"], (1, 0)),
        ("MGET", [[b"1", None, b"2"]], (2, 1)),
        ("SET", [None], (None, None)),
        ("GET", [None, None], (None, None)),
        ("GET", "broken", (None, None)),
    ],
)
def test_hits_are_values_that_were_there(
    method: str, replies: Any, expected: tuple[int | None, int | None], tmp_path: Path
) -> None:
    (request,), (found,) = tables(
        tmp_path, recording(call(EventType.REDIS, "redis", method, [], {"replies": replies}))
    )
    assert (found["hits"], found["misses"]) == (request["hits"], request["misses"]) == expected


def test_a_statement_has_its_rows(tmp_path: Path) -> None:
    reply = {"rows": [[1], [2]], "sets_up": True}
    _, (found,) = tables(
        tmp_path, recording(call(EventType.DB_QUERY, "sqlite3", "SELECT", {"statement": "SELECT 1"}, reply))
    )
    assert (found["statement"], found["rows"], found["sets_up"]) == ("SELECT 1", 2, True)


@pytest.mark.parametrize("recorded_at", ["", "yesterday", "9999-12-31T23:59:59+00:00", "2026-03-01T12:00:00Z"])
def test_what_a_stranger_wrote_becomes_a_row(recorded_at: str, tmp_path: Path) -> None:
    odd = call(EventType.DB_QUERY, "\ud800", "m", {"statement": 5}, {"rows": 7})
    odd.start_offset_ms, odd.result.status, odd.signature.url = 1e14, 2**70, "http://["
    (request,), (found,) = tables(tmp_path, recording(odd, recorded_at=recorded_at, error_info={"message": "m"}))
    assert (found["library"], found["status"], found["statement"], found["rows"]) == ("\\ud800", None, None, None)
    assert (found["upstream"], request["error_type"], request["failed"]) == ("http://[", None, True)
    assert request["recorded_at"] == {
        "9999-12-31T23:59:59+00:00": datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        "2026-03-01T12:00:00Z": datetime(2026, 3, 1, 12, tzinfo=timezone.utc),
    }.get(recorded_at)


def test_a_folder_without_recordings_becomes_tables_without_rows(tmp_path: Path) -> None:
    assert tables(tmp_path) == ([], [])


def test_rows_are_written_while_recordings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writing, "ROWS", 500)
    monkeypatch.setattr(_writing, "BATCH", 70)
    sizes = []

    def recordings() -> Iterator[Recording]:
        for _ in range(20):
            yield recording(*(HttpCall("GET", "http://h/a", status=200).event(eid) for eid in range(1, 101)))
            sizes.append((tmp_path / "calls.parquet").stat().st_size)

    export_parquet.write(recordings(), tmp_path)
    assert 0 <= sizes[3] < sizes[5] < sizes[10] < sizes[-1]
    calls = pq.ParquetFile(tmp_path / "calls.parquet")
    assert [calls.metadata.row_group(number).num_rows for number in range(calls.num_row_groups)] == [500] * 4
    assert pq.ParquetFile(tmp_path / "requests.parquet").metadata.num_rows == 20


def test_long_texts_are_written_before_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writing, "CHARACTERS", 1000)
    made = call(EventType.DB_QUERY, "sqlite3", "SELECT", {"statement": "x" * 600}, {})
    export_parquet.write([recording(made, made, made, made)], tmp_path)
    assert pq.ParquetFile(tmp_path / "calls.parquet").num_row_groups == 2


def test_an_error_in_reading_goes_on(tmp_path: Path) -> None:
    def recordings() -> Iterator[Recording]:
        yield recording(HttpCall("GET", "http://h/a", status=200).event(1))
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        export_parquet.write(recordings(), tmp_path)


def test_recordings_come_back(tmp_path: Path) -> None:
    kept = recording(HttpCall("GET", "http://h/a", status=200, body=b"\x00\xff").event(1))
    tables(tmp_path, kept)
    data = (tmp_path / "cassettes.parquet").read_bytes()
    assert import_format.recognises(data)
    found = import_format.read(data)
    assert (found.cassette, found.notes) == (kept.cassette, ())


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([b"nonsense"]), "row 1"),
        (pa.array(["text"]), "holds no bytes"),
        (pa.array([None], pa.binary()), "no recording"),
    ],
)
def test_what_is_no_cassette_says_so(column: Any, why: str) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"cassette": column}), sink)
    with pytest.raises(CassetteError, match=why):
        import_format.read(sink.getvalue().to_pybytes())


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    tables(tmp_path, recording(), recording())
    data = (tmp_path / "cassettes.parquet").read_bytes()
    with pytest.raises(CassetteError, match="several recordings"):
        import_format.read(data)
    with pytest.raises(CassetteError, match="Export it again"):
        import_format.read(data[:4] + bytes(len(data) - 8) + data[-4:])
