"""The benchmarks run and measure every subject; what they measured is nobody's business here."""

from __future__ import annotations

import json
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


def _quick(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "quick.py"), *options],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, **({} if path is None else {"PATH": path})},
    )


@pytest.mark.timeout(600)
def test_a_figure_that_is_worse_than_the_committed_one_fails_and_is_named(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        assert "needs valgrind" in _quick().stdout
        return
    path = tmp_path / "instructions.json"
    options = ["--only", "outside sessions", "--committed", str(path)]
    written = _quick(*options, "--write")
    assert written.returncode == 0, written.stderr
    right = json.loads(path.read_text("utf-8"))
    worse, better = right["instructions"]
    same = _quick(*options)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "No figure is more than 10% worse." in same.stdout
    assert "better" not in same.stdout
    before = {worse: right["instructions"][worse] * 0.8, better: right["instructions"][better] * 1.25}
    path.write_text(json.dumps({**right, "instructions": before}), "utf-8")
    failed = _quick(*options)
    assert failed.returncode == 1, failed.stderr
    _, said_better, said_worse = failed.stdout.rsplit("\n\n", 2)
    assert said_better.startswith("More than 10% better")
    assert f"  {better}: " in said_better
    assert f"{worse}: " not in said_better
    assert said_worse.startswith("More than 10% worse:")
    assert f"  {worse}: " in said_worse
    assert (
        f"committed {before[worse]:,.0f}, +25." in said_worse or f"committed {before[worse]:,.0f}, +24." in said_worse
    )


@pytest.mark.parametrize("has_valgrind", [False, True])
def test_figures_that_cannot_be_compared_fail_nothing(tmp_path: Path, has_valgrind: bool) -> None:
    if has_valgrind:
        (tmp_path / "valgrind").touch(mode=0o755)
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps({"python": "CPython 3.1", "packages": {}, "instructions": {}}), "utf-8")
    done = _quick("--committed", str(path), path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    says = "the figures are of CPython 3.1, and this is " if has_valgrind else "counting instructions needs valgrind."
    assert done.stdout.startswith(f"Nothing was compared: {says}")
