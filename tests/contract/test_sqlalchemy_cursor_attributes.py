"""A cursor has the attributes of the driver's own, recorded and replayed: libraries ask with ``hasattr``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.observation import differences
from tests.servers.mariadb import MariaDb, needs_mariadb, needs_mysqlclient
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay

DRIVERS = ("sqlite", "aiosqlite", "psycopg", "psycopg_async", "psycopg2", "asyncpg")
ASKED = {
    *("arraysize", "bind", "callproc", "cast", "close", "closed", "connection", "copy", "copy_from", "description"),
    *("execute", "executemany", "executemany_by", "executescript", "fetchall", "fetchmany", "fetchone", "itersize"),
    *("lastrowid", "messages", "mogrify", "name", "nextset", "no_such_thing", "query", "results", "rowcount"),
    *("row_factory", "rownumber", "scroll", "server_side", "setinputsizes", "setoutputsize", "statusmessage"),
    *("stream", "__next__"),
}


@pytest.mark.parametrize("driver", DRIVERS)
def test_hasattr_is_as_true_as_with_the_driver(driver: str, postgres: Postgres, tmp_path: Path) -> None:
    postgres.start()
    if "sqlite" in driver:
        url = sa.make_url(f"{'sqlite' if driver == 'sqlite' else 'sqlite+aiosqlite'}:///{tmp_path / 'app.db'}")
        dead = url.set(database=str(tmp_path / "nowhere" / "app.db"))
    else:
        url = postgres.url(driver.removesuffix("_async"))
        dead = url.set(port=1)
    _compare(driver, url, dead, tmp_path / "x.msgpack")


@needs_mariadb
@pytest.mark.parametrize(
    "driver", ["pymysql", "aiomysql", "asyncmy", pytest.param("mysqldb", marks=needs_mysqlclient)]
)
def test_hasattr_is_as_true_as_with_the_drivers_of_mysql(driver: str, mariadb: MariaDb, tmp_path: Path) -> None:
    url = mariadb.url(driver)
    _compare(driver, url, url.set(query={"unix_socket": "/nowhere"}), tmp_path / "x.msgpack")


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    yield server
    server.close()


def _compare(driver: str, url: sa.URL, dead: sa.URL, cassette: Path) -> None:
    asked = set(ASKED)

    def look(connection: Any) -> Any:
        cursor = connection.connection.cursor()
        asked.update(name for name in dir(cursor) if not name.startswith("_"))
        # pymysql's cursors get theirs with the first statement.
        found = [_attributes(cursor, asked - {"lastrowid"})]
        cursor.execute("SELECT 1 UNION SELECT 2")
        found.append(_attributes(cursor, asked))
        cursor.fetchall()
        found.append(_attributes(cursor, asked))
        cursor.close()
        found.append(_attributes(cursor, asked))
        return found

    _run(driver, url, look)
    bare = _run(driver, url, look)
    with record(cassette):
        recorded = _run(driver, url, look)
    with replay(cassette):
        replayed = _run(driver, dead, look)
    assert not differences(bare, recorded)
    assert not differences(bare, replayed)


def test_what_is_not_recorded_is_refused_where_it_is_used(postgres: Postgres, tmp_path: Path) -> None:
    postgres.start()
    engine = sa.create_engine(postgres.url("psycopg2"))
    with record(tmp_path / "x.msgpack"):
        _run("psycopg2", engine.url, lambda connection: connection.connection.cursor().execute("SELECT 1"))
    with replay(tmp_path / "x.msgpack", fail_on_miss=False) as session, engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT 1")
        query = cursor.query
        assert session.verdict().misses == ()
        for use in (bytes, bool, len, str, lambda value: value == b"", lambda value: value.decode()):
            with pytest.raises(ReplayMismatchError, match=r"Not recorded: cursor\.query"):
                use(query)
        assert repr(query) == "<not recorded: cursor.query>"
        with pytest.raises(ReplayMismatchError, match=r"Not recorded: cursor\.mogrify"):
            cursor.mogrify("SELECT 1")
    engine.dispose()


def _attributes(cursor: Any, asked: set[str]) -> dict[str, bool]:
    return {name: hasattr(cursor, name) for name in sorted(asked)}


def _run(driver: str, url: sa.URL, look: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(look)
        await engine.dispose()
        return found

    if driver in ("aiosqlite", "asyncpg", "psycopg_async", "aiomysql", "asyncmy"):
        return asyncio.run(run())
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = look(connection)
    engine.dispose()
    return found
