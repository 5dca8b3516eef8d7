"""Runs SQLAlchemy's own compliance suite three times on each driver and compares: bare, recorded, replayed.

``make suite-sqlalchemy`` calls it. The database is stopped (or its file removed) before the replay. Writes the
results to the file that ``--write`` names. Each of the three runs has a hash seed of its own, which is printed. Ends
with an error where a test that passes bare does not pass while recording, or where less than 99 % of them pass in
replay.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.servers.postgres import Postgres  # noqa: E402 - the project is no package of the environment

DRIVERS = ("sqlite", "aiosqlite", "psycopg", "asyncpg")
LOWEST_SHARE = 0.99
MODES = ("bare", "record", "replay")

SEED = os.environ.get("TEST_SEED") or str(random.randrange(2**32))

Outcomes = dict[str, list[str]]

_NOW = "the test binds the present time and compares the database's answer with it; a replay has the recorded one"
CAUSES: dict[str, str] = {
    "test_arithmetic_operation_literal_interval": _NOW,
    "test_arithmetic_operation_table_date_and_literal_interval": _NOW,
    "test_non_default_isolation_level": (
        "the test takes one of several levels out of a set, so it asks for another one where the hash seeds of the "
        "recording and the replay order that set otherwise"
    ),
    "test_round_trip_custom_json": (
        "the driver itself calls the `json_deserializer` of the engine, beneath the seam; a replay has what came of "
        "it and does not call it again, which the test counts"
    ),
}
"""What is known about tests that fail in replay: a part of the test's name, and the cause."""


@dataclass
class Result:
    """One driver's three runs."""

    driver: str
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    events: int = 0

    @property
    def passed_bare(self) -> list[str]:
        """Tests that pass without us."""
        return [name for name, (outcome, _) in self.outcomes["bare"].items() if outcome == "passed"]

    def lost(self, mode: str) -> list[str]:
        """Those of them that do not pass with us."""
        with_us = self.outcomes[mode]
        return [name for name in self.passed_bare if with_us.get(name, ["missing"])[0] != "passed"]

    @property
    def share(self) -> float:
        """How many of them pass in replay."""
        return 1 - len(self.lost("replay")) / max(len(self.passed_bare), 1)


def hash_seed(mode: str) -> int:
    """The hash seed of a mode's processes: another one for each, and all of them other ones in the next run."""
    return random.Random(f"{SEED} {mode}").randrange(2**32)


