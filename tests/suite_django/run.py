"""Runs some of Django's own tests three times and compares: bare, recorded, replayed with no database.

``make suite-django`` calls it. The tests are those of Django's source distribution, of the version that is installed.
Each of the three runs is a process of its own, with a hash seed of its own; each test has a cassette of its own.
Writes the results to the file that ``--write`` names. Ends with an error where a test that passes bare does not pass
while it is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.servers.postgres import Postgres  # noqa: E402 - the project is no package of the environment

MODES = ("bare", "record", "replay")
DATABASES = ("sqlite", "postgresql")
LABELS = ("aggregation", "backends", "queries", "transactions")
SEED = os.environ.get("TEST_SEED") or str(random.randrange(2**32))
Outcomes = dict[str, list[str]]


def source_of(folder: Path) -> Path:
    """The tests of the version that is installed, without Django itself."""
    number = version("django")
    source = folder / f"django-{number}"
    if not source.exists():
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django"),
                *("--dest", str(folder), f"django=={number}"),
            ],
            check=True,
        )
        (archive,) = (*folder.glob(f"django-{number}.tar.gz"), *folder.glob(f"Django-{number}.tar.gz"))
        with tarfile.open(archive) as files:
            top = files.getnames()[0].partition("/")[0]
            wanted = [each for each in files.getmembers() if each.name.startswith(f"{top}/tests/")]
            files.extractall(folder, wanted, filter="data")
        if top != source.name:
            (folder / top).rename(source)
    return source


def run_mode(mode: str, database: str, place: str, source: Path, folder: Path, labels: list[str]) -> Outcomes:
    """One run of the tests in a process of its own."""
    outcomes = folder / f"{database}-{mode}.json"
    outcomes.unlink(missing_ok=True)
    cassettes = folder / f"{database}-cassettes"
    cassettes.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TIMETRACER_"))},
        "PYTHONHASHSEED": str(random.Random(f"{SEED} {database} {mode}").randrange(2**32)),
        "PYTHONPATH": str(HERE),
        "SUITE_CASSETTES": str(cassettes),
        "SUITE_DATABASE": place,
        "SUITE_MODE": mode,
        "SUITE_OUTCOMES": str(outcomes),
    }
    words = ["--settings=suite_settings", "--parallel=1", "--noinput", "--verbosity=1", *labels]
    log = folder / f"{database}-{mode}.log"
    with log.open("w") as said:
        subprocess.run(
            [sys.executable, str(source / "tests" / "runtests.py"), *words],
            cwd=source / "tests",
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not outcomes.exists():
        raise SystemExit(f"{database}, {mode}: the run did not end:\n{log.read_text()[-3000:]}")
    found: Outcomes = json.loads(outcomes.read_text())
    return found


def run(database: str, source: Path, folder: Path, labels: list[str]) -> dict[str, Outcomes]:
    """The three runs over one database."""
    found: dict[str, Outcomes] = {}
    server = Postgres() if database == "postgresql" else None
    place = server.url("x").set(drivername="postgresql").render_as_string(hide_password=False) if server else ""
    for mode in MODES:
        if mode == "replay" and server is not None:
            server.stop()
        found[mode] = run_mode(mode, database, place, source, folder, labels)
    return found


def passed(outcomes: Outcomes) -> set[str]:
    """The tests that pass."""
    return {name for name, (outcome, _) in outcomes.items() if outcome == "passed"}


def lost(found: dict[str, Outcomes], mode: str) -> list[str]:
    """The tests that pass bare, and not in a mode."""
    return sorted(passed(found["bare"]) - passed(found[mode]))


def why(found: dict[str, Outcomes], mode: str, name: str) -> str:
    """What a lost test says at last, in a line."""
    outcome, text = found[mode].get(name, ["did not run", ""])
    lines = [line.strip() for line in text.strip().splitlines() if not line.startswith("    ")]
    told = next((line for line in lines if "Error" in line or "No recorded" in line or "Not re" in line), "")
    return f"{outcome}: {told or (lines or [''])[-1]}"[:300]


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="*", default=list(LABELS), help="of Django's tests")
    parser.add_argument("--database", choices=DATABASES, action="append", help="all where left out")
    parser.add_argument("--write", type=Path, help="the file for the results")
    parser.add_argument("--keep", type=Path, help="a folder for sources, cassettes and logs")
    options = parser.parse_args()
    results: dict[str, dict[str, Outcomes]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = source_of(folder)
        for database in options.database or DATABASES:
            print(f"{database}: TEST_SEED={SEED}", flush=True)
            found = results[database] = run(database, source, folder, options.labels)
            print(line_of(database, found), flush=True)
            for mode in MODES[1:]:
                for name in lost(found, mode):
                    print(f"  {mode}: {name}\n    {why(found, mode, name)}", flush=True)
    if options.write:
        options.write.write_text(page(results))
    if any(lost(found, "record") for found in results.values()):
        raise SystemExit(1)


def line_of(database: str, found: dict[str, Outcomes]) -> str:
    """One database's numbers."""
    count = len(passed(found["bare"]))
    return (
        f"{database}: {count} pass bare; of these {count - len(lost(found, 'record'))} pass while they are recorded, "
        f"{count - len(lost(found, 'replay'))} in replay"
    )


CAUSES: dict[str, str] = {
    ".TestDbCreationTests.": "they look at how a database for tests is made; a replay makes none",
    ".test_pathlib_name": "it looks for the file of the database; a replay makes none",
    ".test_filter_reverse_non_integer_pk": "it compares the time of now with the recorded one, which the row has",
}
"""By a part of a test's name: why it cannot pass in a replay."""


def cause_of(name: str) -> str:
    """Why a test does not pass in a replay."""
    return next((cause for part, cause in CAUSES.items() if part in name), "not looked into yet")


def page(results: dict[str, dict[str, Outcomes]]) -> str:
    """``docs/django-suite.md``."""
    lines = [
        "# Django's own tests",
        "",
        "<!-- Made by make suite-django. -->",
        "",
        f"`make suite-django` runs the tests {', '.join(f'`{label}`' for label in LABELS)} of Django's source",
        "distribution three times: bare, recorded, and replayed with no database. Each test has a cassette of its",
        "own, and so has what a class of tests does before and behind them. PostgreSQL is stopped before the replay,",
        "and sqlite's databases are in memory.",
        "",
        f"Django {version('django')}, Python {sys.version.split()[0]}:",
        "",
        "| database | pass bare | pass while recorded | pass in replay |",
        "|---|---|---|---|",
    ]
    for database, found in results.items():
        count, left = len(passed(found["bare"])), len(lost(found, "replay"))
        lines.append(
            f"| {database} | {count} | {count - len(lost(found, 'record'))} "
            f"| {count - left} ({1 - left / max(count, 1):.1%}) |"
        )
    lines += ["", "## Tests that pass bare and not in replay", "", "| database | tests | why |", "|---|---|---|"]
    for database, found in results.items():
        causes = Counter(map(cause_of, lost(found, "replay")))
        lines += [f"| {database} | {number} | {cause} |" for cause, number in causes.most_common()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
