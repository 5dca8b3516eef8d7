"""The benchmarks run and measure every subject; what they measured is nobody's business here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("module", "rows"), [("stand_ins.py", 6), ("sessions.py", 3)])
def test_what_is_opened_and_replayed_is_measured(module: str, rows: int) -> None:
    """Each kind has a row, and the answers of a replay and of its stand-in were the same."""
    command = [sys.executable, str(BENCHMARKS / module), "--rounds", "2", "--time-only"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    measured = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(measured) == rows + 2, done.stdout
    assert "The aim is" in done.stdout


@pytest.mark.timeout(300)
def test_the_benchmark_measures_every_subject(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--rounds", "2", "--warm-up", "1", "--of-each", "2"]
    done = subprocess.run(
        [*command, "--imports", "1", "--starts-of-made-calls", "2", "--write", str(results)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = results.read_text("utf-8")
    assert text == done.stdout
    rows = [line for line in text.splitlines() if line.startswith("| timetracer-otel ")]
    assert len(rows) == 8
    assert all(row.endswith("| none |") for row in rows)
    assert str(Path.home()) not in text


def test_the_cost_of_recording_says_what_could_not_be_counted(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "recording.py"), "--rounds", "2"]
    # A folder without valgrind.
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "JSON body of 1 MB" in done.stdout
    assert "No instructions were counted: that needs valgrind." in done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("counts", [False, True], ids=["time", "instructions"])
def test_the_benchmark_of_calls_outside_sessions_says_who_misses_the_aim(counts: bool) -> None:
    clients = ["SELECT 1, sqlite"] if counts else ["requests", "Redis GET", "SELECT 1, sqlite"]
    options = [word for client in clients for word in ("--client", client)] + ["--calls", "2"]
    by_valgrind = counts and shutil.which("valgrind") is not None
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "idle.py"), *options, *([] if counts else ["--time-only"])],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.partition("\n\n")[0].splitlines()
    assert ("instructions" in head) is by_valgrind
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == clients
    costs = [cells[at] for cells in (row.split(" | ") for row in rows) for at in (1, 2, 4)]
    assert all(int(cost.replace(",", "")) > 1000 for cost in costs)
    assert "The aim is 2% more at most. Missed: " in done.stdout
    assert "Left out" not in done.stdout
