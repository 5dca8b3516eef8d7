"""A plugin of pytest: one recording or replay for each test of a client (``SUITE_MODE``), and each test's outcome.

It runs in the process of the client's tests, and writes the outcomes to the file ``SUITE_OUTCOMES``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from timetracer_otel import ReplayFailedError, counters, record, replay

_MODE = os.environ["SUITE_MODE"]
_SCOPE = os.environ["SUITE_SCOPE"]
_FOLDER = Path(os.environ["SUITE_CASSETTES"])
_OUTCOMES_FILE = Path(os.environ["SUITE_OUTCOMES"])
_ONLY = os.environ.get("SUITE_ONLY")
"""A file with the names of the tests to run."""

_outcomes: dict[str, list[str]] = {}
_answered: Counter[str] = Counter()
"""How many calls were answered in replays, by plugin."""


def _same_place(asked: Any, recorded: Any) -> bool:
    """Whether two calls go to the same place, whatever the port: a test's own server has another one in each run."""
    places = [urlsplit(call.url) for call in (asked, recorded)]
    first, second = ((place.scheme, place.hostname, place.path) for place in places)
    return first == second


def _but_for_ports(call: Any) -> tuple[Any, ...]:
    body = call.body if isinstance(call.body, bytes) else str(call.body).encode()
    query = sorted((name, _PORT.sub(b":", str(value).encode())) for name, value in (call.query or {}).items())
    return _PORT.sub(b":", str(call.url).encode()), query, _PORT.sub(b":", body)


def _same_but_for_ports(asked: Any, recorded: Any) -> bool:
    """The same, where ports of the test's own servers stand in queries and in bodies as well."""
    return _but_for_ports(asked) == _but_for_ports(recorded)


_PORT = re.compile(rb":\d+|%3A\d+|\b[0-9a-f]{32}\b")
"""A port, or the random boundary of a body of several parts."""
_MATCHING: Mapping[str, Mapping[str, Any]] = {
    "ports": {"match_on": ["method", "query", "body", _same_place]},
    "every port": {"match_on": ["method", _same_but_for_ports]},
    "urls": {"match_on": ["method", "query", "body"]},
}
"""By what a replay leaves out: its settings."""
_MATCHED: Mapping[str, Any] = _MATCHING.get(os.environ["SUITE_MATCHED_WITHOUT"], {})


def _cassette_of(test: pytest.Item) -> Path:
    return _FOLDER / (hashlib.sha256(test.nodeid.encode()).hexdigest()[:20] + ".msgpack")


_bound: dict[str, list[int]] = {}
"""By test, or by class where its fixtures serve all of its tests: the ports that its servers have got."""
_binds_for = [""]
"""The test or the class whose servers bind now."""


def _keep_ports() -> None:
    """Give the servers of the tests the ports in a replay that they had in the recording. Nobody asks them there."""
    real = socket.socket.bind

    def bind(self: socket.socket, address: Any) -> None:
        asks = isinstance(address, tuple) and len(address) > 1 and address[1] == 0 and _binds_for[0]
        if not asks:
            real(self, address)
            return
        key = _binds_for[0]
        file = _FOLDER / (hashlib.sha256(key.encode()).hexdigest()[:20] + ".ports")
        ports = _bound.setdefault(key, [])
        kept = json.loads(file.read_text()) if _MODE == "replay" and file.exists() else []
        try:
            real(self, (address[0], kept[len(ports)], *address[2:]))
        except (IndexError, OSError):
            real(self, address)
        ports.append(self.getsockname()[1])
        if _MODE == "record":
            file.write_text(json.dumps(ports))

    socket.socket.bind = bind  # type: ignore[method-assign, assignment]


if _MODE != "traced" and os.environ["SUITE_MATCHED_WITHOUT"] == "every port":
    _keep_ports()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    """Know whose servers a fixture starts."""
    before = _binds_for[0]
    if fixturedef.scope == "class":
        _binds_for[0] = request.node.nodeid
    elif fixturedef.scope != "function":
        _binds_for[0] = ""
    try:
        return (yield)
    finally:
        _binds_for[0] = before


