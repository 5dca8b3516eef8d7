"""Run in a process of its own, under a hash seed of its own: one side of the cases of clients of a broker.

Usage: ``cases_program.py amqp|kafka record|replay FOLDER URL``; the broker is gone where it replays. Prints what was
seen, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from timetracer_otel import record, replay
from timetracer_otel.session import ReplaySession


def main(protocol: str, side: str, folder: Path, url: str) -> None:
    seen: dict[str, Any] = {}
    for case in importlib.import_module(f"tests.contract.{protocol}_cases").CASES.cases:
        cassette = folder / f"{case.name}.msgpack"
        if side == "record":
            with record(cassette):
                seen[case.name] = repr(case.run(url))
            continue
        session: Any
        with replay(cassette) as session:
            seen[case.name] = repr(case.run(url))
        assert isinstance(session, ReplaySession)
        assert session.verdict().ok, (case.name, str(session.verdict()))
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
