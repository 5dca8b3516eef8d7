"""Shares of a folder: together they are the whole, they have nothing in common, and each machine has the same."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import junitparser
import pytest

from tests.sample_cassettes import cassette
from timetracer_otel.cassette import save_cassette
from timetracer_otel.cli import main
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import HeaderMap, RequestSnapshot
from timetracer_otel.verify import Shard, plan

HOST = HeaderMap([(b"host", b"127.0.0.1:1")])


def _folder(folder: Path, number: int) -> list[str]:
    """A folder of recordings of requests and of one process; the ids of their sessions."""
    ids = [str(uuid.UUID(int=each)) for each in range(number)]
    for at, session_id in enumerate(ids):
        made = cassette([], request=RequestSnapshot("GET" if at else "", f"/{at}" if at else "", headers=HOST))
        made.session = replace(made.session, id=session_id)
        save_cassette(made, folder / f"{at:04}.msgpack")
    return ids


def _shards(folder: Path, of: int) -> list[list[str]]:
    planned = plan(FolderIndex(folder))
    return [[each.session_id for each in Shard(number, of).among(planned)] for number in range(1, of + 1)]


def test_shards_are_the_whole_and_disjoint_wherever_the_folder_stands(tmp_path: Path) -> None:
    ids = _folder(tmp_path / "here", 100)
    shards = _shards(tmp_path / "here", 7)
    assert sorted(each for shard in shards for each in shard) == sorted(ids)
    assert all(4 <= len(shard) <= 30 for shard in shards)
    # Elsewhere, under other names that stand in another order, and with one recording less.
    elsewhere = tmp_path / "elsewhere" / "below"
    elsewhere.mkdir(parents=True)
    for at, path in enumerate(sorted((tmp_path / "here").glob("*.msgpack"))[:-1]):
        shutil.copy(path, elsewhere / f"{999 - at}.msgpack")
    assert [set(shard) for shard in _shards(tmp_path / "elsewhere", 7)] == [set(each) - {ids[-1]} for each in shards]
    assert _shards(tmp_path / "here", 1) == [[each.session_id for each in plan(FolderIndex(tmp_path / "here"))]]


def test_which_shard_a_recording_is_in_stays_the_same_in_later_releases() -> None:
    found = [next(k for k in range(1, 11) if Shard(k, 10).has(str(uuid.UUID(int=each)))) for each in range(8)]
    assert found == [9, 4, 1, 1, 10, 5, 1, 5]


def test_a_shard_with_nothing_in_it_passes_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _folder(tmp_path / "one", 2)
    planned = plan(FolderIndex(tmp_path / "one"))
    empty = next(k for k in range(1, 10) if not Shard(k, 9).among(planned))
    report = tmp_path / "results.xml"
    options = ["--shard", f"{empty}/9", "--junit-xml", str(report)]
    assert main(["verify", str(tmp_path / "one"), *options, "--", "touch", str(tmp_path / "ran")]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"verify: nothing to send in shard {empty}/9 of {tmp_path}/one\n", "")
    assert [suite.tests for suite in junitparser.JUnitXml.fromfile(str(report))] == [0]
    assert not (tmp_path / "ran").exists()
