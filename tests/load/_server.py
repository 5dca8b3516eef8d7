"""A server with workers, started as its users start it, asked over many connections, and ended by SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx
import pytest

from tests.children import ROOT, environment
from tests.load._apps import CALLS
from tests.process._programs import cassettes
from tests.servers._ports import free_port
from timetracer_otel.types import Cassette, DependencyEvent

__all__ = ["Served", "check_cassettes"]

_START_S = 60.0
FIRST = 1_000_000
"""Numbers of requests begin here: they have seven digits, and are found wherever they stand."""
_NUMBER = re.compile(r"\b1\d{6}\b")


class Served:
    """One run of a server; use it as a context manager.

    Args:
        command: Its words, with ``{port}`` for the port.
        environment: What it finds in its environment besides ours.
        log: Where what it says goes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environment = environment
        self._log = log
        self.port = free_port()

    def __enter__(self) -> Served:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [word.format(port=self.port) for word in self._command],
                cwd=ROOT,
                env=environment(
                    {"fastapi", "flask", "httpx", "redis", "sqlalchemy"},
                    OTEL_TRACES_EXPORTER="none",
                    PYTHONWARNINGS="ignore",
                    **self._environment,
                ),
                stdout=log,
                stderr=log,
                # Workers outlive a server that is killed.
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._listens():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self._kill()
                raise RuntimeError(f"the server did not start: {self._log.read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kill()
        self.process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def ask(self, requests: int, at_once: int) -> None:
        """Make so many requests, and see that each answer is its own."""
        # A connection for each: servers close those that are idle, and a request may be on its way there just then.
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
        with (
            httpx.Client(verify=False, timeout=120, limits=limits) as client,
            ThreadPoolExecutor(at_once) as threads,
        ):

            def ask(number: int) -> list[int]:
                response = client.get(f"http://127.0.0.1:{self.port}/work/{number}")
                assert response.status_code == 200, f"{response.text}\n{self._log.read_text()[-5000:]}"
                found: list[int] = response.json()
                return found

            numbers = range(FIRST, FIRST + requests)
            assert list(threads.map(ask, numbers)) == [[number] * 4 for number in numbers]

    def ask_to_die(self, number: int) -> None:
        """Make a request whose worker is killed before it answers."""
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{self.port}/killed/{number}", timeout=60)

    def terminate(self) -> int:
        """End it as a supervisor does; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def check_cassettes(folder: Path, requests: int) -> dict[str, int]:
    """Check that there is one whole cassette for each request, that it holds its request's calls, and no other.

    Returns:
        How many there were of what, for the report.
    """
    seen: Counter[str] = Counter()
    numbers: Counter[int] = Counter()
    for cassette in cassettes(folder):
        assert cassette.complete, cassette.path
        if not cassette.request.method:
            seen["cassettes of processes"] += 1
            assert not _NUMBER.findall(repr(cassette))
            continue
        number = _check_cassette(cassette)
        numbers[number] += 1
        seen["cassettes"] += 1
        seen["calls"] += len(cassette.events)
    assert numbers == Counter(range(FIRST, FIRST + requests))
    assert not [*folder.rglob("*.part"), *folder.rglob(".*.lock"), *folder.rglob("*.tmp")]
    return dict(seen)


def _check_cassette(cassette: Cassette) -> int:
    assert not cassette.stats.dropped
    assert cassette.response.status == 200
    found = {int(number) for number in _NUMBER.findall(repr((cassette.request, cassette.response, cassette.events)))}
    assert found == {int(cassette.request.path.rpartition("/")[2])}
    kinds = Counter(kind for event in cassette.events if (kind := _kind(event)))
    assert kinds == CALLS, kinds
    return found.pop()


def _kind(event: DependencyEvent) -> str | None:
    """Which of the app's calls an event is; None for those that connect."""
    method = event.signature.method
    if event.signature.lib == "httpx":
        return "HTTP"
    if method in {"SET", "GET"}:
        return method
    # The others of SQLAlchemy begin, end and connect.
    return "SQL" if _NUMBER.search(repr(event.call)) else None
