"""Tables of a folder say what ``stats`` and ``list`` say of it. The queries are of docs/cassettes-as-tables.md."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import polars as pl
import pytest
import redis

from tests.children import ROOT
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main

PAGE = (ROOT / "docs" / "cassettes-as-tables.md").read_text("utf-8")
VIEWS, *_ = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
QUERIES: dict[str, str] = dict(
    re.findall(r"^## ([^\n]*)\n(?:(?!^##|^```).)*^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)
TABLES = "recordings.parquet"


class Folder(NamedTuple):
    """What the commands say of the folder."""

    stats: dict[str, Any]
    listed: list[dict[str, Any]]
    redis_port: int


@pytest.fixture(scope="module")
def folder(recorded_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A recorded service with an upstream and a database, and a recording of what was asked of a cache."""
    place = tmp_path_factory.mktemp("tables")
    shutil.copytree(recorded_shop / "cassettes", place / "cassettes")
    with RedisServer(place) as server, redis.Redis(port=server.port) as cache:
        cache.set("a", 1)
        with record(str(place / "cassettes" / "cache.msgpack")):
            assert (cache.get("a"), cache.get("b"), cache.mget("a", "b", "c")) == (b"1", None, [b"1", None, None])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert said("convert", "cassettes", TABLES) == "recordings.parquet: 6 recordings of cassettes\n"
        yield Folder(
            json.loads(said("stats", "cassettes", "--json")),
            json.loads(said("list", "cassettes", "--json")),
            server.port,
        )


def said(*arguments: str) -> str:
    with redirect_stdout(io.StringIO()) as output:
        assert main([*arguments]) == 0
    return output.getvalue()


