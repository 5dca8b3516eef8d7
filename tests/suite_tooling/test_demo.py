"""The demo does what it says, and leaves nothing running."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.children import ROOT
from tests.cli.terminal import on_terminal, without_colour
from timetracer_otel.cassette import read_cassette

DEMO = Path(__file__).parents[2] / "docs" / "demo"

KEEPS_A_SERVER = """
import sys, time
from pathlib import Path
from processes import Children, clean_environment, free_ports
with Children(Path(sys.argv[1])) as children:
    port, = free_ports(1)
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    children.start("server", command, clean_environment(), port)
    children.wait_until_listening("server")
    print(port, flush=True)
    time.sleep(60)
"""


@pytest.mark.timeout(300)
def test_every_replayed_answer_equals_the_recorded_one(tmp_path: Path) -> None:
    colourful = on_terminal([sys.executable, str(DEMO / "run.py"), "--dir", str(tmp_path)], os.environ, ROOT, 118)
    printed = without_colour(colourful)
    assert "8 of 8 answers are EQUAL" in printed
    assert "DIFFERENT" not in printed
    assert colourful.count("\x1b[32mEQUAL") == 9
    assert re.search(r"^  8 passed(, \d+ left out)? in ", printed, re.MULTILINE), printed
    assert printed.count("\n") < 65, "it is longer than a screen or two"
    tried = re.findall(r"^  \$ (\S*/timetracer-otel .*)$", printed.partition("== Try next")[2], re.MULTILINE)
    ended = [
        subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, check=False).returncode for line in tried
    ]
    assert [line.split()[1] for line in tried] == ["list", "diff", "reproduce"]
    assert ended == [0, 1, 0]
    cassettes = [read_cassette(path) for path in tmp_path.rglob("*.msgpack")]
    libraries = [{event.signature.lib for event in cassette.events} for cassette in cassettes]
    assert libraries.count({"httpx", "aiohttp", "sqlalchemy", "redis"}) == 2


def test_cassettes_of_somebody_else_stay(tmp_path: Path) -> None:
    (tmp_path / "cassettes").mkdir()
    command = [sys.executable, str(DEMO / "run.py"), "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "name another --dir" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "cassettes"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_children_end_however_the_demo_ends(tmp_path: Path, number: signal.Signals) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPS_A_SERVER, str(tmp_path)],
        cwd=DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    port = int(keeper.stdout.readline())
    keeper.send_signal(number)
    keeper.communicate(timeout=20)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the child still serves")


def test_a_service_that_dies_ends_the_demo_with_its_output(tmp_path: Path) -> None:
    code = KEEPS_A_SERVER.replace('"http.server"', '"no_such_module"')
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=DEMO,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert "server ended with code 1" in done.stderr
    assert "no_such_module" in done.stderr
