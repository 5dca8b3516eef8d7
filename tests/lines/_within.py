"""Runs apps of this folder within a block of code: what they do when they start is done before the block.

Usage: ``python -m tests.lines._within WAY MODE CASSETTE APP ...``. WAY is ``block`` (``with record(...)`` or ``with
replay(...)``) or ``hand`` (``set_session``), MODE is ``record`` or ``replay``. Servers are there where it is
recorded, or where ``SERVERS`` stands in the environment. ``IGNORE`` in the environment is what a replay ignores.

Prints what the lines saw and the account as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from timetracer_otel import ReplayFailedError, plugins, record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import reset_session, set_session
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession


@contextmanager
def _by_hand(mode: str, path: Path) -> Iterator[BaseSession]:
    plugins.enable_httpx()
    recording = TraceSession(TraceConfig())
    session = recording if mode == "record" else ReplaySession(read_cassette(path), str(path))
    token = set_session(session)
    try:
        yield session
    finally:
        reset_session(token)
        plugins.disable_httpx()
    if mode == "record":
        recording.finalize()
        save_cassette(recording.to_cassette(), path)


def main(way: str, mode: str, path: Path, *names: str) -> None:
    apps: dict[str, Any] = {name: importlib.import_module(f"tests.lines.apps.{name}") for name in names}
    for app in apps.values() if mode == "record" or "SERVERS" in os.environ else ():
        getattr(app, "before", lambda: None)()
    ignored = json.loads(os.environ.get("IGNORE", "[]"))
    if way == "hand":
        block: Any = _by_hand(mode, path)
    else:
        block = record(path) if mode == "record" else replay(path, fail_on_miss=False, ignore=ignored)
    # What was refused fails the block at its end.
    with suppress(ReplayFailedError), block as session:
        seen = {f"{name}.{line}": app.LINES.outcome(line) for name, app in apps.items() for line in app.LINES}
    print(json.dumps([seen, str(session.verdict())]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
