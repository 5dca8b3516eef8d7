"""A storage that refuses, loses answers, or is not there: what is shipped is there once, and the rest stays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.servers._process import ServerProcess
from tests.stores._gate import Gate
from tests.stores._spool import fill, remote_ids, spooled_ids
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.storage import objects as objects_module
from timetracer_otel.storage.finding import Question, rows_of
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.shipping import ship
from timetracer_otel.storage.spool import Spool


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for what comes between two attempts."""
    monkeypatch.setattr(objects_module, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def through(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let drivers that are made from now on go through a gate."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gate.port}")


@pytest.mark.parametrize("how", ["503", "cut", "lost"])
def test_what_the_storage_refuses_for_a_while_is_tried_again(
    how: str, s3: str, s3_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    ids = fill(spool.folder, 4)
    asked: Counter[tuple[str, str]] = Counter()

    def twice(number: int, method: str, path: str) -> str:
        asked[method, path.partition("?")[0]] += 1
        return how if asked[method, path.partition("?")[0]] <= 2 else ""

    with Gate(s3_server.port("aws"), twice) as gate:
        through(gate, monkeypatch)
        done = ship(spool, Objects(s3))
        assert (done.cassettes, done.fault) == (4, None)
        assert [what for _, _, what in gate.seen].count(how) > 3
        assert remote_ids(s3, tmp_path / "copies") == Counter(ids)
    assert spooled_ids(spool.folder) == []


def test_what_cannot_be_shipped_stays_is_counted_and_goes_with_the_next_pass(
    s3: str, s3_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    ids = fill(spool.folder, 3)

    def refuses_indexes(number: int, method: str, path: str) -> str:
        return "503" if method == "PUT" and ".parquet" in path else ""

    with Gate(s3_server.port("aws"), refuses_indexes) as gate:
        through(gate, monkeypatch)
        done = ship(spool, Objects(s3))
        assert (done.cassettes, done.packs, dict(done.left)) == (0, 0, {"waits for the next pass": 3})
        assert done.fault is not None
        assert ".parquet" in done.fault
        assert sorted(spooled_ids(spool.folder)) == sorted(ids)
        # A pack that has no index yet is seen by nobody.
        assert remote_ids(s3, tmp_path / "none") == Counter()
    more = fill(spool.folder, 1)
    with Gate(s3_server.port("aws"), lambda *_: "") as gate:
        through(gate, monkeypatch)
        assert ship(spool, Objects(s3)).cassettes == 4
        assert remote_ids(s3, tmp_path / "copies") == Counter([*ids, *more])
        packs = [path for method, path, _ in gate.seen if method == "PUT" and path.endswith(".pack")]
        assert len(packs) == 1, "the pack that was there already is not uploaded again"


def test_a_storage_that_never_answers_is_given_up_until_the_next_pass(
    s3: str, s3_server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    ids = fill(spool.folder, 3)
    with Gate(s3_server.port("aws"), lambda _, method, __: "silent" if method == "PUT" else "") as gate:
        through(gate, monkeypatch)
        objects = Objects(s3)
        with monkeypatch.context() as patch:
            patch.setattr(objects_module, "_ANSWER_S", 1.0)
            done = ship(spool, objects)
        assert (done.cassettes, dict(done.left)) == (0, {"waits for the next pass": 3})
        assert done.fault is not None
        assert "Cannot write s3://" in done.fault
        assert "no answer within 1 s" in done.fault
        assert [what for method, _, what in gate.seen if method == "PUT"] == ["silent"]
        assert sorted(spooled_ids(spool.folder)) == sorted(ids)
    with Gate(s3_server.port("aws"), lambda *_: "silent") as gate:
        through(gate, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(objects_module, "_ANSWER_S", 0.1)
            with pytest.raises(CassetteError, match=r"Cannot list .*no answer within 0 s"):
                rows_of(Objects(s3), Question())
    with Gate(s3_server.port("aws"), lambda *_: "") as gate:
        through(gate, monkeypatch)
        assert ship(spool, Objects(s3)).cassettes == 3
        assert remote_ids(s3, tmp_path / "copies") == Counter(ids)


def test_an_upload_that_is_not_what_was_sent_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, objects = Spool(tmp_path / "spool"), Objects(f"memory://{tmp_path.name}")
    fill(spool.folder, 2)
    put = objects._files.put_file

    def put_damaged(local: str, remote: str) -> None:
        put(local, remote)
        data = bytearray(objects._files.cat_file(remote))
        data[-1] ^= 1
        objects._files.pipe_file(remote, bytes(data))

    monkeypatch.setattr(objects._files, "put_file", put_damaged)
    done = ship(spool, objects)
    assert done.cassettes == 0
    assert "what was uploaded is not what is there" in (done.fault or "")
    assert len(spooled_ids(spool.folder)) == 2
