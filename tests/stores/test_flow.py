"""A spool is shipped, found, read, compacted: in a folder, in memory, and on S3 by two drivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import polars as pl
import pyarrow.dataset
import pytest

from tests.sample_cassettes import checkout
from tests.stores._spool import fill, remote_ids, spooled_ids
from timetracer_otel.base.settings import KeptBounds, kept_bounds
from timetracer_otel.cassette import AppendWriter, CassetteStore, cassette_path, read_cassette
from timetracer_otel.cli import main
from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.storage import objects as objects_module
from timetracer_otel.storage.compacting import compact
from timetracer_otel.storage.finding import Question, rows_of
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.rows import COLUMNS
from timetracer_otel.storage.shipping import ship
from timetracer_otel.storage.spool import Spool


@pytest.fixture(params=["file", "memory", "s3fs", "obstore"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty URL of each kind."""
    if request.param == "file":
        yield f"file://{tmp_path}/remote"
        return
    if request.param == "memory":
        yield f"memory://{tmp_path.name}"
        return
    url: str = request.getfixturevalue("s3")
    if request.param == "obstore":
        monkeypatch.setattr(objects_module, "find_spec", lambda name: None if name == "s3fs" else find_spec(name))
    yield url


def test_what_a_spool_had_is_found_read_and_compacted_elsewhere(place: str, tmp_path: Path) -> None:
    spool, objects = Spool(tmp_path / "spool"), Objects(place)
    ids = fill(spool.folder, 70)
    before = {head.session.id: read_cassette(head.path or "") for head in CassetteStore(spool.folder).heads()}  # type: ignore[union-attr]
    done = ship(spool, objects)
    assert (done.cassettes, done.packs, dict(done.left), done.fault) == (70, 1, {}, None)
    assert done.pack_bytes < done.spool_bytes / 8, "a dictionary is worth it for so many that are alike"
    assert spooled_ids(spool.folder) == []
    assert not [*spool.outbox.iterdir()]

    more = fill(spool.folder, 2)
    assert ship(spool, objects).cassettes == 2
    assert ship(spool, objects).packs == 0
    names = sorted(each.name for each in objects.list())
    assert len(names) == 4
    assert all(name.startswith("service=shop/date=2026-03-01/hour=12/") for name in names)
    assert remote_ids(place, tmp_path / "copies") == Counter([*ids, *more])

    (row,) = rows_of(objects, Question(session=ids[5]), whole=True)
    stored = row.stored(place)
    assert (stored.service, stored.method, stored.request_path, stored.events) == ("shop", "POST", "/checkout", 5)
    assert rows_of(objects, Question(trace=row.trace_id[:9])) == rows_of(objects, Question(id=row.session_id[:11]))
    from timetracer_otel.storage.finding import download, one

    base, rows = one(stored.path)
    copy = read_cassette(download(base, rows, tmp_path / "one")[0][1])
    original = before[ids[5]]
    assert replace(copy, path="") == replace(original, path="")

    compacted = compact(objects, KeptBounds(), settled_s=-60)
    assert (compacted.merged, compacted.made, compacted.left_packs) == (2, 1, 1)
    assert len([*objects.list()]) == 2
    assert remote_ids(place, tmp_path / "compacted") == Counter([*ids, *more])
    # Whoever noted the URL before finds the cassette in its new pack.
    _, moved = one(stored.path)
    assert [each.session_id for each in moved] == [ids[5]]

    recent = fill(spool.folder, 1, recorded_at="2999-01-01T00:00:00+00:00")
    ship(spool, objects)
    gone = compact(objects, kept_bounds("30d"))
    assert (gone.removed, gone.removed_cassettes) == (1, 72)
    assert remote_ids(place, tmp_path / "recent") == Counter(recent)
    assert compact(objects, KeptBounds(size_bytes=10)).removed_cassettes == 1
    assert [*objects.list()] == []


