"""The benchmarks of long recordings measure each kind and each step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _printed(module: str, *options: str) -> list[str]:
    command = [sys.executable, str(BENCHMARKS / module), "--rounds", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(300)
def test_cassettes_of_each_kind_and_a_folder_are_loaded() -> None:
    lines = _printed("loading.py", "--events", "1200")
    rows = [line for line in lines if line.startswith(("| GET,", "| the same,", "| POST,", "| Redis GET,"))]
    assert len(rows) == 4
    assert any(line.startswith("| 1,200 |") for line in lines)
    goals = lines[lines.index("| goal | figure | wanted | |") + 2 :]
    assert len(goals) == 6


@pytest.mark.timeout(300)
def test_each_step_has_a_goal() -> None:
    lines = _printed("steps.py", "--sizes", "400", "500")
    at = lines.index("| goal | figure | wanted | |")
    steps = [line for line in lines[2:at] if line.startswith("| ")]
    assert len(lines[at + 2 :]) == len(steps) > 20
