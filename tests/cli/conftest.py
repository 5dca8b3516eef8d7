"""The installed command, run as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = Path(sys.executable).with_name("timetracer-otel")


def command_environment(**changes: str) -> dict[str, str]:
    """What a test's own environment leaves of settings, plus ``changes``."""
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LANG", "LC_ALL"}}
    return {**kept, "PYTHONIOENCODING": "utf-8", **changes}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run("list", "--dir", "x", TIMETRACER_MODE="record")`` in ``tmp_path``."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), *arguments],
            cwd=tmp_path,
            env=command_environment(**changes),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
        )

    return run


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server