def test_the_index_is_a_table_for_any_engine(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    fill(tmp_path / "spool", 3)
    fill(tmp_path / "spool", 2, service="a/b c")
    assert ship(Spool(tmp_path / "spool"), Objects(url)).packs == 2
    found = duckdb.execute(
        f"SELECT service, route, count(*), sum(calls), sum(http_calls), min(strftime(recorded_at, '%H:%M')) "
        f"FROM read_parquet('{tmp_path}/remote/**/*.parquet', hive_partitioning = false) "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [("a/b c", "/checkout", 2, 10, 8, "12:00"), ("shop", "/checkout", 3, 15, 12, "12:00")]
    assert [
        column[0]
        for column in duckdb.execute(
            f"DESCRIBE SELECT * FROM read_parquet('{tmp_path}/remote/**/*.parquet', hive_partitioning = false)"
        ).fetchall()
    ] == COLUMNS.names
    assert [row.service for row in rows_of(Objects(url), Question(service="a/b c"))] == ["a/b c"] * 2


@pytest.mark.parametrize("engine", ["duckdb", "pyarrow", "pandas", "polars"])
def test_the_folder_is_one_table_with_hive_partitions(engine: str, tmp_path: Path) -> None:
    recorded_at, folder = "2026-03-01T12:00:00+00:00", tmp_path / "remote"
    services = {"shop": 3, "a/b c=ü%": 2, "": 1}
    for service, number in services.items():
        fill(tmp_path / "spool", number, service=service, recorded_at=recorded_at)
    assert ship(Spool(tmp_path / "spool"), Objects(f"file://{folder}")).packs == 3
    assert len([*folder.rglob("*.pack")]) == 3
    found = Counter(_read_by(engine, folder))
    assert found == {(service or "_", "2026-03-01", 12): number for service, number in services.items()}
    for service, number in services.items():
        assert len(rows_of(Objects(f"file://{folder}"), Question(service=service))) == number


def _read_by(engine: str, folder: Path) -> list[tuple[str, str, int]]:
    """The partition of each row."""
    names, files = ["service", "date", "hour"], f"{folder}/**/*.parquet"
    found: list[Any]
    if engine == "duckdb":
        query = f"SELECT {', '.join(names)} FROM read_parquet('{files}', hive_partitioning = true)"
        found = duckdb.execute(query).fetchall()
    elif engine == "pyarrow":
        rows = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(columns=names).to_pylist()
        found = [tuple(row.values()) for row in rows]
    elif engine == "pandas":
        found = (
            pd.read_parquet(folder, partitioning=pyarrow.dataset.partitioning(flavor="hive"))[names]
            .to_numpy()
            .tolist()
        )
    else:
        found = pl.scan_parquet(files, hive_partitioning=True).select(names).collect().rows()
    return [(service, str(date), int(hour)) for service, date, hour in found]


def test_what_is_being_written_or_cannot_be_read_stays(tmp_path: Path) -> None:
    spool, objects = Spool(tmp_path / "spool"), Objects(f"file://{tmp_path}/remote")
    fill(spool.folder, 1)
    (broken,) = spool.folder.rglob("*.msgpack")
    broken.write_bytes(b"\xff" + broken.read_bytes()[1:])
    growing = AppendWriter(cassette_path(checkout(), str(spool.folder)), checkout())
    growing.append(checkout().events[0])
    os.utime(growing.path, (0, 0))
    ids = fill(spool.folder, 1)
    done = ship(spool, objects)
    assert (done.cassettes, dict(done.left)) == (1, {"cannot be read": 1})
    assert broken.is_file()
    assert Path(growing.path).is_file()
    assert [row.session_id for row in rows_of(objects, Question())] == ids
    # Its process was killed: nobody holds the lock.
    growing.close()
    os.utime(growing.path, (0, 0))
    assert ship(spool, objects).cassettes == 1
    assert [row.complete for row in rows_of(objects, Question())].count(False) == 1


def test_two_shippers_do_not_ship_one_spool(tmp_path: Path) -> None:
    spool, url = Spool(tmp_path / "spool"), f"file://{tmp_path}/remote"
    fill(spool.folder, 1)
    with Spool(spool.folder).locked() as is_ours:
        assert is_ours
        assert ship(spool, Objects(url)).busy
        assert main(["ship", str(spool.folder), url]) == 2
    assert ship(spool, Objects(url)).cassettes == 1


def test_a_file_that_changes_meanwhile_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, objects = Spool(tmp_path / "spool"), Objects(f"file://{tmp_path}/remote")
    fill(spool.folder, 2)
    changed, _ = spool.folder.rglob("*.msgpack")
    put = Objects.put

    def put_slowly(self: Objects, file: Path, name: str) -> None:
        put(self, file, name)
        os.utime(changed)

    monkeypatch.setattr(Objects, "put", put_slowly)
    assert ship(spool, objects).cassettes == 1
    assert [*spool.folder.rglob("*.msgpack")] == [changed]


def test_packs_have_the_size_that_is_asked_for(tmp_path: Path) -> None:
    spool, objects = Spool(tmp_path / "spool"), Objects(f"file://{tmp_path}/remote")
    ids = fill(spool.folder, 9)
    assert ship(spool, objects, pack_bytes=4000).packs > 2
    assert remote_ids(objects.url, tmp_path / "copies") == Counter(ids)


def test_a_damaged_pack_is_an_error_that_names_it(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/remote"
    fill(tmp_path / "spool", 1)
    ship(Spool(tmp_path / "spool"), Objects(url))
    (pack,) = (tmp_path / "remote").rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    with pytest.raises(CassetteError, match=r"\.pack#"):
        remote_ids(url, tmp_path / "copies")


def test_without_its_extra_the_line_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from timetracer_otel import storage

    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "timetracer-otel\[store\]"'):
        Objects("file:///x")


def test_a_scheme_without_a_driver_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.joinpath("spool").mkdir()
    assert main(["ship", str(tmp_path / "spool"), "nothing://x/y"]) == 2
    assert "nothing://x/y: Protocol not known: nothing" in capsys.readouterr().err


def test_the_commands_take_urls(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    ids = fill(spool, 2)
    ids += fill(spool, 1, service="till", recorded_at="2026-03-02T09:00:00+00:00")
    assert main(["ship", str(spool), s3, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cassettes"] == 3

    def json_of(*words: str) -> list[dict[str, object]]:
        main([*words, "--json"])
        found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    assert {row["session_id"] for row in json_of("list", "--dir", s3)} == {*ids}
    assert [row["session_id"] for row in json_of("find", s3, "--service", "till", "--since", "2026-03-02")] == ids[2:]
    assert json_of("find", s3, "--until", "2026-02-01") == []
    (row,) = json_of("find", s3, "--route", "POST /check*", "--service", "till")
    monkeypatch.setenv("TIMETRACER_DIR", s3)
    for named in (["show", str(row["path"])], ["show", ids[2]], ["show", f"{s3}#{ids[2][:8]}"]):
        assert main(named) == 0
        assert "till" in capsys.readouterr().out
    trace = str(row["trace_id"])
    assert main(["show", trace]) == 0
    capsys.readouterr()
    assert main(["diff", ids[0], ids[1]]) == 0
    capsys.readouterr()
    assert main(["stats", s3]) == 0
    assert "/checkout" in capsys.readouterr().out
    assert main(["show", "00000000-0000"]) == 2
    assert f"no cassette in {s3}" in capsys.readouterr().err
    assert main(["prune", s3, "--keep", "1d"]) == 2
    assert "compact" in capsys.readouterr().err
    assert main(["compact", s3, "--older-than", "30d"]) == 0
    assert "removed 2 with 3 cassettes" in capsys.readouterr().out


def test_a_recording_process_imports_no_driver(tmp_path: Path) -> None:
    from tests.children import environment

    program = (
        "import sys, timetracer_otel, timetracer_otel.process.runtime as r\n"
        "r.runtime().start_recording()\n"
        "r.runtime().stop()\n"
        "print(sorted({'fsspec', 'pyarrow', 'duckdb', 'obstore', 's3fs'} & {*sys.modules}))"
    )
    env = environment(TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path / "c"), TIMETRACER_SHIP="memory://x")
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
