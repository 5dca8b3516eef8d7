"""Serves many requests in one process under ``opentelemetry-instrument`` and looks at the memory that takes.

``make suite-memory`` calls it with 100,000, or with what ``MEMORY_REQUESTS`` says. Ends with an error
where memory goes on growing, where a session stays behind, or where a request has no cassette.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.loopback import Loopback  # noqa: E402 - the project is no package of the environment

__all__ = ["faults_of", "measured"]

Window = dict[str, Any]

GROWTH_KB = 8 * 1024
"""How much the process may grow behind the warm-up: caches of known size fill, and allocators are never quite flat.

One session that stays behind takes more than 40 KiB, with the bodies that the program sends and gets.
"""


def measured(requests: int, windows: int) -> list[Window]:
    """What the program tells after each window."""
    told: list[Window] = []
    with Loopback() as upstream, tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("opentelemetry-instrument")),
            *(sys.executable, "-m", "tests.suite_memory.program", str(requests), str(windows)),
        ]
        environment = {
            **os.environ,
            "UPSTREAM": upstream.url,
            "TIMETRACER_MODE": "record",
            "TIMETRACER_DIR": folder,
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
            # Many arenas make memory look larger than it is.
            "MALLOC_ARENA_MAX": "2",
        }
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(json.loads(line))
                print(line, end="", file=sys.stderr, flush=True)
        if process.returncode:
            raise SystemExit(f"the program ended with {process.returncode}")
    return told


def faults_of(told: list[Window]) -> list[str]:
    """What is wrong with what was measured; the first fifth is the warm-up."""
    faults: list[str] = []
    warm = told[max(len(told) // 5, 1) - 1]
    growth_kb = told[-1]["rss_kb"] - warm["rss_kb"]
    served = told[-1]["requests"] - warm["requests"]
    if growth_kb > GROWTH_KB:
        faults.append(f"grew by {growth_kb} KiB in {served} requests, {growth_kb * 1024 // served} bytes for each")
    for window in told:
        where = f"after {window['requests']} requests"
        # That of the process, and the first request's: the executor's threads were started in it.
        if window["sessions"] > 2 or window["live_spans"] or window["open"]:
            faults.append(f"{where}: {window['sessions']} sessions, {window['live_spans']} live spans")
        if window["lost"]:
            faults.append(f"{where}: {window['lost']}")
    cassettes = sum(window["cassettes"] for window in told)
    if cassettes != told[-1]["requests"]:
        faults.append(f"{cassettes} cassettes of {told[-1]['requests']} requests")
    return faults


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--windows", type=int, default=50)
    arguments = parser.parse_args()
    told = measured(arguments.requests, arguments.windows)
    faults = faults_of(told)
    print(f"{told[-1]['requests']} requests, {told[0]['rss_kb']} KiB at first, {told[-1]['rss_kb']} KiB at last")
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
