"""Run in a process of its own: the contract of mysql-connector-python over its handle in C.

Usage: ``mysqlconnector_program.py FOLDER``; prints what differs between bare, recorded and replayed runs, by case.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Before anything that loads another OpenSSL.
import _mysql_connector  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

from tests.contract.mysqlconnector_flavour import OverC
from tests.contract.observation import differences
from timetracer_otel import record, replay


def main(folder: Path) -> None:
    flavour = OverC()
    flavour.start(folder)
    found: dict[str, list[str]] = {}
    try:
        bare = {}
        for case in flavour.cases:
            flavour.reset()
            bare[case.name] = flavour.perform(case)
        flavour.enable()
        for case in flavour.cases:
            flavour.reset()
            with record(folder / f"{case.name}.msgpack", **flavour.recording) as recording:
                found[case.name] = differences(bare[case.name], flavour.perform(case))
            found[case.name] += [str(event.not_replayable) for event in recording.events if event.not_replayable]
        flavour.stop()
        for case in flavour.cases:
            with replay(folder / f"{case.name}.msgpack") as session:
                found[case.name] += differences(bare[case.name], flavour.perform(case))
            verdict = session.verdict()
            if verdict.unused or verdict.live:
                found[case.name].append(str(verdict))
    finally:
        flavour.tear_down()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
