"""Bare, recorded and replayed runs of the SQL cases see the same on every driver; the replay without its server.

So do runs that add every call to a cassette without any (``new_episodes``), and replays of what they added.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.sql_cases import CASES
from tests.contract.sql_engine_cases import ASYNC_CASES, ENGINE_CASES
from tests.contract.sql_observation import attempt, seen
from tests.contract.sql_postgres_cases import POSTGRES_CASES
from tests.servers.postgres import Postgres
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession

SYNC = ("sqlite", "psycopg", "psycopg2")
ASYNC = ("aiosqlite", "asyncpg", "psycopg_async")


class Made(NamedTuple):
    """What the bare, the recorded and the adding run of a case saw, the recording, and what was added to nothing."""

    bare: Any
    recorded: Any
    adding: Any
    cassette: Path
    added: Path


class Database:
    """Where a driver's cases run. SQLite's file is removed before a replay, PostgreSQL is stopped."""

    def __init__(self, driver: str, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self.driver = driver
        self.is_sqlite = "sqlite" in driver
        self.file = folder / f"{driver}.db"
        self._postgres = postgres

    def clear(self) -> None:
        """Make it empty."""
        if self.is_sqlite:
            self.file.unlink(missing_ok=True)
        else:
            self._postgres().clear()

    def gone(self) -> None:
        """Take it away."""
        if self.is_sqlite:
            self.file.unlink(missing_ok=True)
        else:
            self._postgres().stop()

    @property
    def url(self) -> sa.URL:
        """Its URL."""
        if self.is_sqlite:
            scheme = "sqlite" if self.driver == "sqlite" else "sqlite+aiosqlite"
            return sa.make_url(f"{scheme}:///{self.file}")
        return self._postgres().url(self.driver.removesuffix("_async"))


def run_case(driver: str, name: str, url: sa.URL) -> Any:
    """One run of a case with engines of its own."""
    if name in ENGINE_CASES:
        return seen(ENGINE_CASES[name](url))
    if name in ASYNC_CASES:
        return seen(asyncio.run(ASYNC_CASES[name](url)))
    case = {**CASES, **POSTGRES_CASES}[name]
    if driver in ASYNC:
        return asyncio.run(_run_async(case, url))
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return seen(case(connection))
    finally:
        engine.dispose()


async def _run_async(case: Any, url: sa.URL) -> Any:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return seen(await connection.run_sync(case))
    finally:
        await engine.dispose()


def names_of(driver: str) -> list[str]:
    """The cases for a driver."""
    names = list(CASES)
    names += POSTGRES_CASES if "sqlite" not in driver else ()
    names += ASYNC_CASES if driver in ASYNC else ENGINE_CASES
    return names


ALL = [pytest.param(driver, name, id=f"{driver}-{name}") for driver in (*SYNC, *ASYNC) for name in names_of(driver)]


# The first test makes all bare and recorded runs: half a minute, and on a busy machine ten times that.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Made]]:
    """The bare and the recorded runs of the selected cases; the servers are gone behind them."""
    folder = tmp_path_factory.mktemp("sql")
    servers: list[Postgres] = []

    def postgres() -> Postgres:
        if not servers:
            servers.append(Postgres())
        return servers[0]

    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    here = [item for item in items if item.module is request.module and hasattr(item, "callspec")]
    chosen: dict[tuple[str, str], None] = {}
    for item in here:
        params: Any = item.callspec.params
        chosen[params["driver"], params["name"]] = None
    databases = {driver: Database(driver, folder, postgres) for driver, _ in chosen}
    found = {}
    try:
        for driver, name in chosen:
            database = databases[driver]
            cassette, added = folder / f"{driver}-{name}.msgpack", folder / f"{driver}-{name}-added.msgpack"
            with record(added, redact="off"):
                pass
            seen_by_run = []
            adding = replay(added, record_mode="new_episodes")
            for session in (nullcontext(), record(cassette, redact="off"), adding):
                database.clear()
                with session:
                    seen_by_run.append(attempt(run_case, driver, name, database.url))
            found[driver, name] = Made(seen_by_run[0], seen_by_run[1], seen_by_run[2], cassette, added)
        for database in databases.values():
            database.gone()
        _databases.update(databases)
        yield found
    finally:
        _databases.clear()
        for server in servers:
            server.close()


_databases: dict[str, Database] = {}


def same(expected: Any, actual: Any) -> None:
    """Compare, and show a difference line by line."""
    # To write thousands of rows as JSON takes longer than the case, and what has one `repr` has one JSON.
    if repr(actual) == repr(expected):
        return
    assert json.dumps(actual, indent=1, default=repr) == json.dumps(expected, indent=1, default=repr)


@pytest.mark.parametrize(("driver", "name"), ALL)
def test_a_recording_changes_nothing(made: dict[Any, Made], driver: str, name: str) -> None:
    assert not isinstance(made[driver, name].bare, dict), "the case itself failed"
    same(made[driver, name].bare, made[driver, name].recorded)


@pytest.mark.parametrize(("driver", "name"), ALL)
def test_adding_new_calls_changes_nothing(made: dict[Any, Made], driver: str, name: str) -> None:
    case = made[driver, name]
    bare = list(case.bare)
    if name == "every_event_fires":
        # Listeners hear of the real connection, and of the one that stands before it.
        bare.insert(2, "connect")
    same(bare, case.adding)
    assert calls_of(case.added) == calls_of(case.cassette)


@pytest.mark.parametrize("added", [False, True], ids=["recorded", "added"])
@pytest.mark.parametrize(("driver", "name"), ALL)
def test_a_replay_needs_no_server(made: dict[Any, Made], driver: str, name: str, added: bool) -> None:
    case = made[driver, name]
    database = _databases[driver]
    cassette = case.added if added else case.cassette
    assert all(event.not_replayable is None for event in read_cassette(cassette).events)
    with replay(cassette) as session:
        replayed = attempt(run_case, driver, name, database.url)
    same(case.bare, replayed)
    assert isinstance(session, ReplaySession)
    assert not session.misses
    assert [event.call.args for event in session.get_unconsumed_events()] == []  # type: ignore[union-attr]
    assert not database.is_sqlite or not database.file.exists()


def calls_of(cassette: Path) -> Any:
    """What was called and how it ended, as often as it was; tasks side by side have no order."""
    return Counter((event.signature.method, event.result.error_type) for event in read_cassette(cassette).events)
