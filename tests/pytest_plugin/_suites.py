"""Runs the suites that the tests of the pytest plugin write, each in a process of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from _pytest.pathlib import make_numbered_dir

from tests import forks

__all__ = ["run"]

_PLUGINS = {
    "asyncio": ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function"),
    "anyio": ("-p", "anyio.pytest_plugin"),
    "aiohttp": ("-p", "aiohttp.pytest_plugin"),
    "django": ("-p", "pytest_django.plugin"),
    "xdist": ("-p", "xdist.plugin"),
}


def run(pytester: pytest.Pytester, *arguments: str, runner: str | None = None) -> pytest.RunResult:
    """The tests of the folder, with our plugin and those that the run needs.

    Every other plugin that is installed takes longer to load than most of these runs take; `_no_other_plugins` of the
    conftest keeps them away. One test lets pytest find ours by itself, as it does for users.

    Args:
        pytester: Has the folder.
        arguments: For pytest. With ``-n`` among them pytest-xdist is there.
        runner: What runs the async tests: ``asyncio`` (pytest-asyncio), ``anyio`` or ``aiohttp``; or those of Django.
    """
    needed = [*(["xdist"] if "-n" in arguments else []), *([runner] if runner else [])]
    loaded = [word for name in needed for word in _PLUGINS[name]]
    ours = ("-p", "timetracer_otel.pytest_plugin", "-p", "no:cacheprovider")
    return run_pytest(pytester, *ours, *loaded, *arguments)


def run_pytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """What `pytester.runpytest_subprocess` does, by a fork of a Python that has pytest and us loaded."""
    folder = make_numbered_dir(pytester.path, "runpytest-", 0o700)
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    # The processes of pytest-xdist are forks as well.
    added, environment = forks.forked_workers(path) if "-n" in arguments else ([], {})
    began = time.perf_counter()
    done = forks.run(
        *("-m", "pytest", f"--basetemp={folder}", *added, *arguments),
        env={**os.environ, "PYTHONPATH": path, **environment},
        loaded="tool",
    )
    print(done.stdout, done.stderr, sep="")
    return pytest.RunResult(
        done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), time.perf_counter() - began
    )
