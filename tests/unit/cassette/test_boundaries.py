"""Beginnings and ends of transactions that stand in a file within the event of a statement."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest

from tests.unit.cassette.hostile_files import cassette_file
from timetracer_otel.cassette import CassetteStore, cassette_from_bytes, cassette_to_bytes, open_cassette, reader
from timetracer_otel.cassette.boundaries import boundary_event
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import (
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
    SpanFacts,
)

SPAN = SpanFacts("0a" * 16, "0b" * 8, "0c" * 8, "SELECT", "CLIENT", "UNSET", None, {"db.system": "sqlite"})
OF_THE_APP = replace(SPAN, kind="INTERNAL", name="step")


def transaction(span: SpanFacts | None = SPAN) -> list[DependencyEvent]:
    """BEGIN, SELECT and COMMIT."""
    statement = DependencyEvent(
        2,
        EventType.DB_QUERY,
        2.0,
        1.0,
        EventSignature("sqlalchemy", "SELECT", "sqlite:///shop.db", body_hash="11" * 32),
        EventResult(reply={"rowcount": 1}),
        CallSnapshot(args={"statement": "SELECT 1"}),
        span,
        ("GET /", "step"),
    )
    begin, end = boundary_event(statement, "BEGIN", 1, 1.0, 0.5), boundary_event(statement, "COMMIT", 3, 4.0, 0.25)
    statement.transaction = (begin, end)
    return [begin, statement, end]


def cassette(events: list[DependencyEvent]) -> Cassette:
    return Cassette(
        schema_version="1",
        session=SessionMeta(id="1", recorded_at="2026-01-01T00:00:00Z", service="s", env="e"),
        request=RequestSnapshot(method="", path=""),
        response=ResponseSnapshot(status=0),
        events=events,
        stats=CaptureStats.of(events, 5.0, {}),
    )


def maps_of(data: bytes) -> list[dict[str, Any]]:
    return list(msgpack.Unpacker(io.BytesIO(data), strict_map_key=False))


def methods_in(data: bytes) -> list[str]:
    return [found["signature"]["method"] for found in maps_of(data)[1:-1]]


@pytest.mark.parametrize("span", [SPAN, OF_THE_APP, replace(SPAN, parent_span_id=None), None])
@pytest.mark.parametrize("later", [False, True])
def test_a_transaction_is_read_as_it_was_written_from_the_event_of_its_statement(
    span: SpanFacts | None, later: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = transaction(span)
    data = cassette_to_bytes(cassette(events))
    assert methods_in(data) == ["SELECT"]
    if later:
        monkeypatch.setattr(reader, "DECODED_AT_ONCE", 0)
        (tmp_path / "x.msgpack").write_bytes(data)
        found = open_cassette(tmp_path / "x.msgpack")
        begin = found.events[0]
        assert begin.lacks("span")
        assert found.events[1].lacks("span")
    else:
        found = cassette_from_bytes(data, "x")
    assert found.events == events
    assert found.stats == CaptureStats.of(events, 5.0, {})
    assert cassette_to_bytes(found) == data


def test_a_list_of_cassettes_counts_them(tmp_path: Path) -> None:
    store = CassetteStore(str(tmp_path))
    store.put(cassette(transaction()))
    [row] = store.list()
    assert row.events == 3


def test_what_says_more_than_follows_from_its_statement_stands_by_itself() -> None:
    changes: list[dict[str, Any]] = [
        {"within": [SPAN]},
        {"not_replayable": "because"},
        {"path": ("GET /",)},
        {"span": OF_THE_APP},
        {"result": EventResult(error="refused")},
        {"result": EventResult(reply={"engine": {"number": 1, "facts": {}}})},
        {"pseudonyms": ("sk-proj-1",)},
        {"call": None},
    ]
    for change in changes:
        events = transaction()
        for name, value in change.items():
            setattr(events[2], name, value)
        data = cassette_to_bytes(cassette(events))
        assert methods_in(data) == ["SELECT", "COMMIT"], change
        assert cassette_from_bytes(data, "x").events == events


def test_what_was_taken_out_of_a_cassette_stays_out_and_what_was_left_stays_in() -> None:
    begin, statement, end = transaction()
    data = cassette_to_bytes(cassette([begin, end]))
    assert methods_in(data) == ["BEGIN", "COMMIT"]
    data = cassette_to_bytes(cassette([begin, statement]))
    assert methods_in(data) == ["SELECT"]
    assert [event.signature.method for event in cassette_from_bytes(data, "x").events] == ["BEGIN", "SELECT"]
    copies = [replace(event, eid=event.eid + 10) for event in (begin, statement, end)]
    assert cassette_from_bytes(cassette_to_bytes(cassette(copies)), "x").events == copies


@pytest.mark.parametrize(
    "found",
    [
        [["BEGIN", 1, 0.0, 0.0], ["BEGIN", 2, 0.0, 0.0]],
        [["COMMIT", 1, 0.0, 0.0], ["BEGIN", 2, 0.0, 0.0]],
        [["COMMIT", 1, 0.0, 0.0], ["ROLLBACK", 2, 0.0, 0.0]],
        [["BEGIN", 1, 0.0, 0.0], ["COMMIT", 2, 0.0, 0.0], ["COMMIT", 3, 0.0, 0.0]],
        [["SELECT", 1, 0.0, 0.0]],
        [["BEGIN", 1.0, 0.0, 0.0]],
        [["BEGIN", 1, "0", 0.0]],
        [["BEGIN", 1, 0.0, float("nan")]],
        [["BEGIN", 1, 0.0, 1e300]],
        [["BEGIN", 1, 0.0]],
        [[["BEGIN"], 1, 0.0, 0.0]],
        ["BEGIN"],
        {"BEGIN": 1},
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_what_is_no_beginning_and_end_of_a_transaction_is_refused(
    found: Any, later: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {
        "eid": 1,
        "type": "db.query",
        "start_ms": 0.0,
        "duration_ms": 1.0,
        "signature": {"lib": "x", "method": "SELECT"},
        "result": {},
        "transaction": found,
    }
    (tmp_path / "x.msgpack").write_bytes(cassette_file(event))
    if later:
        monkeypatch.setattr(reader, "DECODED_AT_ONCE", 0)
    with pytest.raises(CassetteError, match="transaction"):
        open_cassette(tmp_path / "x.msgpack").events  # noqa: B018
