"""SQLAlchemy over each of its drivers, in the words of the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import base, default
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.framework import Case, Flavour, methods_of, run_async
from tests.contract.sql_cases import CASES
from tests.contract.sql_engine_cases import ASYNC_CASES, ENGINE_CASES
from tests.contract.sql_mysql_cases import MYSQL_CASES
from tests.contract.sql_observation import seen
from tests.contract.sql_postgres_cases import POSTGRES_CASES
from tests.servers.mariadb import MariaDb
from tests.servers.postgres import Postgres
from timetracer_otel.plugins import disable_sqlalchemy, enable_sqlalchemy

__all__ = ["SqlFlavour"]

_MODULES = (sa.pool.base, base, default)
_UNTOUCHED = methods_of(*_MODULES)
_ASYNC = {"aiosqlite", "asyncpg", "psycopg_async", "aiomysql", "asyncmy"}
_MYSQL = {"pymysql", "mysqldb", "aiomysql", "asyncmy"}


class SqlFlavour(Flavour):
    """One driver. SQLite's file is removed before a replay, PostgreSQL and MariaDB are stopped.

    Attributes:
        name: The driver's.
    """

    recording = {"redact": "off"}  # noqa: RUF012
    all_replayable = True

    def __init__(self, driver: str) -> None:
        self.name = driver
        self.is_sqlite = "sqlite" in driver
        self._file = Path()
        self._server: Postgres | MariaDb | None = None

    @property
    def cases(self) -> list[Case]:
        """All cases for this driver; each is run with the database's URL, by engines of its own."""
        more = {} if self.is_sqlite else MYSQL_CASES if self.name in _MYSQL else POSTGRES_CASES
        on_connection = {**CASES, **more}
        runs: dict[str, Callable[[sa.URL], Any]]
        if self.name in _ASYNC:
            runs = {name: partial(_async, case) for name, case in on_connection.items()}
            runs |= {name: partial(_awaited, case) for name, case in ASYNC_CASES.items()}
        else:
            runs = {name: partial(_sync, case) for name, case in on_connection.items()}
            runs |= ENGINE_CASES
        return [Case(name, run) for name, run in runs.items()]

    @property
    def url(self) -> sa.URL:
        """The database's."""
        if self._server is not None:
            return self._server.url(self.name.removesuffix("_async"))
        scheme = "sqlite" if self.name == "sqlite" else "sqlite+aiosqlite"
        return sa.make_url(f"{scheme}:///{self._file}")

    def start(self, folder: Path) -> None:
        self._file = folder / "app.db"
        self._server = None if self.is_sqlite else MariaDb() if self.name in _MYSQL else Postgres()

    def reset(self) -> None:
        if self._server is None:
            self._file.unlink(missing_ok=True)
        else:
            self._server.clear()

    def stop(self) -> None:
        if self._server is None:
            self._file.unlink(missing_ok=True)
        else:
            self._server.stop()

    def tear_down(self) -> None:
        if self._server is not None:
            self._server.close()

    def enable(self) -> None:
        enable_sqlalchemy()

    def disable(self) -> None:
        disable_sqlalchemy()

    def is_untouched(self) -> bool:
        return methods_of(*_MODULES) == _UNTOUCHED

    def perform(self, case: Case) -> Any:
        return self.perform_with(case, self.url)

    @staticmethod
    def perform_with(case: Case, url: sa.URL) -> Any:
        """`perform` with a given database."""
        return seen(case.run(url))

    def expected_when_adding(self, case: Case, bare: Any) -> Any:
        if case.name == "every_event_fires":
            # Listeners hear of the real connection, and of the one that stands before it.
            kind, *fired = bare
            return [kind, "connect", *fired]
        return bare

    def check_left(self) -> None:
        assert not self.is_sqlite or not self._file.exists()


def _sync(case: Callable[[sa.Connection], Any], url: sa.URL) -> Any:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            # While it is open: some of what a case gives is read behind it.
            return seen(case(connection))
    finally:
        engine.dispose()


def _async(case: Callable[[sa.Connection], Any], url: sa.URL) -> Any:
    async def run() -> Any:
        engine = create_async_engine(url)
        try:
            async with engine.connect() as connection:
                return seen(await connection.run_sync(case))
        finally:
            await engine.dispose()

    return run_async(run())


def _awaited(case: Callable[[sa.URL], Any], url: sa.URL) -> Any:
    return run_async(case(url))
