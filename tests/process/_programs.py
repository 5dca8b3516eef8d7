"""Programs run as ``opentelemetry-instrument`` runs them, with only the environment to tell them what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.children import ROOT, environment, instrument, instrumented_path, uses
from tests.forks import run as run_python
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.types import Cassette

__all__ = ["by_script", "cassettes", "forks", "instrumented", "plain", "started", "web_probe"]

_WEB = {"django", "fastapi", "flask", "httpx", "starlette"}
"""What is disabled is not recorded either. These programs start no instrumentation but the one they are told to."""
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def instrumented(code: str, cwd: Path | None = None, /, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``opentelemetry-instrument python -c CODE`` does, in this folder or another one.

    The instrumentations of what the code imports are there; one that a test names as disabled is not.
    """
    return run_python("-c", textwrap.dedent(code), env=_instrumented(_environment(code, changes), cwd), cwd=cwd)


def by_script(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``opentelemetry-instrument python -c CODE``, for what the script does itself: to look for flags."""
    return subprocess.run(
        instrument(sys.executable, "-c", textwrap.dedent(code)),
        env=_environment(code, changes),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def plain(code: str, /, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``python -c CODE ARGUMENTS``."""
    return run_python("-c", textwrap.dedent(code), *arguments, env=_environment(code, changes))


def started(code: str, **changes: str) -> subprocess.Popen[str]:
    """Start code as ``opentelemetry-instrument python -c CODE`` does and leave it running, its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=_instrumented(_environment(code, changes)),
        stdout=subprocess.PIPE,
        text=True,
    )


def web_probe(app: str, tracing: str, upstream: str, **changes: str) -> tuple[Any, str]:
    """Serve an app of `_web_apps` and send it its requests, in a process: what that told, and what it logged."""
    done = run_python(
        *("-W", "ignore", "-m", "tests.process._web_probe", app, tracing),
        env=environment(_WEB, UPSTREAM=upstream, PYTHONPATH=str(ROOT), **changes),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "timetracer-otel: fault" not in done.stderr, done.stderr
    return json.loads(done.stdout), done.stderr


def forks(url: str) -> str:
    """A program that asks for one user before it forks, and for another one in each process behind it."""
    return f"""
        import os, httpx
        httpx.get("{url}/users/1")
        child = os.fork()
        httpx.get("{url}/users/{{}}".format(2 if child else 3))
        if child:
            os.waitpid(child, 0)
    """


def cassettes(folder: Path) -> list[Cassette]:
    """Every cassette of a folder, oldest first."""
    return [read_cassette(stored.path) for stored in CassetteStore(folder).list()]


def _environment(code: str, changes: dict[str, str]) -> dict[str, str]:
    env = environment(uses(code), **{"OTEL_TRACES_EXPORTER": "none", **changes})
    if changes.get(_DISABLED, "*") != "*":
        env[_DISABLED] += "," + environment(uses(code))[_DISABLED]
    return env


def _instrumented(env: dict[str, str], cwd: Path | None = None) -> dict[str, str]:
    python_path = env.get("PYTHONPATH")
    if python_path and cwd is not None:
        # Its relative entries are meant from here.
        python_path = os.pathsep.join(str(Path(entry).absolute()) for entry in python_path.split(os.pathsep))
    return {**env, "PYTHONPATH": instrumented_path(python_path, (cwd or Path()).absolute())}