def asked(question: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        connection.execute(VIEWS)
        answer = connection.execute(QUERIES[question])
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def test_the_page_has_five_questions_and_a_way_back() -> None:
    assert list(QUERIES) == [
        "Which routes are slow, and how much of that is waiting?",
        "Whom are requests waiting for?",
        "Which requests make one statement again and again?",
        "Which calls failed in requests that failed?",
        "How often is the cache asked in vain?",
        "The recordings that a query finds",
    ]


def test_routes_have_the_numbers_of_stats(folder: Folder) -> None:
    found = asked("Which routes are slow, and how much of that is waiting?")
    expected = {
        (each["method"] or None, each["route"] or None): (
            each["recordings"],
            each["failed"],
            each["calls"],
            each["median_ms"] or None,
            each["p95_ms"] or None,
            each["slowest_ms"] or None,
        )
        for each in folder.stats["routes"]
    }
    assert len(expected) == 4
    assert {
        (each["method"], each["route"]): tuple(
            each[name] for name in ("recordings", "failed", "calls", "median_ms", "p95_ms", "slowest_ms")
        )
        for each in found
    } == expected
    assert all(each["waiting"] > 0 for each in found if each["route"])


def test_upstreams_have_the_numbers_of_stats(folder: Folder) -> None:
    found = asked("Whom are requests waiting for?")
    expected = {
        (each["library"], each["address"]): (
            each["calls"],
            each["failed"],
            each["p95_ms"],
            pytest.approx(each["total_ms"]),
            each["received_bytes"],
        )
        for each in folder.stats["upstreams"]
    }
    assert len(expected) == 3
    assert {
        (each["library"], each["upstream"]): (
            *(each[name] for name in ("calls", "failed", "p95_ms", "total_ms")),
            each["received_bytes"] or 0,
        )
        for each in found
    } == expected
    assert [each["library"] for each in found] == [each["library"] for each in folder.stats["upstreams"]]


def test_a_statement_in_a_loop_is_found(folder: Folder) -> None:
    (found,) = asked("Which requests make one statement again and again?")
    (loop,) = [row for row in folder.listed if row["kinds"] == {"db.query": 3}]
    assert (found["method"], found["route"]) == (loop["method"], loop["request_path"]) == ("GET", "/orders")
    assert (found["statement"], found["times"], found["requests"]) == ("SELECT item FROM orders WHERE id = ?", 3, 1)
    assert 0 < found["took_ms"] < loop["duration_ms"]


def test_a_failed_request_is_told_with_the_call_that_failed(folder: Folder) -> None:
    (found,) = asked("Which calls failed in requests that failed?")
    (failed,) = [row for row in folder.listed if row["failed"]]
    assert (found["method"], found["route"]) == (failed["method"], failed["request_path"])
    assert (found["raised"], found["library"], found["how"], found["times"]) == (
        "httpx.HTTPStatusError",
        "httpx",
        "500",
        1,
    )
    assert found["last_file"] == failed["path"]
    assert found["last_at"].isoformat() == failed["recorded_at"]


def test_hits_and_misses_are_those_of_the_cache(folder: Folder) -> None:
    assert asked("How often is the cache asked in vain?") == [
        {"method": None, "route": None, "hits": 2, "misses": 3, "hit_share": 0.4}
    ]
    assert sum(row["kinds"].get("redis", 0) for row in folder.listed) == 3


def test_each_recording_is_a_row_as_list_has_it(folder: Folder) -> None:
    made = pl.read_parquet(f"{TABLES}/requests.parquet")
    assert made.schema["recorded_at"] == pl.Datetime("us", "UTC")
    rows = {row["file"]: row for row in made.iter_rows(named=True)}
    assert len(rows) == len(folder.listed) == 6
    for row in folder.listed:
        found = rows[row["path"]]
        assert found["recorded_at"].isoformat() == row["recorded_at"]
        for name in ("session_id", "trace_id", "service", "method", "duration_ms", "status"):
            assert found[name] == (row[name] or None)
        assert (found["route"] or "", found["calls"], found["failed"]) == (
            row["request_path"],
            row["events"],
            row["failed"],
        )
        assert (found["file_bytes"], found["complete"]) == (row["size_bytes"], row["complete"])
        counted = {
            "http.client": "http_calls",
            "db.query": "db_calls",
            "redis": "redis_calls",
            "custom": "other_calls",
        }
        kinds = {kind: found[name] for kind, name in counted.items() if found[name]}
        assert sum(kinds.values()) == row["events"]
        # The recording of a process has no numbers in its file.
        assert row["kinds"] in (kinds, {})


def test_each_call_is_a_row_as_its_cassette_has_it(folder: Folder) -> None:
    made = pd.read_parquet(f"{TABLES}/calls.parquet")
    assert str(made["started_at"].dtype).endswith(", UTC]")
    for file, rows in made.groupby("file"):
        cassette = read_cassette(str(file))
        assert len(rows) == len(cassette.events)
        began = pd.Timestamp(cassette.session.recorded_at)
        for event, (_, row) in zip(cassette.events, rows.iterrows(), strict=True):
            assert (row["call"], row["kind"], row["library"]) == (
                event.eid,
                event.event_type.value,
                event.signature.lib,
            )
            assert abs((row["started_at"] - began).total_seconds() * 1000 - event.start_offset_ms) < 0.01
            assert row["duration_ms"] == event.duration_ms
            assert (row["span_id"] if event.span else None) == (event.span.span_id if event.span else None)
            assert row["replayable"]
    counted = {(library, len(rows)) for library, rows in made.groupby("library")}
    assert counted == {(each["library"], each["calls"]) for each in folder.stats["upstreams"]}


def test_the_cassettes_come_back_equal_and_replay(folder: Folder) -> None:
    told = said("convert", TABLES, "again/")
    assert told.startswith("again/: 6 cassettes of recordings.parquet/cassettes.parquet, with ")
    before, after = (
        {(found := read_cassette(path)).session.id: found for path in Path(place).rglob("*.msgpack")}
        for place in ("cassettes", "again")
    )
    assert len(before) == 6
    assert {name: replace(each, path="") for name, each in before.items()} == {
        name: replace(each, path="") for name, each in after.items()
    }
    (of_cache,) = (each.path for each in after.values() if any(e.signature.lib == "redis" for e in each.events))
    # Its server has ended.
    with replay(str(of_cache)) as session, redis.Redis(port=folder.redis_port) as cache:
        assert (cache.get("a"), cache.get("b"), cache.mget("a", "b", "c")) == (b"1", None, [b"1", None, None])
    assert session.verdict().ok


def test_what_a_query_chose_becomes_cassettes(folder: Folder) -> None:
    duckdb.execute(VIEWS)
    duckdb.execute(QUERIES["The recordings that a query finds"])
    assert said("convert", "chosen.parquet", "chosen/").startswith("chosen/: ")
    wanted = {row["session_id"] for row in folder.listed if not row["failed"]}
    assert {read_cassette(path).session.id for path in Path("chosen").rglob("*.msgpack")} == wanted
    assert 0 < len(wanted) < 6


@pytest.mark.parametrize("name", ["requests", "calls"])
def test_an_extract_is_no_recording(name: str, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", f"{TABLES}/{name}.parquet", "nothing/"]) == 2
    assert "The table has no column 'cassette'" in capsys.readouterr().err


def test_what_cannot_be_read_is_told_and_the_rest_is_written(
    recorded_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recorded_shop / "cassettes", "cassettes")
    Path("cassettes/broken.msgpack").write_bytes(b"nonsense")
    Path("tables.parquet").mkdir()
    Path("tables.parquet/README").write_text("mine")
    assert main(["convert", "cassettes", "tables.parquet"]) == 1
    told = capsys.readouterr()
    assert "broken.msgpack" in told.err
    assert told.out == "tables.parquet: 5 recordings of cassettes\n"
    assert sorted(each.name for each in Path("tables.parquet").iterdir()) == [
        "README",
        "calls.parquet",
        "cassettes.parquet",
        "requests.parquet",
    ]
    assert sorted(each.name for each in Path().iterdir()) == ["cassettes", "tables.parquet"]
    (one, *_) = Path("cassettes").rglob("GET_orders_*.msgpack")
    assert main(["convert", str(one), "one", "--to", "parquet"]) == 0
    assert pl.read_parquet("one/requests.parquet")["route"].to_list() == ["/orders"]
    assert main(["convert", str(one), "one/requests.parquet", "--to", "parquet"]) == 2
    assert "B: one/requests.parquet is a file. Name a folder." in capsys.readouterr().err
    assert main(["export", "--to", "parquet", str(one)]) == 2
    assert "timetracer-otel convert" in capsys.readouterr().err
