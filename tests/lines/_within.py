"""Runs apps of this folder within a block of code: what they do when they start is done before the block.

Usage: ``python -m tests.lines._within WAYS MODE CASSETTE APP ...``. MODE is ``record`` or ``replay``, and WAYS are
separated by commas. Of several, each has a cassette of its own, CASSETTE with its name in front:

- ``block``: ``with record(...)`` or ``with replay(...)``;
- ``context``: the same, while the app runs in a context that is older;
- ``hand``: ``set_session``;
- ``fixture``: ``timetracer_record`` or ``timetracer_replay``, in a run of pytest in this process.

Servers are there where it is recorded, or where ``SERVERS`` stands in the environment. ``IGNORE`` there is
what a replay ignores.

Prints what the lines saw and the account as JSON, by way; also what an app does behind the block (``after``), where
its servers are there.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lines._line import told
from timetracer_otel import ReplayFailedError, plugins, record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import reset_session, set_session
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.testing import everywhere


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


class _Suite:
    """A test of a run of pytest, which has a fixture."""

    def __init__(self, mode: str, path: Path, run: Callable[[], Any]) -> None:
        self._given = mode, path, run
        self.seen: Any = None
        self.account = ""

    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        mode, path, run = self._given

        def test_lines(request: pytest.FixtureRequest) -> None:
            with request.getfixturevalue(f"timetracer_{mode}")(path) as current:
                self.seen = run()
            self.account = str(current.verdict())

        module = pytest.Module.from_parent(session, path=Path(__file__))
        items[:] = [pytest.Function.from_parent(module, name="test_lines", callobj=test_lines)]


def _by_fixture(mode: str, path: Path, run: Callable[[], Any]) -> tuple[Any, str]:
    suite = _Suite(mode, path, run)
    nothing = Path("empty")
    nothing.mkdir(exist_ok=True)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-p", "timetracer_otel.pytest_plugin", "-p", "no:cacheprovider", "-c", os.devnull, "--noconftest"]
    with redirect_stdout(sys.stderr):
        code = pytest.main([*options, "--rootdir", str(nothing), str(nothing)], plugins=[suite])
    assert code == 0, code
    return suite.seen, suite.account


def main(ways: str, mode: str, path: Path, *names: str) -> None:
    apps: dict[str, Any] = {name: importlib.import_module(f"tests.lines.apps.{name}") for name in names}
    has_servers = mode == "record" or "SERVERS" in os.environ
    for app in apps.values() if has_servers else ():
        getattr(app, "before", lambda: None)()

    def run() -> dict[str, Any]:
        return {f"{name}.{line}": app.LINES.outcome(line) for name, app in apps.items() for line in app.LINES}

    paths = {way: path.with_name(f"{way}-{path.name}") if "," in ways else path for way in ways.split(",")}
    told_by_way = {way: _in_way(way, mode, each, run) for way, each in paths.items()}
    if has_servers:
        behind = {f"{name}.after": told(app.after()) for name, app in apps.items() if hasattr(app, "after")}
        told_by_way = {way: (seen | behind, account) for way, (seen, account) in told_by_way.items()}
    print(json.dumps(told_by_way))


def _in_way(way: str, mode: str, path: Path, run: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], str]:
    if way == "fixture":
        return _by_fixture(mode, path, run)
    ignored = json.loads(os.environ.get("IGNORE", "[]"))
    if way == "hand":
        block: Any = _by_hand(mode, path)
    else:
        block = record(path) if mode == "record" else replay(path, fail_on_miss=False, ignore=ignored)
    # What was refused fails the block at its end.
    earlier = contextvars.copy_context() if way == "context" else None
    with suppress(ReplayFailedError), block as session:
        if earlier is None:
            seen = run()
        else:
            with everywhere(session, earlier):
                seen = earlier.run(run)
    return seen, str(session.verdict())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
