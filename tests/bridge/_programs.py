"""Programs run under stock ``opentelemetry-instrument``, with nothing but the environment to tell them what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.types import Cassette

__all__ = ["cassettes", "forks", "instrumented", "plain", "started", "web_probe"]

_ROOT = Path(__file__).parents[2]
_QUIET = {
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_TRACES_EXPORTER": "none",
    # What these programs do not use takes most of their start.
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "aiohttp-client,fastapi,redis,requests,sqlalchemy",
}


def instrumented(code: str, cwd: Path | None = None, /, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``opentelemetry-instrument python -c CODE``, in this folder or another one."""
    script = Path(sys.executable).with_name("opentelemetry-instrument")
    return _run([str(script), sys.executable, "-c", textwrap.dedent(code)], environment, cwd)


def plain(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``python -c CODE``."""
    return _run([sys.executable, "-c", textwrap.dedent(code)], environment)


def started(code: str, **environment: str) -> subprocess.Popen[str]:
    """Start code as ``opentelemetry-instrument python -c CODE`` and leave it running, its output in a pipe."""
    script = Path(sys.executable).with_name("opentelemetry-instrument")
    return subprocess.Popen(
        [str(script), sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **_QUIET, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def web_probe(app: str, tracing: str, upstream: str, **environment: str) -> tuple[Any, str]:
    """Serve an app of `_web_apps` and send it its requests, in a process: what that told, and what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bridge._web_probe", app, tracing],
        env={**os.environ, "UPSTREAM": upstream, "PYTHONPATH": str(_ROOT), **environment},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
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


def _run(
    command: list[str], environment: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **_QUIET, **environment}
    if cwd is not None and "PYTHONPATH" in env:
        # Its relative entries are meant from here.
        env["PYTHONPATH"] = os.pathsep.join(
            str(Path(entry).absolute()) for entry in env["PYTHONPATH"].split(os.pathsep)
        )
    return subprocess.run(
        command,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
