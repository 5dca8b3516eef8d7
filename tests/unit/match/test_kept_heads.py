"""The file beside a folder of cassettes, by which it is searched without opening them."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgpack import packb, unpackb  # type: ignore[import-untyped,unused-ignore]

from tests.unit.match.test_folder_index import Folder, chosen, request
from timetracer_otel.audit.scrubbing import scrub
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.config import TraceConfig
from timetracer_otel.match import kept_heads
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import RequestSnapshot

START = len(kept_heads._MAGIC) + 4
ASKED = [request("/a"), request("/b?x=1&x=2&y=3"), request("/c", "POST", b'{"n": 1}'), request("/none")]


@pytest.fixture(autouse=True)
def few_files_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_heads, "LEAST_FILES", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "cassettes")
    for number, each in enumerate(ASKED[:3]):
        made.add(each, f"2024-01-0{number}/{number}.msgpack")
    made.add(RequestSnapshot("", ""), "process_1.msgpack")
    return made


def settle(folder: Folder) -> None:
    """The folder has not changed for a minute."""
    for path, _, _ in os.walk(folder.path):
        facts = Path(path).stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - 60 * 10**9))


def kept(folder: Folder) -> Path:
    return folder.path.parent / ".cassettes.timetracer-index"


def said(index: FolderIndex) -> Any:
    answers = [index.choose(each) for each in ASKED]
    return (
        [None if entry is None else (entry.path, entry.session_id, entry.facts, entry.route) for entry in answers],
        index.outside_paths,
        index.recorded_at,
        [str(error) for error in index.broken],
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cassettes whose heads are read."""
    names: list[str] = []
    look = CassetteStore.look

    def noted(store: CassetteStore, name: Any) -> Any:
        names.append(str(name))
        return look(store, name)

    monkeypatch.setattr(CassetteStore, "look", noted)
    return names


def test_a_folder_is_searched_by_the_kept_file_without_opening_a_cassette(folder: Folder, opened: list[str]) -> None:
    settle(folder)
    first = said(folder.index())
    assert len(opened) == 4
    assert stat.S_IMODE(kept(folder).stat().st_mode) == 0o600
    opened.clear()
    assert said(folder.index()) == first
    assert opened == []
    assert chosen(folder.index(), request("/b?x=1&x=2&y=3")) == "2"
    assert sorted(each.name for each in folder.path.parent.iterdir()) == [".cassettes.timetracer-index", "cassettes"]


def test_cassettes_that_come_change_and_go_are_seen(folder: Folder, opened: list[str]) -> None:
    settle(folder)
    folder.index()
    opened.clear()
    folder.add(request("/none"), "2024-01-01/new.msgpack")
    assert chosen(folder.index(), request("/none")) == "5"
    assert opened == ["2024-01-01/new.msgpack"]
    folder.add(request("/other"), "2024-01-01/new.msgpack")
    assert folder.index().choose(request("/none")) is None
    (folder.path / "2024-01-01/new.msgpack").unlink()
    assert folder.index().choose(request("/other")) is None
    (folder.path / "deeper/still").mkdir(parents=True)
    folder.add(request("/deep"), "deeper/still/0.msgpack")
    assert chosen(folder.index(), request("/deep")) == "7"


def test_a_folder_that_changed_just_now_keeps_no_file_yet(folder: Folder) -> None:
    folder.index()
    assert not kept(folder).exists()


def test_a_file_that_cannot_be_read_is_an_error_each_time(folder: Folder) -> None:
    (folder.path / "broken.msgpack").write_bytes(b"nonsense")
    settle(folder)
    first = said(folder.index())
    assert kept(folder).exists()
    assert len(first[3]) == 1
    assert said(folder.index()) == first


def test_a_cassette_that_was_changed_in_its_place_makes_the_kept_file_go(folder: Folder, tmp_path: Path) -> None:
    settle(folder)
    folder.index()
    other = Path(Folder(tmp_path / "more").add(request("/none")))
    (folder.path / "2024-01-00/0.msgpack").write_bytes(other.read_bytes())
    index = folder.index()
    entry = index.choose(request("/a"))
    assert entry is not None
    index.read(entry)
    assert not kept(folder).exists()
    assert folder.index().choose(request("/a")) is None


def test_scrubbing_a_cassette_deletes_what_is_kept_of_it(folder: Folder) -> None:
    path = folder.add(request("/secret", headers=((b"X-Mine", b"a secret of ours"),)), "2024-01-09/s.msgpack")
    settle(folder)
    folder.index()
    assert kept(folder).exists()
    assert scrub(path, TraceConfig(redact_extra=["x-mine"])).replaced
    assert not kept(folder).exists()


def test_few_cassettes_keep_no_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_heads, "LEAST_FILES", 5)
    settle(folder)
    folder.index()
    assert not kept(folder).exists()


def test_nothing_is_kept_where_nothing_can_be_written(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    settle(folder)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert said(folder.index()) == said(folder.index())
    assert not kept(folder).exists()


def columns(change: Callable[[list[Any]], object]) -> Callable[[bytes], bytes]:
    """The file with other texts, as somebody could make it."""

    def changed(data: bytes) -> bytes:
        parts = unpackb(data[START:])
        change(parts)
        packed = packb(parts)
        return data[: START - 4] + zlib.crc32(packed).to_bytes(4, "big") + packed

    return changed


def put(at: int, text: str) -> Callable[[bytes], bytes]:
    return columns(lambda parts: parts.__setitem__(at, "\0".join([text] * (parts[at].count("\0") + 1))))


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"nonsense" * 100,
        lambda data: data[:-1],
        lambda data: data + b"\xc0",
        lambda data: data[:-5] + b"x" + data[-4:],
        columns(lambda parts: parts.pop()),
        columns(lambda parts: parts.append("x")),
        columns(lambda parts: parts.__setitem__(4, [["x"]] * 10)),
        columns(lambda parts: parts.__setitem__(4, {})),
        columns(lambda parts: parts.__setitem__(0, "")),
        put(2, "../../etc/passwd"),
        put(3, "../x.msgpack"),
        put(3, "/etc/passwd"),
        put(10, "[" * 100_000),
        put(10, "[1]"),
        put(12, "{}"),
        put(12, "[1, 2, 3]"),
        put(12, ""),
    ],
)
def test_a_kept_file_that_somebody_made_is_not_believed(folder: Folder, change: Callable[[bytes], bytes]) -> None:
    settle(folder)
    first = said(folder.index())
    kept(folder).write_bytes(change(kept(folder).read_bytes()))
    assert said(folder.index()) == first


def test_a_kept_file_is_no_link_and_no_pipe(folder: Folder, tmp_path: Path) -> None:
    settle(folder)
    first = said(folder.index())
    kept(folder).rename(tmp_path / "elsewhere")
    kept(folder).symlink_to(tmp_path / "elsewhere")
    (folder.path / "0").mkdir()  # Changed, so that what the link leads to is out of date.
    assert said(folder.index()) == first
    kept(folder).unlink()
    os.mkfifo(kept(folder))
    assert said(folder.index()) == first