def run_mode(mode: str, url: str, folder: Path, extra: list[str]) -> Outcomes:
    """One run of the suite in a process of its own."""
    outcomes = folder / f"{mode}.json"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TIMETRACER_"))},
        "PYTHONHASHSEED": str(hash_seed(mode)),
        "PYTHONPATH": str(HERE),
        "SUITE_MODE": mode,
        "SUITE_CASSETTE": str(folder / "suite.msgpack"),
        "SUITE_OUTCOMES": str(outcomes),
    }
    command = [sys.executable, "-m", "pytest", "-c", "setup.cfg", "--rootdir", ".", "--confcutdir", ".", "suite.py"]
    command += ["--dburi", url, "--tb=short", *extra]
    with (folder / f"{mode}.log").open("w") as log:
        subprocess.run(command, cwd=HERE, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not outcomes.exists():
        raise SystemExit(f"{mode}: the run did not end:\n{(folder / f'{mode}.log').read_text()[-3000:]}")
    found: Outcomes = json.loads(outcomes.read_text())
    return found


def run_sqlite(driver: str, folder: Path, extra: list[str]) -> Result:
    """The runs on a file; it is removed before each."""
    result = Result(driver)
    scheme = "sqlite" if driver == "sqlite" else f"sqlite+{driver}"
    for mode in MODES:
        for file in (*folder.glob("*.db*"), *HERE.glob("*.db*")):
            file.unlink()
        result.outcomes[mode] = run_mode(mode, f"{scheme}:///{folder / 'suite.db'}", folder, extra)
    left = [file.name for file in (*folder.glob("*.db*"), *HERE.glob("*.db*"))]
    assert not left, f"the replay made files: {left}"
    return result


def run_postgres(driver: str, folder: Path, extra: list[str]) -> Result:
    """The runs on a server; it is emptied before each, and stopped before the replay."""
    result = Result(driver)
    server = Postgres()
    try:
        for mode in MODES:
            server.clear()
            server.execute(
                "DROP SCHEMA IF EXISTS test_schema_2 CASCADE",
                "CREATE SCHEMA test_schema",
                "CREATE SCHEMA test_schema_2",
            )
            if mode == "replay":
                server.stop()
            url = server.url(driver).render_as_string(hide_password=False)
            result.outcomes[mode] = run_mode(mode, url, folder, extra)
    finally:
        server.start()
        server.close()
    return result


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drivers", nargs="*", default=[], help=f"any of {', '.join(DRIVERS)}; all where left out")
    parser.add_argument("--write", type=Path, help="the file for the results")
    parser.add_argument("--keep", type=Path, help="a folder for cassettes and logs")
    parser.add_argument("--pytest", default="", help="more arguments for pytest")
    options = parser.parse_args()
    results = []
    print(f"hash seeds of this run, by TEST_SEED={SEED}:", {mode: hash_seed(mode) for mode in MODES}, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for driver in options.drivers or DRIVERS:
            folder = (options.keep or Path(scratch)).resolve() / driver
            folder.mkdir(parents=True, exist_ok=True)
            run = run_sqlite if "sqlite" in driver else run_postgres
            result = run(driver, folder, options.pytest.split())
            results.append(result)
            print(line_of(result), flush=True)
            for name in result.lost("record"):
                print(f"  record: {name}\n{result.outcomes['record'].get(name, ['', ''])[1][-800:]}")
            for name in result.lost("replay"):
                print(f"  replay: {name}\n{result.outcomes['replay'].get(name, ['', ''])[1][-800:]}")
    if options.write:
        options.write.write_text(page(results))
    if any(result.lost("record") or result.share < LOWEST_SHARE for result in results):
        raise SystemExit(1)


def line_of(result: Result) -> str:
    """One driver's numbers."""
    passed, outcomes = len(result.passed_bare), result.outcomes["bare"].values()
    others = {kind: sum(outcome == kind for outcome, _ in outcomes) for kind in ("failed", "skipped")}
    return (
        f"{result.driver}: {passed} pass bare ({others['failed']} fail, {others['skipped']} are skipped); of these "
        f"{passed - len(result.lost('record'))} pass while recording, "
        f"{passed - len(result.lost('replay'))} ({result.share:.2%}) in replay"
    )


def page(results: list[Result]) -> str:
    """``docs/sqlalchemy-suite.md``."""
    lines = [
        "# SQLAlchemy's compliance suite",
        "",
        "<!-- Made by make suite-sqlalchemy. -->",
        "",
        "`make suite-sqlalchemy` runs `sqlalchemy.testing.suite`, the tests that SQLAlchemy gives to authors of",
        "dialects, three times on each driver: bare, in one recording of the whole run, and in a replay of that with",
        "the server stopped (the file of SQLite removed). What a test invents itself (`uuid.uuid4`, `random`) is",
        "seeded with the name of the test.",
        "",
        f"SQLAlchemy {sqlalchemy.__version__}, Python {sys.version.split()[0]}:",
        "",
        "| driver | pass bare | fail bare | skipped | pass while recording | pass in replay |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        outcomes = [outcome for outcome, _ in result.outcomes["bare"].values()]
        passed = len(result.passed_bare)
        lines.append(
            f"| {result.driver} | {passed} | {outcomes.count('failed')} | {outcomes.count('skipped')} "
            f"| {passed - len(result.lost('record'))} | {passed - len(result.lost('replay'))} ({result.share:.2%}) |"
        )
    lines += [
        "",
        "Tests that fail bare ask for something that the database does not have, since the settings in",
        "`tests/suite_sqlalchemy/suite_requirements.py` open more than each has; they count on neither side.",
        "",
        "## Tests that pass bare and not in replay",
        "",
    ]
    lost = [(result, name) for result in results for name in result.lost("replay")]
    if not lost:
        lines.append("None.")
    for result, name in lost:
        cause = next((why for part, why in CAUSES.items() if part in name), "unknown")
        lines.append(f"- {result.driver}: `{name.removeprefix('suite.py::')}`: {cause}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
