"""A process of pytest-xdist sends the reports that say something, and all where a run lists times."""

from __future__ import annotations

import os

import pytest

from tests import forks
from tests.children import ROOT

pytest_plugins = ["pytester"]

CONFTEST = """
import os
from tests.conftest import pytest_sessionstart

def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with open("reports", "a") as file:
            print(report.head_line, report.when, report.outcome, file=file)
"""
SUITE = """
import pytest

@pytest.fixture
def speaks():
    yield
    print("said at the end")

@pytest.fixture
def fails():
    yield
    print("said before it failed")
    assert 0

def test_passes(): ...
def test_speaks(speaks): ...
def test_fails(): assert 0
def test_is_skipped(): pytest.skip("why")
def test_ends_badly(fails): ...
@pytest.mark.skipif(True, reason="why")
def test_is_not_set_up(): ...
"""
READ = [
    "test_ends_badly call passed",
    "test_ends_badly teardown failed",
    "test_fails call failed",
    "test_is_not_set_up setup skipped",
    "test_is_skipped call skipped",
    "test_passes call passed",
    "test_speaks call passed",
    "test_speaks teardown passed",
]


@pytest.mark.parametrize("listed", [False, True], ids=["by default", "with times"])
def test_only_reports_that_say_nothing_are_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    added, environment = forks.forked_workers(str(ROOT))
    done = forks.run(
        *("-m", "pytest", *added, "-p", "xdist.plugin", "-n", "1", *(["--durations", "9"] if listed else [])),
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=pytester.path,
        loaded="tool",
    )
    assert "1 failed, 3 passed, 2 skipped, 1 error" in done.stdout, done.stdout + done.stderr
    assert "said before it failed" in done.stdout
    reports = sorted((pytester.path / "reports").read_text().splitlines())
    assert [report for report in reports if report in READ] == READ
    assert len(reports) == (17 if listed else len(READ))
