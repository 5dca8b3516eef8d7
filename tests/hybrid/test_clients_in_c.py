"""Clients that connect, and use connections that were open before, in C code: run for real, with their servers."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from curl_cffi import requests as curl_requests

from tests.hybrid.test_closed_world import refused
from tests.loopback import Loopback
from tests.servers.mariadb import MariaDb, needs_mariadb
from tests.servers.odbc import driver_of_mariadb, needs_odbc
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, replay


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    server.execute(f"CREATE TABLE {server.url('x').database}.orders (n integer)")
    yield server
    server.close()


def live(empty: Path, call: Callable[[], Any], **settings: Any) -> dict[str, int]:
    """What the account of a replay counts where a call may go out."""
    with replay(empty, **settings) as session:
        call()
    assert session.verdict().ok
    return dict(session.verdict().live)


class TestPsycopg:
    """psycopg asks libpq. Its plugin answers also what goes over a connection that was opened before."""

    def test_nothing_goes_out_over_an_open_connection(self, empty: Path) -> None:
        server = Postgres()
        server.execute("CREATE TABLE orders (n integer)")
        url = server.url("psycopg")
        folder, port = str(url.query["host"]), url.port or 5432
        where: dict[str, Any] = {"host": folder, "user": url.username, "dbname": url.database, "port": port}

        async def insert() -> None:
            async with await psycopg.AsyncConnection.connect(**where, autocommit=True) as connection:
                error = None
                with replay(empty, fail_on_miss=False):
                    try:
                        await connection.execute("INSERT INTO orders VALUES (2)")
                    except Exception as raised:
                        error = raised
                assert str(error).startswith("No recorded call matches: psycopg INSERT postgresql://")

        with psycopg.connect(**where, autocommit=True) as connection:
            do = lambda: connection.execute("INSERT INTO orders VALUES (1)")  # noqa: E731
            missed = pytest.raises(ReplayMismatchError, match="No recorded call matches: psycopg INSERT")
            with replay(empty, fail_on_miss=False), missed:
                do()
            asyncio.run(insert())
            count = "SELECT count(*) FROM orders"
            assert connection.execute(count).fetchall() == [(0,)]
            assert live(empty, do, live_hosts=[f"{folder}/*"]) == {"psycopg": 1}
            assert connection.execute(count).fetchall() == [(1,)]
        server.clear()


@needs_mariadb
class TestMySQL:
    @needs_odbc
    def test_pyodbc(self, mariadb: MariaDb, empty: Path) -> None:
        pyodbc = importlib.import_module("pyodbc")
        url = mariadb.url("x")
        path = url.query["unix_socket"]
        text = f"Driver={driver_of_mariadb()};Socket={path};User={url.username};Database={url.database}"

        def count() -> int:
            with closing(pyodbc.connect(text, autocommit=True)) as connection:
                connection.execute("INSERT INTO orders VALUES (1)")
                return int(connection.execute("SELECT count(*) FROM orders").fetchval())

        before = count()
        error = refused(count, empty)
        assert (error.library, error.address) == ("pyodbc", path)
        assert live(empty, count, live_hosts=[path]) == {"pyodbc": 1}
        assert count() == before + 2
        with closing(pyodbc.connect(text, autocommit=True)) as connection:
            # Nobody sees what a connection from before does, if it has no span: a table in the documentation says so.
            assert live(empty, lambda: connection.execute("INSERT INTO orders VALUES (1)")) == {}
        assert count() == before + 4


class TestCurlCffi:
    """curl_cffi asks libcurl through cffi, in sessions that keep connections open."""

    def test_sessions(self, upstream: Loopback, empty: Path) -> None:
        address = upstream.url.removeprefix("http://")
        with curl_requests.Session() as session:
            ask = lambda: session.get(f"{upstream.url}/users/1").status_code  # noqa: E731
            assert ask() == 200
            upstream.hits.clear()
            error = refused(ask, empty)
            assert (error.library, error.address) == ("curl_cffi", address)
            assert upstream.hits == {}
            assert live(empty, ask, live_hosts=[address]) == {"curl_cffi": 1}
            assert upstream.hits == {"/users/1": 1}

    def test_asynchronous_sessions(self, upstream: Loopback, empty: Path) -> None:
        async def ask() -> None:
            async with curl_requests.AsyncSession() as session:
                answer = await session.get(f"{upstream.url}/users/1")
                assert answer.status_code == 200

        asyncio.run(ask())
        upstream.hits.clear()
        error = refused(lambda: asyncio.run(ask()), empty)
        assert (error.library, error.address) == ("curl_cffi", upstream.url.removeprefix("http://"))
        assert upstream.hits == {}
        assert live(empty, lambda: asyncio.run(ask()), live_plugins=["curl_cffi"]) == {"curl_cffi": 1}