def pytest_collection_finish() -> None:
    """Do not wait for servers that the tests themselves have, where nobody asks them."""
    place = os.environ.get("SUITE_WAITS_FOR_SERVER")
    if not place:
        return
    module, _, path = place.partition(":")
    owner_name, _, name = path.rpartition(".")
    owner = getattr(import_module(module), owner_name)
    wait = getattr(owner, name)

    def wait_a_moment(*args: Any) -> None:
        waiting = threading.Thread(target=wait, args=args, daemon=True)
        waiting.start()
        waiting.join(0.1)

    setattr(owner, name, staticmethod(wait_a_moment))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what the run is not about, and mark the tests that get their recordings by the marker."""
    last = os.environ.get("SUITE_LAST", "").split()
    items.sort(key=lambda test: any(part in test.nodeid for part in last))
    if _ONLY:
        wanted = set(json.loads(Path(_ONLY).read_text()))
        items[:] = [test for test in items if test.nodeid in wanted]
    if _MODE != "traced" and _SCOPE == "marker":
        record_mode = "all" if _MODE == "record" else "none"
        matching = _MATCHED if _MODE == "replay" else {}
        for test in items:
            path = str(_cassette_of(test))
            test.add_marker(pytest.mark.timetracer(path, record_mode=record_mode, redact="off", **matching))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run one test in its recording or replay. What it draws at random is the same in each run."""
    # The client's own conftest asks the server when the run begins: from the first test on there is none.
    _warm_up()
    server = os.environ.pop("SUITE_STOPS", None)
    if server:
        os.kill(int(server), signal.SIGKILL)
        time.sleep(0.3)
    random.seed(item.nodeid)
    _bound.pop(item.nodeid, None)
    _binds_for[0] = item.nodeid
    result = None
    try:
        with _block(item) as session:
            result = yield
        if _MODE == "replay" and session is not None:
            _answered.update(hit.signature.lib for hit in session.verdict().hits)
    except ReplayFailedError as error:
        # The test itself caught the error of what was refused. It did not have what it has live.
        _outcomes[item.nodeid] = ["failed", str(error)]
    return result


def _warm_up() -> None:
    """Ask what the first test asks, whichever that is: tests that are run once more have another first one."""
    named = os.environ.pop("SUITE_WARM_UP", "").split()
    if named:
        module, function, variable = named
        with _block_of(_FOLDER / "warm-up.msgpack"):
            getattr(sys.modules[module], function)(os.environ[variable])


def _block(test: pytest.Item) -> AbstractContextManager[Any]:
    return _block_of(_cassette_of(test))


def _block_of(path: Path) -> AbstractContextManager[Any]:
    if _MODE == "traced" or _SCOPE == "marker":
        return nullcontext()
    if _MODE == "record":
        return record(path, redact="off")
    # A test that was skipped before it began left no recording.
    return replay(path, fail_on_miss=False, **_MATCHED) if path.exists() else nullcontext()


def pytest_runtest_logreport(report: Any) -> None:
    """Keep the outcome, with the end of what failed."""
    if report.when == "call" or report.outcome != "passed":
        text = str(report.longrepr)[-6000:] if report.outcome == "failed" else ""
        known = _outcomes.get(report.nodeid)
        if known is None or known[0] != "failed":
            _outcomes[report.nodeid] = [report.outcome, text]


def pytest_sessionfinish() -> None:
    """Write them, unless no plugin answered the tests: they had another database then, in memory."""
    print(f"\n{counters()}; answered by plugin: {dict(_answered)}")
    if _MODE == "replay" and _SCOPE == "block" and not _answered:
        raise RuntimeError("no call was answered: the plugin is not on")
    _OUTCOMES_FILE.write_text(json.dumps(_outcomes))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End, also where a thread of a test still waits: its server is not asked in a replay."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _OUTCOMES_FILE.exists():
        os._exit(0)
