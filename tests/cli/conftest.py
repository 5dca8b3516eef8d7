"""The installed command, run as its users run it."""

from __future__ import annotations

import itertools
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
    """``run("list", "--dir", "x", TIMETRACER_MODE="record")`` in ``tmp_path``.

    The program that it starts as ``python`` is forked, as the command is. A ``PATH`` that the test gives stays.
    """
    paths = itertools.count()

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        env = command_environment(**changes)
        if "python" in arguments and "PATH" not in changes:
            # Not one folder for all: each has the next of two hash seeds.
            env["PATH"] = forks.on_path(tmp_path.with_name(f"{tmp_path.name}-commands-{next(paths)}")) + env["PATH"]
        return forks.run(SCRIPT, *arguments, env=env, cwd=tmp_path, loaded="tool")

    return run


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server
