"""What each command prints of a real recording at 80 and at 200 columns, to the letter.

The recordings are those of ``golden/shop``: of the service `tests.cli._shop`, made once, so that times and ids are
the same in each run. The texts are those of ``golden/at_80.txt`` and ``golden/at_200.txt``.

The commands that start a program play the service of these recordings, whose upstream is gone. ``record`` records it
anew, and ``check`` asks a server of which two calls were recorded.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import forks
from tests.children import ROOT, environment, script
from tests.cli._upstream import Upstream
from tests.examples import drawn
from tests.loopback import Loopback
from tests.servers._ports import free_port
from timetracer_otel import cli, record

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
    "completion": ["completion", "bash"],
    "check": ["check", "asked"],
    "ship": ["ship", "cassettes", "file://store"],
    "compact": ["compact", "file://store"],
}

PROGRAM = ["python", "-m", "tests.cli._shop", "UPSTREAM", "shop.db"]
SERVICE = ["--url", "http://127.0.0.1:PORT", "--", *PROGRAM, "PORT"]
RUNNERS = {
    "record": ["record", "--dir", "made", "--", *PROGRAM],
    "replay": ["replay", "cassettes", "--", *PROGRAM],
    "verify --against": ["verify", "cassettes", "--against", "--max-calls", "sql=+0", *SERVICE],
    "reproduce": ["reproduce", "577af2d0", *SERVICE],
}
"""The commands that start a program, in which ``UPSTREAM`` and ``PORT`` stand for what they are in a run."""
RECORDED_UPSTREAM = "http://127.0.0.1:45171"


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


@pytest.fixture
def asked(folder: Path) -> Iterator[Upstream]:
    """A server whose answers have changed since ``asked`` was recorded."""
    upstream = Upstream()
    with record(folder / "asked" / "user.msgpack"), httpx.Client(base_url=upstream.url) as client:
        client.get("/user?page=1")
        client.post("/search", json={"name": "Ada"})
    upstream.user = {"id": 7, "name": "Bob", "tags": []}
    yield upstream
    upstream.stop()


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_at_each_width(
    name: str,
    columns: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if name == "git-setup":
        subprocess.run(["git", "init", "-q", "."], check=True, env=environment([]))
    upstream: Upstream | None = request.getfixturevalue("asked") if name == "check" else None
    monkeypatch.setenv("COLUMNS", str(columns))
    if name == "compact":
        cli.main(COMMANDS["ship"])
        capsys.readouterr()
    code = cli.main(COMMANDS[name])
    printed = capsys.readouterr()
    output = printed.out.replace(upstream.url, "http://UPSTREAM") if upstream is not None else printed.out
    if name in {"ship", "compact"}:
        # What a release of Zstandard makes of the recordings.
        output = re.sub(r"\d+(\.\d)? KiB", "SIZE", output)
    if name == "completion":
        # The script is the work of shtab, and its help that of the parser: these are its lines about all commands.
        output = "".join(re.findall(r"^_shtab_timetracer_otel_subparsers=.*\n", output, re.MULTILINE))
    assert told(output, printed.err, code, folder) == golden(columns)[name]


@pytest.mark.parametrize(
    ("name", "columns"), [(name, columns) for name in RUNNERS for columns in drawn([[80, 200]], "width", name)]
)
def test_what_a_command_that_starts_a_program_prints_at_each_width(name: str, columns: int, folder: Path) -> None:
    port, upstream = str(free_port()), RECORDED_UPSTREAM
    used = environment({"fastapi", "httpx", "sqlite3"}, PYTHONPATH=str(ROOT), COLUMNS=str(columns))
    with Loopback() as server:
        if name == "record":
            upstream = server.url
        words = [word.replace("PORT", port).replace("UPSTREAM", upstream) for word in RUNNERS[name]]
        command = script("timetracer-otel")
        if name == "record":
            # At its end the program says what was recorded, where it is the process that the command was.
            done = subprocess.run(
                [command, *words], env=used, cwd=folder, capture_output=True, text=True, timeout=240
            )
        else:
            used["PATH"] = forks.on_path(folder.with_name(f"{folder.name}-commands")) + used["PATH"]
            done = forks.run(command, *words, env=used, cwd=folder, loaded="tool")
    output = done.stdout.replace(f"http://127.0.0.1:{port}", "http://SERVICE")
    output, error = (
        re.sub(r"\bin [\d.]+ m?s\b", "in TIME", re.sub(r"\d+(\.\d)? KiB", "SIZE", text))
        for text in (output, done.stderr)
    )
    assert told(output, error, done.returncode, folder) == golden(columns)[name]


def told(output: str, error: str, code: int, folder: Path) -> str:
    """What a command has printed, with names for what differs from run to run."""
    text = output + "".join(f"stderr: {line}\n" for line in error.splitlines())
    text = text.replace(f"{folder}/", "").replace(f"{folder}", "FOLDER").replace(sys.executable, "PYTHON")
    return f"{text}exit code {code}\n"


def test_every_command_has_its_texts() -> None:
    (commands,) = (
        action for action in cli.command_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    assert {words[0] for words in [*COMMANDS.values(), *RUNNERS.values()]} == {*commands.choices}
    for columns in (80, 200):
        assert [*golden(columns)] == [*COMMANDS, *RUNNERS]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_fits_and_has_whole_numbers_and_ids(columns: int) -> None:
    texts = golden(columns)
    for name in TABLES:
        # Above its table, show tells what it has of the whole recording.
        table = texts[name].partition("\n\n")[2] if name.startswith("show") else texts[name]
        assert max(map(len, table.splitlines())) <= columns
    assert re.findall(r"^#\d+", texts["show"], re.MULTILINE) == ["#1", "#2", "#3"]
    ids = re.findall(r"  ([0-9a-f]{8})(?:  |$)", texts["list"], re.MULTILINE)
    assert ids == ["a75ec1c2", "6a94a955", "9437a502", "577af2d0", "46927da6"]
