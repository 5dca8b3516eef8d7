"""A MariaDB server for tests: started here as any user, or the one that ``TIMETRACER_TEST_MARIADB`` names.

No package on PyPI brings the programs. Debian's and Ubuntu's are ``mariadb-server-core`` and ``mariadb-client-core``,
which `.ci/run` installs. Where the programs are missing, the tests that need them are skipped; with ``CI`` set, they
fail.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped,unused-ignore]
import pytest
from pymysql.constants import ER  # type: ignore[import-untyped,unused-ignore]
from sqlalchemy.engine import URL, make_url

from tests.servers._failure import ServerDidNotStart
from tests.servers._leashed import LeashedServer

__all__ = ["HAS_MARIADB", "HAS_MYSQLCLIENT", "MariaDb", "needs_mariadb", "needs_mysqlclient"]

_SYSTEM_SERVER = os.environ.get("TIMETRACER_TEST_MARIADB", "")
"""``mysql://user:password@host:port/database``; read before the tests clear the environment."""

_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin")
_LOG_SIZE = "--innodb-log-file-size=16M"
_SETTINGS = (
    *("--skip-networking", "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"),
    *("--innodb-buffer-pool-size=32M", _LOG_SIZE, "--aria-pagecache-buffer-size=8M"),
    *("--performance-schema=OFF", "--character-set-server=utf8mb4", "--innodb-fast-shutdown=2", "--pid-file=pid"),
)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))


def _why_not() -> str | None:
    missing = [name for name in ("mariadbd", "mariadb-install-db") if _program(name) is None]
    if _SYSTEM_SERVER or not missing:
        return None
    packages = "mariadb-server-core mariadb-client-core"
    return f"no {' and no '.join(missing)} here: install {packages}, or set TIMETRACER_TEST_MARIADB"


HAS_MARIADB = _why_not() is None or bool(os.environ.get("CI"))
"""Whether there is a server, or has to be."""
needs_mariadb = pytest.mark.skipif(not HAS_MARIADB, reason=str(_why_not()))
"""Marks tests that need a server. With the mark below, this is the one skip of the whole suite."""

_PYTHON_H = Path(sysconfig.get_path("include"), "Python.h")
HAS_MYSQLCLIENT = importlib.util.find_spec("MySQLdb") is not None or bool(os.environ.get("CI") and _PYTHON_H.exists())
"""Whether there is the driver in C, or has to be."""
needs_mysqlclient = pytest.mark.skipif(
    not HAS_MYSQLCLIENT,
    reason="no mysqlclient here: it is built where libmariadb-dev and a C compiler are, before make sets .venv up"
    if _PYTHON_H.exists()
    else f"no mysqlclient here: it is built with {_PYTHON_H}, which this Python has not (Debian's is in python3-dev)",
)
"""Marks tests that need the driver in C. It has no wheels: a Python without its headers cannot have it, nor in CI."""


class MariaDb:
    """One database, empty at first. Not safe to use from two threads.

    The databases of a process are in one server: to stop one stops all of them.
    """

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._database = f"test_{os.getpid()}_{next(self._numbers)}"
        self._server = None if _SYSTEM_SERVER else _server()
        self._stopped = False
        self.start()
        self.clear()

    def url(self, driver: str) -> URL:
        """The URL of the database for a driver of SQLAlchemy's."""
        url = self._base.set(drivername=f"mysql+{driver}", database=self._database)
        if self._stopped and self._server is None:
            return url.set(port=1)
        return url

    def clear(self) -> None:
        """Drop everything in it."""
        # A case that failed may have left a transaction open, with its locks.
        left = self.execute(f"SELECT id FROM information_schema.processlist WHERE db = '{self._database}'")
        for (number,) in left:
            # A connection that the case closed may end between the two statements.
            with _ended_already():
                self.execute(f"KILL {number}")
        self.execute(
            f"DROP DATABASE IF EXISTS {self._database}", f"CREATE DATABASE {self._database} CHARACTER SET utf8mb4"
        )

    def execute(self, *statements: str) -> Any:
        """Run statements, past everything that is tested; gives the rows of the last one."""
        return execute(self._base, *statements)

    def stop(self) -> None:
        """Nobody reaches it from now on."""
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
        self.start()
        self.execute(f"DROP DATABASE IF EXISTS {self._database}")

    @property
    def _base(self) -> URL:
        return make_url(_SYSTEM_SERVER) if self._server is None else self._server.url


class _Server(LeashedServer):
    name = "MariaDB"
    ends_by = signal.SIGTERM
    killed_by = signal.SIGKILL
    refusals = pymysql.err.OperationalError

    def __init__(self) -> None:
        why_not = _why_not()
        if why_not is not None:
            raise ServerDidNotStart(self.name, why_not)
        super().__init__()
        self.url = make_url(f"mysql://root@localhost/mysql?unix_socket={self.socket_path}")
        self._mariadbd = Path(str(_program("mariadbd")))
        # A server that starts removes the temporary tables of others that share its folder for them.
        self.started_as = ["env", f"TMPDIR={self.folder}"]
        self.set_up(self._mariadbd)

    def make(self, data: Path) -> Sequence[str]:
        options = ("--auth-root-authentication-method=normal", "--skip-test-db", _LOG_SIZE)
        return [str(_program("mariadb-install-db")), "--no-defaults", f"--datadir={data}", *options]

    def command(self) -> Sequence[str]:
        where = (f"--datadir={self.data}", f"--socket={self.socket_path}")
        return [str(self._mariadbd), "--no-defaults", *where, *_SETTINGS]

    @property
    def socket_path(self) -> Path:
        return self.folder / "socket"

    def ask(self) -> None:
        execute(self.url)


@contextmanager
def _ended_already() -> Iterator[None]:
    try:
        yield
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.NO_SUCH_THREAD:
            raise


@cache
def _server() -> _Server:
    return _Server()


def execute(url: URL, *statements: str) -> Any:
    """Run statements on a server, past everything that is tested; gives the rows of the last one."""
    where: dict[str, Any] = {"host": url.host, "port": url.port or 3306, **url.query}
    connection = pymysql.connect(user=url.username, password=url.password or "", autocommit=True, **where)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if statements else ()
    finally:
        connection.close()
