"""The benchmarks run and measure every subject; what they measured is nobody's business here."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("module", "rows"), [("stand_ins.py", 6), ("sessions.py", 3)])
def test_what_is_opened_and_replayed_is_measured(module: str, rows: int) -> None:
    """Each kind has a row, and the answers of a replay and of its stand-in were the same."""
    command = [sys.executable, str(BENCHMARKS / module), "--rounds", "2", "--time-only"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    measured, goals = done.stdout.split("| goal |")
    assert len([line for line in measured.splitlines() if line.startswith("| ")]) == rows + 2, done.stdout
    assert goals.count("| at most ") == rows
    assert "The aim is" in done.stdout


def _run(script: str, *options: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_every_subject_of_every_library_answers_as_the_server_does() -> None:
    text = _run("compare.py", "--rounds", "1", "--warm-up", "0", "--sizes", "300 B")
    rows = [line for line in text.splitlines() if line.startswith("| timetracer-otel ")]
    # Six ways of five libraries, each recorded and replayed, with OpenTelemetry and without.
    assert len(rows) == 24
    assert all(row.endswith("| none |") for row in rows), text
    # aiohttp's stand-in is in the environment of the other packages.
    assert [text.count(name) for name in ("\n| httpx.MockTransport", "| responses", "| sqlite", "| fakeredis")] == [
        2,
        1,
        1,
        1,
    ]
    assert "replay against MockTransport: httpx, 300 B" in text
    assert str(Path.home()) not in text


@pytest.mark.timeout(300)
def test_a_loaded_service_has_a_recording_of_each_request() -> None:
    text = _run("under_load.py", "--slices", "2", "--seconds", "0.5")
    traced, recorded = ([cell.strip() for cell in line.split("|")] for line in text.splitlines() if "| OTel" in line)
    assert traced[-2] == "0"
    assert recorded[-2] == recorded[-3] != "0"
    assert "loaded service, throughput, recorded against OTel alone" in text


@pytest.mark.timeout(300)
def test_long_cassettes_and_starts_are_measured() -> None:
    rows = [
        line.split("|")
        for line in _run("growth.py", "--events", "20", "40").splitlines()
        if "timetracer-otel" in line
    ]
    assert [row[1].strip() for row in rows] == ["20", "40"]
    assert all(cell.strip() for row in rows for cell in row[3:-1])
    text = _run("startup.py", "--imports", "1", "--starts", "1")
    assert text.count("| OTel") == 2


def test_a_run_writes_its_goals_as_text_data_and_picture(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- Written by `make bench`. -->\nold\n<!-- Until here. -->\nBehind.\n", "utf-8")
    _run("bench.py", "--small", "--only", "sessions", "--folder", str(tmp_path), "--docs", str(page))
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    goals = found["goals"]
    assert len(goals) == 3
    assert all(goal["met"] == (goal["figure"] <= goal["bound"]) for goal in goals)
    text = (tmp_path / "results.md").read_text("utf-8")
    assert f"## Goals: {sum(goal['met'] for goal in goals)} of 3 met" in text
    # Once, in the table at the top.
    assert [text.count(goal["name"]) for goal in goals] == [1, 1, 1]
    told = page.read_text("utf-8")
    assert told.startswith("Before.\n")
    assert told.endswith("\nBehind.\n")
    assert "old" not in told
    assert [told.count(goal["name"]) for goal in goals] == [1, 1, 1]
    assert "No calls were measured." in (tmp_path / "costs.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("unlike", "disk_bytes", "says"),
    [(0, 700, "2.50 x"), (3, 700, "no right answer"), (0, 0, "records nothing")],
)
def test_the_picture_has_a_bar_only_for_what_was_done(
    tmp_path: Path, unlike: int, disk_bytes: int, says: str
) -> None:
    subject = {"sizes": {"300 B": {"whole_of_bare": 2.5, "disk_bytes": disk_bytes}}, "unlike": {"300 B": unlike}}
    found = {"parts": {"compare": {"calls": {"a <library>": {"vcrpy records": subject}}}}}
    results, made = tmp_path / "results.json", tmp_path / "costs.svg"
    results.write_text(json.dumps(found), "utf-8")
    _run("picture.py", str(results), str(made))
    text = made.read_text("utf-8")
    root = ET.fromstring(text)
    written = ["".join(part.itertext()) for part in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <library>" in written
    assert written.count(says) == 1
    bars = [part for part in root.iter("{http://www.w3.org/2000/svg}rect") if part.get("class") == "other"]
    assert len(bars) == (says == "2.50 x")
    assert "prefers-color-scheme: dark" in text


def test_the_cost_of_recording_says_what_could_not_be_counted(tmp_path: Path) -> None:
    # A folder without valgrind.
    text = _run("recording.py", "--rounds", "2", environment={"PATH": str(tmp_path)})
    assert "JSON body of 1 MB" in text
    assert "No instructions were counted: that needs valgrind." in text


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


def test_figures_of_another_release_of_a_package_fail_nothing(tmp_path: Path) -> None:
    (tmp_path / "valgrind").touch(mode=0o755)
    path = tmp_path / "instructions.json"
    sys.path.append(str(BENCHMARKS))
    try:
        quick = importlib.import_module("quick")
    finally:
        sys.path.remove(str(BENCHMARKS))
    packages = {name: version(name) for name in quick.PACKAGES} | {"redis": "1.0"}
    path.write_text(json.dumps({"python": quick.interpreter(), "packages": packages, "instructions": {}}), "utf-8")
    done = _quick("--committed", str(path), path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    here = f"Nothing was compared: the figures are of redis 1.0, and this is {version('redis')}."
    assert done.stdout.strip() == here
