"""The installed command, run as its users run it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forks
from tests.children import environment, script
from tests.loopback import Loopback

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = script("timetracer-otel")


def command_environment(**changes: str) -> dict[str, str]:
    """What a test's own environment leaves of settings, plus ``changes``. The programs use httpx, if any library."""
    return environment({"httpx"}, **changes)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run("list", "--dir", "x", TIMETRACER_MODE="record")`` in ``tmp_path``."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return forks.run(SCRIPT, *arguments, env=command_environment(**changes), cwd=tmp_path, loaded="tool")

    return run


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server
