"""Where a recording may lie: found out before it begins, and nothing takes the place of what is no file."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel import CassetteError, record, replay
from timetracer_otel.cassette import read_cassette


def refused(path: Path | str, **settings: Any) -> str:
    """What is said before the block runs."""
    with pytest.raises(CassetteError) as caught, record(path, **settings):
        pytest.fail("the block ran")
    return str(caught.value)


def test_a_pipe_is_left_alone(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refused(pipe) == f"{pipe}: is a device or a pipe. Give the name of a file."
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(CassetteError, match="is a device or a pipe"), replay(pipe, record_mode="all"):
        pytest.fail("the block ran")


@pytest.mark.parametrize(("name", "reason"), [("n" * 300, "name"), ("a\0b", "null")])
def test_a_name_that_no_file_can_have_is_refused_before_the_block(tmp_path: Path, name: str, reason: str) -> None:
    assert reason in refused(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_a_link_names_is_written_and_the_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target.msgpack", tmp_path / "link.msgpack"
    target.write_bytes(b"old")
    link.symlink_to(target.name)
    with record(link):
        pass
    assert link.is_symlink()
    assert read_cassette(target).complete


def test_a_compression_whose_package_is_missing_is_refused_before_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(sys, "version_info", (3, 13))
    assert 'pip install "timetracer-otel[zstd]"' in refused(tmp_path / "x.msgpack", compression="zstd")
