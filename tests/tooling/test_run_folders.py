"""What a killed run left is removed by the next run of the same user, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import run_folders
from tests.children import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers that Windows has not")


def test_folders_of_a_killed_run_are_removed_by_the_next_one(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from tests.run_folders import made\n"
        "for kind in ('db', 'forks', 'servers'):\n    (made(kind, pathlib.Path(sys.argv[1])) / 'file').touch()\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -9
    (gone,) = {path.name.split("-")[2] for path in tmp_path.iterdir()}
    ours = run_folders.made("db", tmp_path)
    strangers = [tmp_path / f"db-{os.geteuid() + 1}-{gone}-x", tmp_path / "db-old", tmp_path / f"db2-0-{gone}-x"]
    for folder in strangers:
        folder.mkdir()
    kinds = [path.name.split("-")[0] for path in run_folders.remove_leftovers(tmp_path, tmp_path)]
    assert sorted(kinds) == ["db", "forks", "servers"]
    assert set(tmp_path.iterdir()) == {ours, *strangers}
