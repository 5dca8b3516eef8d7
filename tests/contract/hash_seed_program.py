"""Run in a process of its own, under a hash seed of its own: one side of cases of SQLAlchemy's drivers.

Usage: ``hash_seed_program.py record|replay FOLDER``. The standard input says which: for each driver the database's
URL and the names of cases, in JSON. The folder holds one cassette for each case of a driver. Prints, by driver and
case, what was seen; in a replay also what was missed and what was left.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.contract.framework import Case
from tests.contract.sql_flavour import SqlFlavour
from tests.contract.sql_observation import seen
from tests.servers.postgres import execute
from timetracer_otel import record, replay
from timetracer_otel.session import ReplaySession


def main(mode: str, folder: Path, asked: dict[str, Any]) -> None:
    found = {
        driver: run(mode, SqlFlavour(driver), sa.make_url(url), folder / driver, names)
        for driver, (url, names) in asked.items()
    }
    print(json.dumps(found, default=repr))


def run(mode: str, flavour: SqlFlavour, url: sa.URL, folder: Path, names: list[str]) -> dict[str, Any]:
    flavour.enable()
    found: dict[str, Any] = {}
    for case in flavour.cases:
        if case.name not in names:
            continue
        cassette = folder / f"{case.name}.msgpack"
        if mode == "record":
            execute(url, "DROP SCHEMA IF EXISTS public CASCADE", "DROP SCHEMA IF EXISTS test_schema CASCADE")
            execute(url, "CREATE SCHEMA public")
            with record(cassette, **flavour.recording):
                found[case.name] = outcome(case, url)
        else:
            session: Any
            with replay(cassette, fail_on_miss=False) as session:
                found[case.name] = outcome(case, url.set(port=1))
            assert isinstance(session, ReplaySession)
            found[case.name] += [*map(str, session.misses)]
            found[case.name] += [f"left: {event.signature}" for event in session.get_unconsumed_events()]
    return found


def outcome(case: Case, url: sa.URL) -> list[Any]:
    try:
        return [seen(case.run(url))]
    except Exception as error:
        return [seen(error)]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin))
