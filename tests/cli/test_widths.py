"""What the commands print of a real recording at 80 and at 200 columns, to the letter.

The recordings are those of ``golden/shop``: of the service `tests.cli._shop`, made once, so that times and ids are
the same in each run. The texts are those of ``golden/at_80.txt`` and ``golden/at_200.txt``.

The commands that start a service or a server say the same at each width, and their own tests hold these texts:
``record`` and ``replay`` in `test_record_replay`, ``check`` in `test_check`, ``verify --against`` in
`tests.verify.test_against`, and ``reproduce`` in `tests.verify.test_reproduce`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import environment
from timetracer_otel import cli

GOLDEN = Path(__file__).parent / "golden"

TABLES = ("list", "list of failures", "stats", "show", "show of a process", "audit")
"""What is made for the width of the terminal. Other lines are as long as what they tell."""

COMMANDS = {
    "list": ["list", "cassettes"],
    "list of failures": ["list", "cassettes", "--status", "5xx"],
    "find": ["find", "cassettes", "--route", "/users/*"],
    "stats": ["stats", "cassettes"],
    "show": ["show", "577af2d0"],
    "show of a process": ["show", "a75ec1c2"],
    "show --event": ["show", "577af2d0", "--event", "1"],
    "show --stable": ["show", "6a94a955", "--stable"],
    "diff": ["diff", "46927da6", "577af2d0"],
    "diff --markdown": ["diff", "6a94a955", "9437a502", "--markdown"],
    "merge": ["merge", "46927da6", "a75ec1c2", "-o", "whole.msgpack"],
    "prune": ["prune", "cassettes", "--keep", "2", "--dry-run"],
    "audit": ["audit", "cassettes", "--redact-extra", "name"],
    "scrub": ["scrub", "6a94a955", "--redact-extra", "name", "-o", "scrubbed.msgpack"],
    "export": ["export", "46927da6", "--to", "har", "-o", "orders.har"],
    "convert": ["convert", "6a94a955", "users.msgpack.gz"],
    "convert to HAR": ["convert", "46927da6", "orders.har"],
    "view": ["view", "577af2d0", "-o", "page.html"],
    "to-test": ["to-test", "577af2d0", "-o", "test_orders.py", "--app", "shop:app", "--no-run"],
    "git-setup": ["git-setup"],
}


def golden(columns: int) -> dict[str, str]:
    """The texts of a width by the names of `COMMANDS`."""
    _, *blocks = (GOLDEN / f"at_{columns}.txt").read_text("utf-8").split("\n=== ")
    return dict(block.split(" ===\n", 1) for block in blocks)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: a new git repository with the recordings."""
    shutil.copytree(GOLDEN / "shop", tmp_path / "cassettes")
    (tmp_path / "shop.py").write_text("app = None\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_at_each_width(
    name: str, columns: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "git-setup":
        subprocess.run(["git", "init", "-q", "."], check=True, env=environment([]))
    monkeypatch.setenv("COLUMNS", str(columns))
    code = cli.main(COMMANDS[name])
    printed = capsys.readouterr()
    told = printed.out + "".join(f"stderr: {line}\n" for line in printed.err.splitlines())
    told = told.replace(f"{folder}/", "").replace(sys.executable, "PYTHON") + f"exit code {code}\n"
    assert told == golden(columns)[name]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_fits_and_has_whole_numbers_and_ids(columns: int) -> None:
    texts = golden(columns)
    assert [*texts] == [*COMMANDS]
    for name in TABLES:
        # Above its table, show tells what it has of the whole recording.
        table = texts[name].partition("\n\n")[2] if name.startswith("show") else texts[name]
        assert max(map(len, table.splitlines())) <= columns
    assert re.findall(r"^#\d+", texts["show"], re.MULTILINE) == ["#1", "#2", "#3"]
    ids = re.findall(r"  ([0-9a-f]{8})(?:  |$)", texts["list"], re.MULTILINE)
    assert ids == ["a75ec1c2", "6a94a955", "9437a502", "577af2d0", "46927da6"]
