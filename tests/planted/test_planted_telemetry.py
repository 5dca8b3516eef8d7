"""What we add to spans and metrics has no secret, nor has what is left of a process that is killed.

What OpenTelemetry's instrumentations make of a call (its URL, its statement, the client's error) is theirs.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.children import ROOT, environment, instrumented_path
from tests.planted.http_places import Upstream
from tests.planted.plugin_places import CALLS
from tests.planted.test_planted_reports import files_in, found_in


class Process:
    """Runs `telemetry`, each time with other secrets.

    Args:
        folder: Where the cassettes go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._first = folder, -100
        self.upstream = Upstream()
        self.upstream.fails("/missing")

    def run(self, mode: str, *how: str, code: int = 0, **settings: str) -> tuple[list[dict[str, Any]], str]:
        """The spans that it exports, and its log with its metrics."""
        self._first += 100
        spans = self.folder / f"spans-{self._first}"
        done = forks.run(
            *("-m", "tests.planted.telemetry", str(spans), *how),
            env=environment(
                {"httpx", "requests", "sqlalchemy"},
                PYTHONPATH=instrumented_path(str(ROOT), self.folder),
                PLANTED_FIRST=str(self._first),
                PLANTED_URL=self.upstream.url,
                TIMETRACER_MODE=mode,
                TIMETRACER_DIR=str(self.folder / "cassettes"),
                TIMETRACER_LOG_LEVEL="debug",
                TIMETRACER_JOURNAL_S="0.1",
                OTEL_TRACES_EXPORTER="none",
                OTEL_METRICS_EXPORTER="console",
                **settings,
            ),
            cwd=self.folder,
        )
        assert done.returncode == code, done.stderr[-3000:]
        if code:
            return [], done.stdout + done.stderr
        return json.loads(spans.read_text()), done.stdout + done.stderr


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def ours(span: dict[str, Any]) -> bytes:
    """What stands on a span by our doing: our attributes, and the errors of a replay."""
    attributes = {name: value for name, value in span["attributes"].items() if "timetracer" in name}
    events = [event for event in span["events"] if "timetracer" in str(event["attributes"].get("exception.type"))]
    missed = "ReplayMismatchError" in str(span["status"])
    return json.dumps([span["name"], attributes, events, span["status"] if missed else None]).encode()


def test_no_secret_is_in_what_we_add_to_telemetry(process: Process) -> None:
    recorded, log = process.run("record")
    assert "timetracer.cassettes.written" in log
    assert found_in(b"".join(map(ours, recorded)) + log.encode()) == []
    assert found_in(files_in(process.folder / "cassettes")) == []
    replayed, log = process.run("replay", TIMETRACER_CASSETTE=str(process.folder / "cassettes"))
    assert b"".join(map(ours, replayed)).count(b"No recorded call matches") >= len(CALLS)
    assert found_in(b"".join(map(ours, replayed)) + log.encode()) == []


def test_no_secret_is_in_what_is_left_of_a_process_that_is_killed(process: Process) -> None:
    _, log = process.run("record", "kill", code=-signal.SIGKILL)
    left = [path for path in (process.folder / "cassettes").rglob("*") if path.is_file()]
    assert any(".part" in path.name for path in left), left
    assert any(path.name.startswith("process") for path in left), left
    assert found_in(files_in(process.folder / "cassettes") + log.encode()) == []
