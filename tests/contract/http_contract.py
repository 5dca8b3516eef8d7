"""The contract of every HTTP client plugin: bare, recorded and replayed calls look the same to the app.

A test class inherits `HttpContract` and names its flavour and its cases. Each case runs three times: with the
library untouched, in a recording, and in a replay for which the servers are stopped.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

import timetracer_otel
from tests.contract._flavour import Case, Flavour
from tests.contract._observation import differences
from tests.servers._upstream import Upstream
from timetracer_otel.session import ReplaySession

__all__ = ["HttpContract", "Runs", "deadline", "network_attempts"]

_CASE_SECONDS = 100

_attempts: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _attempts is not None and event in {"socket.connect", "socket.getaddrinfo"}:
        _attempts.append(f"{event} {arguments[1:] if event == 'socket.connect' else arguments[:2]}")


# An audit hook cannot be taken back: it stays, and does nothing outside `network_attempts`.
sys.addaudithook(_audit)


@contextmanager
def network_attempts() -> Iterator[list[str]]:
    """Collect the connections and name look-ups that this process tries."""
    global _attempts
    found: list[str] = []
    _attempts = found
    try:
        yield found
    finally:
        _attempts = None


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread where a block takes longer, also inside a blocking call."""

    def late(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    # Whoever else has set the timer (pytest-timeout does) has it back afterwards.
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.001))


@dataclass
class Run:
    """One run of a case: what it saw, or the error that came out of it."""

    seen: Any = None
    error: BaseException | None = None
    events: int = 0
    left_over: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)

    def observation(self) -> Any:
        """What was seen; raises where the case did not get to its end."""
        if self.error is not None:
            raise self.error
        return self.seen


class Runs:
    """The runs of all cases of one flavour."""

    def __init__(self, flavour: Flavour, cases: list[Case], upstream: Upstream, folder: Path) -> None:
        self.flavour = flavour
        self.upstream = upstream
        self.folder = folder
        flavour.upstream = upstream
        flavour.disable()
        assert flavour.is_untouched()
        self.bare = {case.name: self._bare(case) for case in cases}
        flavour.enable()
        self.recorded = {case.name: self._record(case) for case in cases}
        upstream.stop()
        self._replayed: dict[str, Run] = {}

    def cassette(self, case: Case) -> Path:
        """The file of a case's recording."""
        return self.folder / f"{case.name}.msgpack"

    def replay(self, case: Case) -> Run:
        """Run a case in a replay; the servers are stopped."""
        run = Run()
        with timetracer_otel.replay(self.cassette(case), redact="off") as session, network_attempts() as attempts:
            assert isinstance(session, ReplaySession)
            self._execute(case, run)
        run.left_over = [f"#{e.eid} {e.signature.method} {e.signature.url}" for e in session.get_unconsumed_events()]
        run.attempts = attempts
        return run

    def _bare(self, case: Case) -> Run:
        return self._execute(case, Run())

    def _record(self, case: Case) -> Run:
        run = Run()
        try:
            with timetracer_otel.record(self.cassette(case), redact="off") as session:
                self._execute(case, run)
            run.events = len(session.events)
        except Exception as error:
            run.error = error
        return run

    def _execute(self, case: Case, run: Run) -> Run:
        if self.upstream.running:
            self.upstream.control("reset")
        try:
            with deadline(_CASE_SECONDS):
                run.seen = self.flavour.run(case.run)
        except Exception as error:
            run.error = error
        return run


class HttpContract:
    """Inherit this, and name the flavour and its cases."""

    flavour: ClassVar[Flavour]
    cases: ClassVar[list[Case]]

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", cls.cases, ids=[case.name for case in cls.cases])

    def test_recording_leaves_everything_as_it_is(self, runs: Runs, case: Case) -> None:
        recorded = runs.recorded[case.name]
        found = differences(runs.bare[case.name].observation(), recorded.observation())
        assert not found, "\n".join(found)
        assert recorded.events == case.calls, "number of recorded events"

    def test_replay_without_servers_looks_the_same(self, runs: Runs, case: Case) -> None:
        replayed = runs.replay(case)
        found = differences(runs.recorded[case.name].observation(), replayed.observation())
        assert not found, "\n".join(found)
        assert replayed.attempts == [] or case.calls == 0
        assert replayed.left_over == []

    def test_disabling_gives_the_library_back(self, runs: Runs) -> None:
        runs.flavour.disable()
        try:
            assert runs.flavour.is_untouched()
        finally:
            runs.flavour.enable()
