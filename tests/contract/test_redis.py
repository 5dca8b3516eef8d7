"""Redis: what the app sees bare, recorded, and replayed with the server stopped is the same, with the same types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract._flavour import Case
from tests.contract.redis_cases import CASES, VARYING, App
from tests.contract.redis_contract import FLAVOURS, RedisFlavour, typed
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_redis, enable_redis
from timetracer_otel.session import ReplaySession


class Runs:
    """All cases of one flavour, bare and recorded; the server is stopped behind them."""

    def __init__(self, flavour: RedisFlavour, folder: Path) -> None:
        self.flavour = flavour
        self.folder = folder
        self.bare: dict[str, Callable[[], Any]] = {}
        self.recorded: dict[str, Callable[[], Any]] = {}
        with RedisServer(folder) as self.server:
            for case in (*CASES, *VARYING):
                self.bare[case.name] = self.outcome(case)
                self.server.wipe()
            enable_redis()
            for case in (*CASES, *VARYING):
                with record(self.path(case)):
                    self.recorded[case.name] = self.outcome(case)
                self.server.wipe()

    def run(self, case: Case) -> Any:
        return typed(self.flavour.run(case.run(App(self.flavour, self.server))))

    def outcome(self, case: Case) -> Callable[[], Any]:
        """What a case sees; a case that fails fails its own tests only."""
        try:
            seen = self.run(case)
        except Exception as error:
            return partial(_fail, error)
        return lambda: seen

    def path(self, case: Case) -> Path:
        return self.folder / f"{case.name}.msgpack"


def _fail(error: Exception) -> Any:
    raise error


@pytest.fixture(scope="module", params=FLAVOURS, ids=lambda flavour: flavour.name)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    yield Runs(request.param, tmp_path_factory.mktemp("redis"))
    disable_redis()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recording_changes_nothing(runs: Runs, case: Case) -> None:
    assert runs.recorded[case.name]() == runs.bare[case.name]()


@pytest.mark.parametrize("case", [*CASES, *VARYING], ids=lambda case: case.name)
def test_replay_gives_what_was_recorded(runs: Runs, case: Case) -> None:
    with replay(runs.path(case)) as session:
        replayed = runs.run(case)
    assert replayed == runs.recorded[case.name]()
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    assert [event.signature for event in session.get_unconsumed_events()] == []
