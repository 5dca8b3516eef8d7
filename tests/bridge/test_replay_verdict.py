"""What a process that replays says at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sample_cassettes import checkout
from timetracer_otel.cassette import save_cassette

APP = """
import socket
import httpx
from timetracer_otel.bridge import load_plugins, runtime

for plugin in load_plugins():
    plugin.activate()
runtime().start_from_environment()
for connect in (lambda: httpx.get("http://127.0.0.1:9/nowhere"), lambda: socket.create_connection(("127.0.0.1", 9))):
    try:
        connect()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("blocked", [False, True])
def test_a_process_counts_what_was_missed(tmp_path: Path, blocked: bool) -> None:
    path = tmp_path / "checkout.msgpack"
    save_cassette(checkout(), path)
    settings = {"MODE": "replay", "CASSETTE": str(path), "BLOCK_NETWORK": str(blocked)}
    names = {f"TIMETRACER_{name}": value for name, value in settings.items()}
    done = subprocess.run([sys.executable, "-c", APP], env={**os.environ, **names}, capture_output=True, text=True)
    assert done.stdout.split() == [
        "ReplayMismatchError",
        "NetworkBlockedError" if blocked else "ConnectionRefusedError",
    ]
    more = ", 1 blocked" if blocked else ""
    (line,) = [line for line in done.stderr.splitlines() if "replay of" in line]
    assert line == f"timetracer-otel: replay of {path}: 0 hit, 1 missed, 4 unused, 0 live{more}"
