"""On a terminal: colour by rich where it is wanted, the same text as everywhere, and a bar for what takes long."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import SCRIPT, command_environment
from tests.cli.terminal import on_terminal, without_colour
from tests.sample_cassettes import cassette, checkout, http_event
from timetracer_otel.cassette import CassetteStore, save_cassette
from timetracer_otel.cli.progress import progress

ESCAPE = "\x1b["


def both(arguments: list[str], folder: Path, columns: int, **changes: str) -> tuple[str, str]:
    """What a command prints on a terminal of a width, and into a pipe."""
    env = command_environment(**changes)
    piped = subprocess.run(
        [SCRIPT, *arguments],
        env={**env, "COLUMNS": str(columns)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert piped.stderr == ""
    return on_terminal([SCRIPT, *arguments], env, folder, columns), piped.stdout


def without_ends(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("arguments", "columns", "coloured"),
    [
        # Each command once, and half of them at each width: a terminal is a process of its own.
        (["list", "cassettes"], 80, ["\x1b[32m   200\x1b[0m", "\x1b[31m   500\x1b[0m"]),
        (["list", "cassettes"], 200, ["\x1b[32m   200\x1b[0m", "\x1b[2mcassettes/"]),
        (["stats", "cassettes"], 80, ["\x1b[36mPOST /orders"]),
        (["show", "{POST_orders}"], 200, ["\x1b[36m#1\x1b[0m", "\x1b[34m█"]),
        (["diff", "{GET_orders}", "{POST_orders}"], 80, ["\x1b[1;33mgone\x1b[0m"]),
        (["audit", "secret.msgpack"], 200, ["\x1b[33m"]),
    ],
)
def test_a_terminal_shows_the_same_text_in_colour(
    shop: Path, arguments: list[str], columns: int, coloured: list[str]
) -> None:
    secret = http_event(1, "http://a/", request_body=b'{"password": "hunter2-and-more"}')
    save_cassette(cassette([secret]), shop.parent / "secret.msgpack")
    paths = {name: str(next(shop.rglob(f"{name}_*.msgpack"))) for name in ("POST_orders", "GET_orders")}
    named = [each.format(**paths).replace(f"{shop.parent}/", "") for each in arguments]
    on, piped = both(named, shop.parent, columns)
    assert [each for each in coloured if each not in on] == []
    assert without_colour(on) == without_ends(piped)
    assert ESCAPE not in piped


@pytest.mark.parametrize(
    "changes",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONPATH": "without_rich"}],
    ids=["NO_COLOR", "dumb", "rich is not installed"],
)
def test_the_text_is_plain_where_no_colour_is_wanted_or_rich_is_missing(
    tmp_path: Path, changes: Mapping[str, str]
) -> None:
    CassetteStore(tmp_path / "cassettes").put(checkout())
    (tmp_path / "without_rich").mkdir()
    (tmp_path / "without_rich" / "rich.py").write_text("raise ImportError('rich')")
    on, piped = both(["list", "cassettes"], tmp_path, 80, **changes)
    assert on == piped
    assert "POST /checkout" in on


def test_a_pipe_gets_plain_text_whatever_rich_is_told(tmp_path: Path) -> None:
    CassetteStore(tmp_path / "cassettes").put(checkout())
    done = subprocess.run(
        [SCRIPT, "list", "cassettes"],
        env=command_environment(FORCE_COLOR="1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, ESCAPE in done.stdout) == (0, False)


def test_a_bar_stands_on_the_terminal_of_stderr_while_a_folder_is_looked_at(tmp_path: Path) -> None:
    """And is taken off at the end. A list of few cassettes shows none."""
    store = CassetteStore(tmp_path / "cassettes")
    for number in range(3):
        made = checkout()
        store.put(replace(made, session=replace(made.session, id=f"{number:08x}-0000-4000-8000-000000000000")))
    # A file system that takes its time.
    slow = (
        "import sys, time\n"
        "from timetracer_otel.cassette import CassetteStore\n"
        "from timetracer_otel.cli import main\n"
        "look = CassetteStore.look\n"
        "def slowly(self, name):\n"
        "    time.sleep(float(sys.argv[1]))\n"
        "    return look(self, name)\n"
        "CassetteStore.look = slowly\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )

    def on_stderr(pause_s: str) -> str:
        command = [sys.executable, "-c", slow, pause_s, "list", "cassettes", "--json"]
        return on_terminal(command, command_environment(), tmp_path, stderr_only=True)

    shown = on_stderr("0.35")
    assert re.findall(r"\rlooking at the cassettes \[([#.]{30})\] (\d) of 3", shown) == [
        ("#" * 10 + "." * 20, "1"),
        ("#" * 20 + "." * 10, "2"),
        ("#" * 30, "3"),
    ]
    assert shown.endswith("\r\x1b[K")
    assert on_stderr("0") == ""


def test_no_bar_goes_where_nobody_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("counting") as tell:
        assert tell is None
    assert capsys.readouterr() == ("", "")
