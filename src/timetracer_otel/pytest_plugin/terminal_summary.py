"""The plugin's part of pytest's summary: recorded calls that were not made, and cassettes that no test used."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from timetracer_otel.base.printable import printable
from timetracer_otel.match.advice import Wording
from timetracer_otel.pytest_plugin.sessions import CASSETTE, REWRITTEN, RULES, UNUSED
from timetracer_otel.pytest_plugin.wide_sessions import SHARED

__all__ = ["Orphans", "orphans_of", "write_summary"]

_SELECTING = (
    *("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "stepwise_skip"),
    *("collectonly", "setupplan"),
)
"""The options of pytest, by their internal names, that make a run leave out some tests of the named files."""


class Orphans(NamedTuple):
    """Cassettes that no test used, and whether some tests that may use them did not run."""

    paths: list[Path]
    incomplete: bool

    @property
    def fail_the_run(self) -> bool:
        """Whether there are orphans, and all tests that may use them ran."""
        return bool(self.paths) and not self.incomplete


def orphans_of(config: pytest.Config) -> Orphans:
    """The cassettes in the folders of this run's tests that no test of it used."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    used = {Path(os.path.realpath(path)) for _, path in _properties(reporter, CASSETTE)}
    folders = {path.parent for path in used if config.rootpath in path.parents}
    named = config.getini("timetracer_cassette_dir")
    if named:
        folders.add(config.rootpath / named)
    else:
        for argument in config.args:
            here = config.invocation_params.dir / argument.partition("::")[0]
            folders.update(path for path in (here if here.is_dir() else here.parent).rglob("cassettes"))
    found = {Path(os.path.realpath(path)) for folder in folders for path in folder.rglob("*.msgpack*")}
    orphans = sorted(found - used)
    stats = reporter.stats if reporter is not None else {}
    incomplete = any(stats.get(kind) for kind in ("deselected", "skipped", "failed", "error", "xfailed"))
    # Workers of pytest-xdist do not report which tests were deselected, so the options are looked at as well.
    incomplete = incomplete or any(config.getoption(option, None) for option in _SELECTING)
    return Orphans(orphans, incomplete or not _covered(config, orphans))


def _covered(config: pytest.Config, orphans: list[Path]) -> bool:
    """Whether the arguments of the run cover every test that may use these cassettes."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        return True
    root = config.rootpath
    # With `glob.glob`, as pytest does it. `Path.glob` takes neither "." nor an absolute path.
    patterns = [str(root / path) for path in config.getini("testpaths")]
    suite = [Path(path) for pattern in patterns for path in glob(pattern, recursive=True)]  # noqa: PTH207
    given = [Path(os.path.realpath(config.invocation_params.dir / argument)) for argument in config.args]

    def inside(path: Path) -> bool:
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(one) for one in given)

    if all(map(inside, suite or [root])):
        return True
    # Cassettes beside their test files need only those files. A folder that all share needs the whole suite.
    return not config.getini("timetracer_cassette_dir") and all(map(inside, orphans))


def write_summary(reporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the section of this plugin, if there are such calls or cassettes."""
    lines = []
    for test, call in dict.fromkeys(_properties(reporter, UNUSED)):
        lines.append(f"{test}: recorded, but not called: {call}")
    lines += _unused_of_many(reporter, config)
    for _, text in dict.fromkeys(_properties(reporter, REWRITTEN)):
        lines += text.splitlines()
    advised = dict.fromkeys(value for _, value in _properties(reporter, RULES))
    rules = dict.fromkeys(rule for value in advised for rule in value.splitlines())
    if len(advised) > 1:  # else the miss itself has said it
        lines.append(
            f"to leave out the values that change from run to run, of all tests: {Wording().ignoring(rules)}"
        )
    if config.getoption("--timetracer-orphans"):
        orphans = orphans_of(config)
        lines += [f"no test used {os.path.relpath(path, config.rootpath)}" for path in orphans.paths]
        if orphans.paths and orphans.incomplete:
            lines.append("not every test ran: those that did not may use some of these cassettes")
    if lines:
        reporter.section("timetracer")
        for line in lines:
            reporter.line(printable(line))


def _unused_of_many(reporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[str]:
    """Lines: recorded calls of cassettes of many tests that no process made, where all of these tests ran."""
    stats = reporter.stats
    left_out = any(stats.get(kind) for kind in ("deselected", "skipped", "failed", "error", "xfailed"))
    if (
        left_out
        or any(config.getoption(option, None) for option in _SELECTING)
        or any("::" in a for a in config.args)
    ):
        return
    by_path: dict[str, list[dict[str, Any]]] = {}
    for _, value in _properties(reporter, SHARED):
        said = json.loads(value)
        by_path.setdefault(said["path"], []).append(said)
    for path, processes in by_path.items():
        made: Counter[str] = Counter()
        for each in processes:
            made.update(each["made"])
        first, *others = processes
        recorded = Counter(first["made"]) + Counter(first["unused"].values())
        # Of equal calls, each process makes the first ones.
        missing = recorded - made
        for eid, name in reversed(first["unused"].items()):
            if missing[name] > 0 and all(eid in each["unused"] for each in others):
                missing[name] -= 1
                yield f"{os.path.relpath(path, config.rootpath)}: recorded, but not called: #{eid} {name}"


def _properties(reporter: pytest.TerminalReporter | None, name: str) -> Iterator[tuple[str, str]]:
    """The values of a user property in all reports, each with the test that has it."""
    for reports in reporter.stats.values() if reporter is not None else ():
        for report in reports:
            for found, value in getattr(report, "user_properties", ()):
                if found == name:
                    yield report.nodeid, str(value)
