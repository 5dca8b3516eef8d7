"""Parts: recordings under way, whose process may die, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.golden.make_golden import golden
from tests.unit.cassette.same import same
from timetracer_otel.cassette import CassetteStore, Owner, PartWriter, read_cassette, save_cassette
from timetracer_otel.constants import CompressionType
from timetracer_otel.exceptions import CassetteError

KINDS = list(CompressionType)
SUFFIXES = {CompressionType.NONE: "", CompressionType.GZIP: ".gz", CompressionType.ZSTD: ".zst"}
ROOT = Path(__file__).parents[3]


@contextmanager
def process_with_a_part(
    folder: Path, kind: CompressionType = CompressionType.NONE, session: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Another process, with a part of two events in a folder; killed at the end.

    Our own parts are not compressed. Another ``kind`` is that of a part which something else has compressed.
    """
    script = f"""
        import pathlib, sys
        from tests.golden.make_golden import golden
        from timetracer_otel.cassette import Owner, PartWriter
        from timetracer_otel.cassette.compression import compressor
        from timetracer_otel.constants import CompressionType
        owner = Owner({str(folder)!r})
        whole = golden()
        whole.session.id = {session!r} or whole.session.id
        part = PartWriter(whole, whole.events[:1], {str(folder)!r}, owner.name)
        part.append(whole.events[1:2])
        file = pathlib.Path(part.path)
        if {SUFFIXES[kind]!r}:
            squeeze = compressor(CompressionType({kind.value!r}), "part")
            file.write_bytes(squeeze.write(file.read_bytes()) + squeeze.flush())
            file = file.rename(str(file).replace(".msgpack", ".msgpack{SUFFIXES[kind]}"))
        print(file, flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().endswith(".part")
        try:
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_can_be_read_and_is_listed_as_running_while_its_process_lives_and_as_recovered_later(
    tmp_path: Path, kind: CompressionType
) -> None:
    store = CassetteStore(tmp_path)
    with process_with_a_part(tmp_path, kind) as process:
        (running,) = store.list()
        assert (running.running, running.complete, running.error, running.events) == (True, False, None, 2)
        assert (running.method, running.request_path) == ("GET", "/users/{id}")
        assert same(read_cassette(running.path).events, golden().events[:2])
        assert store.recover() == 0
        assert store.list() == [running]
        process.kill()
        process.wait()
        (dead,) = store.list()
        assert (dead.path, dead.running, dead.complete) == (running.path, False, False)
    assert store.recover() == 1
    assert names(tmp_path) == [f"GET_users_id_123015_3f2b8c1d.msgpack{SUFFIXES[kind]}"]
    (recovered,) = store.list()
    assert (recovered.running, recovered.complete, recovered.events) == (False, False, 2)
    assert store.recover() == 0


def test_a_part_whose_whole_cassette_was_written_before_the_process_died_goes(tmp_path: Path) -> None:
    with process_with_a_part(tmp_path):
        # The route of the whole one is another: it is known at the end only.
        whole = golden()
        whole.request.route_template = "/users/{number}"
        CassetteStore(tmp_path).put(whole)
    assert CassetteStore(tmp_path).recover() == 0
    assert names(tmp_path) == ["GET_users_number_123015_3f2b8c1d.msgpack"]


def test_a_part_keeps_out_of_the_way_of_another_session_with_its_name(tmp_path: Path) -> None:
    with process_with_a_part(tmp_path):
        other = golden()
        other.session.id = "3f2b8c1d-another"
        save_cassette(other, tmp_path / "2024-02-29" / "GET_users_id_123015_3f2b8c1d.msgpack")
    assert CassetteStore(tmp_path).recover() == 1
    assert names(tmp_path) == [
        "GET_users_id_123015_3f2b8c1d-2.msgpack",
        "GET_users_id_123015_3f2b8c1d.msgpack",
    ]


def test_many_processes_may_recover_at_once(tmp_path: Path) -> None:
    # A cassette's name ends with the id of its session. Of two with one id, one might replace the other.
    for number in range(5):
        with process_with_a_part(tmp_path, session=f"3f2b8c{number:02}"):
            pass
    script = f"""
        from timetracer_otel.cassette import CassetteStore
        print(CassetteStore({str(tmp_path)!r}).recover())
    """
    recovering = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    numbers = [int(process.communicate(timeout=240)[0]) for process in recovering]
    assert [process.returncode for process in recovering] == [0] * 4
    assert sum(numbers) == 5
    assert [name for name in names(tmp_path) if not name.endswith(".msgpack")] == []
    assert len({stored.session_id for stored in CassetteStore(tmp_path).list()}) == 5


def test_an_owner_that_ends_leaves_nothing_and_an_abandoned_one_looks_dead(tmp_path: Path) -> None:
    owner = Owner(str(tmp_path / "new"))
    assert names(tmp_path) == [f".{owner.name}.lock"]
    part = PartWriter(golden(), [], str(tmp_path / "new"), owner.name)
    assert [stored.running for stored in CassetteStore(tmp_path / "new").list()] == [True]
    part.remove()
    owner.release()
    assert names(tmp_path) == []

    owner = Owner(str(tmp_path / "new"))
    PartWriter(golden(), [], str(tmp_path / "new"), owner.name)
    owner.abandon()
    assert [stored.running for stored in CassetteStore(tmp_path / "new").list()] == [False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_parts_alive(tmp_path: Path) -> None:
    script = f"""
        import os, time
        from tests.golden.make_golden import golden
        from timetracer_otel.cassette import Owner, PartWriter
        owner = Owner({str(tmp_path)!r})
        PartWriter(golden(), [], {str(tmp_path)!r}, owner.name)
        if not os.fork():
            owner.abandon()
            print(os.getpid(), flush=True)
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert CassetteStore(tmp_path).recover() == 0
        parent.kill()
        parent.wait()
        assert CassetteStore(tmp_path).recover() == 1
        os.kill(child, signal.SIGKILL)


def test_temporary_files_of_killed_writers_go_when_they_are_old(tmp_path: Path) -> None:
    with process_with_a_part(tmp_path):
        pass
    old, fresh, other = (
        tmp_path / name for name in (".a.msgpack.0123456789ab.tmp", ".b.msgpack.0123456789ab.tmp", ".mine.tmp")
    )
    for file in (old, fresh, other):
        file.write_bytes(b"x")
    for file in (old, other):
        os.utime(file, (time.time() - 7200,) * 2)
    assert CassetteStore(tmp_path).recover() == 1
    assert (old.exists(), fresh.exists(), other.exists()) == (False, True, True)


def test_a_folder_that_cannot_have_parts_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CassetteError, match="TIMETRACER_DIR"):
        Owner(str(tmp_path / "file"))
    with pytest.raises(CassetteError, match="TIMETRACER_DIR"):
        PartWriter(golden(), [], str(tmp_path / "file"), "01234567")
    part = PartWriter(golden(), golden().events[:1], str(tmp_path), "01234567")
    Path(part.path).unlink()
    with pytest.raises(CassetteError, match="Cannot write"):
        part.append(golden().events[1:])
    part.keep()
    part.remove()
