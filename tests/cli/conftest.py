"""The installed command, run as its users run it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forks
from tests.children import ROOT, environment, script
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


@pytest.fixture(scope="session")
def recorded_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cassettes``, as ``record`` writes them: four requests, and what the process did at its start.

    Nobody may change it.
    """
    folder = tmp_path_factory.mktemp("shop")
    with Loopback() as server:
        program = ["python", "-m", "tests.cli._shop", server.url, str(folder / "shop.db")]
        env = environment({"fastapi", "httpx", "sqlite3"}, PYTHONPATH=str(ROOT))
        done = forks.run(
            *(SCRIPT, "record", "--dir", str(folder / "cassettes"), "--service", "shop", "--", *program),
            env=env,
            cwd=folder,
            loaded="tool",
        )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def shop(recorded_shop: Path, tmp_path: Path) -> Path:
    """A copy of these cassettes, in the folder that `run` works in."""
    return Path(shutil.copytree(recorded_shop / "cassettes", tmp_path / "cassettes"))
