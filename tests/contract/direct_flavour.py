"""Drivers that an app uses itself, in the words of the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import _connection_base, _cursor_base, _server_cursor_base

from tests.contract.direct_cases import DIRECT_CASES
from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.psycopg_cases import PSYCOPG_CASES
from tests.contract.sql_observation import seen
from tests.contract.sqlite3_cases import SQLITE3_CASES
from tests.servers.postgres import Postgres
from timetracer_otel.plugins import disable_psycopg, disable_sqlite3, enable_psycopg, enable_sqlite3

__all__ = ["PsycopgFlavour", "Sqlite3Flavour"]

_CONNECT = (sqlite3.connect, sqlite3.dbapi2.connect)
_MODULES = (psycopg, _connection_base, _cursor_base, _server_cursor_base, psycopg.sql)
_UNTOUCHED = methods_of(*_MODULES)


class Sqlite3Flavour(Flavour):
    """sqlite3 on a file, which is removed before a replay."""

    name = "sqlite3"
    recording = {"redact": "off"}  # noqa: RUF012
    all_replayable = True
    dbapi: Any = sqlite3
    serial = "INTEGER PRIMARY KEY"

    def __init__(self) -> None:
        self._file = Path()

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own connections."""
        return [Case(name, run) for name, run in {**DIRECT_CASES, **SQLITE3_CASES}.items()]

    def connect(self, *, fails: bool = False, reads: bool = False, **options: Any) -> Any:
        """Open a connection to the file, to one in a folder that is not there, or only to read."""
        if reads:
            return sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, **options)
        return sqlite3.connect(self._file.parent / "nowhere" / "app.db" if fails else self._file, **options)

    @staticmethod
    def sql(text: str) -> str:
        """The statement as it is."""
        return text

    def start(self, folder: Path) -> None:
        self._file = folder / "app.db"

    def reset(self) -> None:
        self._file.unlink(missing_ok=True)

    def stop(self) -> None:
        self.reset()

    def tear_down(self) -> None:
        self.reset()

    def enable(self) -> None:
        enable_sqlite3()

    def disable(self) -> None:
        disable_sqlite3()

    def is_untouched(self) -> bool:
        return (sqlite3.connect, sqlite3.dbapi2.connect) == _CONNECT

    def perform(self, case: Case) -> Any:
        return seen(case.run(self))

    def check_left(self) -> None:
        assert not self._file.exists()


class PsycopgFlavour(Flavour):
    """psycopg on a PostgreSQL, which is stopped before a replay."""

    name = "psycopg"
    recording = {"redact": "off"}  # noqa: RUF012
    all_replayable = True
    dbapi: Any = psycopg
    serial = "serial PRIMARY KEY"

    def __init__(self) -> None:
        self._server: Postgres | None = None

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own connections."""
        return [Case(name, run) for name, run in {**DIRECT_CASES, **PSYCOPG_CASES}.items()]

    def connect(self, *, fails: bool = False, kind: Any = psycopg.Connection, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        assert self._server is not None
        url = self._server.url("psycopg").set(drivername="postgresql")
        if fails:
            return kind.connect(host="127.0.0.1", port=1, dbname="app", **options)
        connect: Callable[..., Any] = kind.connect
        return connect(url.render_as_string(hide_password=False), **options)

    @staticmethod
    def sql(text: str) -> str:
        """The statement with the placeholders of psycopg."""
        return text.replace("?", "%s")

    def start(self, folder: Path) -> None:
        self._server = Postgres()

    def reset(self) -> None:
        assert self._server is not None
        self._server.clear()

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def tear_down(self) -> None:
        assert self._server is not None
        self._server.close()

    def enable(self) -> None:
        enable_psycopg()

    def disable(self) -> None:
        disable_psycopg()

    def is_untouched(self) -> bool:
        return methods_of(*_MODULES) == _UNTOUCHED

    def perform(self, case: Case) -> Any:
        return seen(case.run(self))
