"""Each process hashes text by a seed of its own, so sets have another order in it. No replay may depend on that.

The contract's classes record and replay in one process. Here each side is a process of its own, under another seed.
One library of each kind runs, with a sample of its cases, and in ``make test-whole`` all run with all.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.contract.hash_seed_program import SAMPLE
from tests.contract.observation import differences
from tests.contract.sql_flavour import SqlFlavour
from tests.examples import WHOLE, drawn, seeded, shared
from tests.servers.grpc_service import GrpcService
from tests.servers.mariadb import HAS_MARIADB, HAS_MYSQLCLIENT, MariaDb, needs_mariadb, needs_mysqlclient
from tests.servers.mongo import Mongo
from tests.servers.postgres import Postgres
from tests.servers.websocket_service import WebSocketService


@contextmanager
def _server(kind: type[Postgres | MariaDb]) -> Iterator[str]:
    """The URL of a database of its own, as long as it is there."""
    server = kind()
    url = server.url("driver")
    try:
        yield url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    finally:
        server.close()


@contextmanager
def _grpc() -> Iterator[str]:
    """The URL of a server of gRPC. The replay lets it stop listening."""
    server = GrpcService()
    try:
        yield f"grpc://{server.address}"
    finally:
        server.close()


@contextmanager
def _mongo() -> Iterator[str]:
    """The URL of a server of MongoDB's protocol."""
    server = Mongo()
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def _websocket() -> Iterator[str]:
    """The URL of a server of WebSockets. The replay lets it stop listening."""
    server = WebSocketService()
    try:
        yield server.url
    finally:
        server.close()


DIRECT: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "aiosqlite": lambda: nullcontext(""),
    "sqlite3": lambda: nullcontext(""),
    "asyncpg": lambda: _server(Postgres),
    "psycopg": lambda: _server(Postgres),
    "psycopg2": lambda: _server(Postgres),
    "aiomysql": lambda: _server(MariaDb),
    "asyncmy": lambda: _server(MariaDb),
    "mysqlclient": lambda: _server(MariaDb),
    "mysqlconnector": lambda: _server(MariaDb),
    "pymysql": lambda: _server(MariaDb),
    "grpc": _grpc,
    "pymongo": _mongo,
    "websocket": _websocket,
}
"""By driver that an app may use itself: makes its database, and gives the URL of that, or an empty text."""
_OF_ONE_DATABASE = [["aiosqlite", "sqlite3"], ["asyncpg", "psycopg", "psycopg2"]]
_WITH_MARIADB = ["aiomysql", "asyncmy", "mysqlconnector", "pymysql", *(["mysqlclient"] if HAS_MYSQLCLIENT else [])]
_MARKS = {
    **{name: [needs_mariadb] for name in _WITH_MARIADB},
    "mysqlclient": [needs_mariadb, needs_mysqlclient],
}


def _together() -> list[Any]:
    """The drivers whose cases two processes run: one of each database; where all are run, each for itself."""
    if WHOLE:
        return [pytest.param([name], marks=_MARKS.get(name, ()), id=name) for name in DIRECT]
    others = DIRECT.keys() - _MARKS.keys() - {name for names in _OF_ONE_DATABASE for name in names}
    chosen = [*drawn(_OF_ONE_DATABASE, "direct"), *sorted(others)]
    with_mariadb = drawn([_WITH_MARIADB], "direct, MariaDB")
    if HAS_MARIADB:
        return [pytest.param(chosen + with_mariadb, id="one of each database")]
    return [pytest.param(chosen, id="one of each"), pytest.param(with_mariadb, marks=needs_mariadb, id="MariaDB")]


Asked = dict[str, tuple[str, "list[str] | None"]]
"""By library: the URL of its database or an empty text, and the names of its cases, or None for a sample."""


@pytest.mark.sweep
@pytest.mark.parametrize(
    "with_mysql",
    # In the same two processes, where there is one.
    [pytest.param(True, marks=needs_mariadb)] if HAS_MARIADB else [False, pytest.param(True, marks=needs_mariadb)],
)
def test_recordings_replay_under_another_hash_seed(postgres: Postgres, tmp_path: Path, with_mysql: bool) -> None:
    # Each of their cases runs over one of them, as an ORM's INSERT of several rows is built from a set. Of the other
    # libraries one of each kind runs, with a sample of its cases.
    drivers = {driver: [case.name for case in SqlFlavour(driver).cases] for driver in ("psycopg", "psycopg2")}
    chosen = drivers if WHOLE else {each: sorted(names) for each, names in shared("hash seeds", drivers).items()}
    mysql = ["pymysql"] if with_mysql else []
    http = ["httpx", "requests", "aiohttp", "urllib3", "urllib"]
    kinds = [http, ["redis", "sqlite"], ["asyncpg", *mysql]]
    others = drawn(kinds, "hash seeds")
    asked: Asked = {name: ("", None) for name in others if name not in kinds[-1]}
    postgres_drivers = [*chosen, *(name for name in others if name == "asyncpg")]
    servers: dict[str, Postgres | MariaDb] = dict.fromkeys(postgres_drivers, postgres)
    with ExitStack() as ends:
        if "pymysql" in others:
            servers["pymysql"] = MariaDb()
            ends.callback(servers["pymysql"].close)
        for driver, server in servers.items():
            asked[driver] = server.url(driver).render_as_string(hide_password=False), chosen.get(driver)
        seen = _both(asked, tmp_path)
    for name, (_, names) in asked.items():
        assert len(seen[name]) >= SAMPLE if names is None else sorted(seen[name]) == sorted(names)


@pytest.mark.sweep
@pytest.mark.parametrize("drivers", _together())
def test_drivers_that_are_used_directly_replay_under_another_hash_seed(drivers: list[str], tmp_path: Path) -> None:
    with ExitStack() as ends:
        asked: Asked = {
            f"direct {driver}": (ends.enter_context(DIRECT[driver]()), None if not WHOLE else _names(driver))
            for driver in drivers
        }
        seen = _both(asked, tmp_path)
    assert {name: len(found) >= SAMPLE for name, found in seen.items()} == dict.fromkeys(asked, True)


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["http_client", "urllib"])
def test_clients_of_the_standard_library_replay_under_another_hash_seed(name: str, tmp_path: Path) -> None:
    seen = _both({name: ("", None)}, tmp_path)
    assert len(seen[name]) >= SAMPLE


def _names(driver: str) -> list[str]:
    flavour = importlib.import_module(f"tests.contract.{driver}_flavour").FLAVOUR()
    return [case.name for case in flavour.cases]


def _both(asked: Asked, folder: Path) -> dict[str, Any]:
    """What the recording saw; the replay saw the same."""
    recorded, replayed = (_run(mode, asked, folder) for mode in ("record", "replay"))
    found = differences(recorded, replayed)
    assert not found, "\n".join(found)
    return recorded


def _run(mode: str, asked: Asked, folder: Path) -> dict[str, Any]:
    seed = seeded("hash seed", *asked, mode).randrange(2**32)
    program = Path(__file__).with_name("hash_seed_program.py")
    found: dict[str, Any] = told_under_hash_seed(
        seed, program, mode, str(folder), folder=folder, given=json.dumps(asked)
    )
    return found
