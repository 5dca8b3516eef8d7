"""Apps of each web framework under the replay of a folder: their clients see the same, with the upstream gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bridge._web_probe import REQUESTS
from tests.loopback import Loopback

ROOT = Path(__file__).parents[2]
RUNS = [
    ("starlette", "outside"),
    ("fastapi", "framework"),
    ("flask", "framework"),
    ("django-wsgi", "none"),
    ("django-asgi", "unsampled"),
]


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def probe(app: str, tracing: str, upstream: str, **environment: str) -> tuple[list[dict[str, Any]], str]:
    """What the clients of an app saw, and what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bridge._web_probe", app, tracing],
        env={**os.environ, "UPSTREAM": upstream, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "timetracer-otel: fault" not in done.stderr, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found, done.stderr


@pytest.mark.parametrize(("app", "tracing"), RUNS)
def test_every_request_is_answered_from_its_own_cassette(
    upstream: Loopback, tmp_path: Path, app: str, tracing: str
) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    settings = {"TIMETRACER_DIR": str(folder), "TIMETRACER_EXCLUDE_PATHS": "/none"}
    recorded, _ = probe(app, tracing, upstream.url, TIMETRACER_MODE="record", **settings)
    upstream.stop()
    replayed, log = probe(
        app,
        tracing,
        upstream.url,
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(folder),
        TIMETRACER_REPLAY_REPORT=str(report),
    )
    assert replayed == recorded
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    lines = [line for line in lines if line["state"] == "ended"]
    assert len(lines) == len(REQUESTS)
    assert sorted({line["cassette"] for line in lines}) == sorted(map(str, folder.rglob("*.msgpack")))
    assert [line for line in lines if line["misses"] or line["unused"] or line["live"]] == [], log
