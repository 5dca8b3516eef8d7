"""Programs run under stock ``opentelemetry-instrument``, with nothing but the environment to tell them what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.types import Cassette

__all__ = ["cassettes", "instrumented", "plain", "started"]

_QUIET = {
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_TRACES_EXPORTER": "none",
    # What these programs do not use takes most of their start.
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "aiohttp-client,fastapi,redis,requests,sqlalchemy",
}


def instrumented(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``opentelemetry-instrument python -c CODE``."""
    script = Path(sys.executable).with_name("opentelemetry-instrument")
    return _run([str(script), sys.executable, "-c", textwrap.dedent(code)], environment)


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


def cassettes(folder: Path) -> list[Cassette]:
    """Every cassette of a folder, oldest first."""
    return [read_cassette(stored.path) for stored in CassetteStore(folder).list()]


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **_QUIET, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
