"""Recordings of a fleet, in object storage alone: verified, reproduced and replayed by their URL."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tests import forks
from tests.loopback import Loopback
from tests.servers._ports import free_port
from tests.servers._process import ServerProcess
from tests.stores._gate import Gate
from tests.stores._spool import BUCKET, aws_environment, make_bucket
from tests.verify._services import ROOT, SCRIPT, Request, environment, record
from timetracer_otel.cassette import CassetteStore, StoredCassette
from timetracer_otel.exceptions import CassetteNotFoundError
from timetracer_otel.storage import finding
from timetracer_otel.verification import verify_one

URL = f"s3://{BUCKET}/fleet"
REQUESTS = [Request("GET", "/orders/7"), Request("GET", "/empty"), Request("GET", "/orders/8")]


@dataclass
class Shipped:
    """A recorded service whose cassettes are in object storage alone. What it called is gone but for its database."""

    folder: Path
    command: list[str]
    rows: list[StoredCassette]
    variables: dict[str, str]
    gate: Gate

    @property
    def orders(self) -> StoredCassette:
        """The first recording that has calls."""
        return next(row for row in self.rows if row.events)

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """``timetracer-otel ARGUMENTS``."""
        return forks.run(
            *(SCRIPT, *arguments),
            env=environment(self.command, HOME=str(self.folder / "home"), **{**self.variables, **changes}),
            cwd=ROOT,
            loaded="tool",
        )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    folder = tmp_path_factory.mktemp("fleet")
    spool, database, port = folder / "spool", folder / "orders.db", free_port()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO orders (name) VALUES (?)", [("tea",), ("cake",), ("jam",)])
    connection.close()
    with Loopback() as upstream:
        module = ["-m", "tests.verify._counting", str(port), upstream.url, str(database)]
        record([*forks.python(turn=0), *module], port, REQUESTS, spool)
    rows = [each for each in CassetteStore(spool).list() if each.method]
    server = ServerProcess("tests.servers.moto_server")
    try:
        make_bucket(server)
        with Gate(server.port("aws"), lambda *_: "") as gate:
            made = Shipped(folder, [*forks.python(turn=1), *module], rows, aws_environment(gate.port), gate)
            done = made.run("ship", str(spool), URL)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert CassetteStore(spool).list() == []
            shutil.rmtree(spool)
            yield made
    finally:
        server.close()


def test_a_service_is_verified_by_what_object_storage_has(shipped: Shipped) -> None:
    done = shipped.run("verify", URL, "--", *shipped.command)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "3 passed" in done.stdout


def test_what_a_changed_service_calls_is_compared_with_what_object_storage_has(shipped: Shipped) -> None:
    done = shipped.run("verify", URL, "--only", "GET /orders*", "--against", "--", *shipped.command, CHANGE="twice")
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert "/items" in done.stdout


def test_shards_of_object_storage_are_together_the_whole(shipped: Shipped, tmp_path: Path) -> None:
    seen: list[str] = []
    for shard in ("1/2", "2/2"):
        report = tmp_path / f"{shard[0]}.json"
        done = shipped.run("verify", URL, "--shard", shard, "--json", str(report), "--", *shipped.command)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        seen += [each["request"] for each in json.loads(report.read_text())["requests"]]
    assert sorted(seen) == ["GET /empty", "GET /orders/7", "GET /orders/8"]


@pytest.mark.parametrize("how", ["url", "id", "trace"])
def test_one_recording_is_reproduced_by_one_read_of_its_pack(how: str, shipped: Shipped) -> None:
    row = shipped.orders
    named = {"url": f"{URL}#{row.session_id}", "id": row.session_id[:13], "trace": row.trace_id}[how]
    before = len(shipped.gate.seen)
    done = shipped.run("reproduce", named, "--", *shipped.command, TIMETRACER_DIR=URL)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "equal     it is answered as it was recorded\n" in done.stdout
    reads = [path for method, path, _ in shipped.gate.seen[before:] if method == "GET" and ".pack" in path]
    assert len(reads) == 1


PROGRAM = """
import sqlite3, sys
import httpx

upstream, database = sys.argv[1:]
print(httpx.get(f"{upstream}/users/7").json()["name"])
print(sqlite3.connect(database).execute("SELECT name FROM orders WHERE id IN (1, 2, 3)").fetchall())
"""


def test_a_program_replays_a_recording_of_object_storage(shipped: Shipped, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    _, database = shipped.command[-2:]
    # Its database is elsewhere, and has nothing in it: what is printed was recorded.
    words = [*forks.python(turn=1), str(tmp_path / "program.py"), *shipped.command[-2:]]
    moved = Path(database).rename(tmp_path / "moved.db")
    try:
        done = shipped.run("replay", f"{URL}#{shipped.orders.session_id}", "--", *words)
    finally:
        moved.rename(database)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["Ada", "[('tea',), ('cake',), ('jam',)]"]


@pytest.mark.parametrize("how", ["url", "id"])
def test_one_recording_of_object_storage_is_verified_by_one_function(
    how: str, shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**shipped.variables, "HOME": str(shipped.folder / "home"), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    # fsspec keeps drivers, and with them the address that an earlier test gave.
    S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(finding, "_cache", lambda: tmp_path / "indexes")
    session_id = shipped.orders.session_id
    named = {"url": f"{URL}#{session_id}", "id": session_id}[how]
    verdict = verify_one(named, command=shipped.command, cassette_dir=URL)
    assert (verdict.outcome, verdict.path, verdict.session_id) == ("passed", named, session_id)
    with pytest.raises(CassetteNotFoundError):
        verify_one(f"{URL}#00000000-0000", command=shipped.command)
    S3FileSystem.clear_instance_cache()


def test_a_test_a_page_and_a_file_are_made_of_one_recording(shipped: Shipped, tmp_path: Path) -> None:
    named = f"{URL}#{shipped.orders.session_id}"
    for words, written in (
        (("view", named, "-o"), "page.html"),
        (("export", "--to", "har", named, "-o"), "calls.har"),
        (("convert", named), "one.msgpack"),
    ):
        done = shipped.run(*words, str(tmp_path / written))
        assert done.returncode in {0, 1}, done.stderr
        assert b"users/7" in (tmp_path / written).read_bytes(), done.stderr


def test_a_recording_that_is_not_there_is_told(shipped: Shipped) -> None:
    done = shipped.run("reproduce", f"{URL}#00000000-0000", "--", *shipped.command)
    assert done.returncode == 2
    assert f"no cassette in {URL} whose session or trace has this id" in done.stderr
