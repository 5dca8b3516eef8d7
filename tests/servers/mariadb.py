"""A MariaDB server for tests: started here as any user, or the one that ``TIMETRACER_TEST_MARIADB`` names.

No package on PyPI brings the programs. Debian's and Ubuntu's are ``mariadb-server-core`` and ``mariadb-client-core``,
which `.ci/run` installs. Where the programs are missing, the tests that need them are skipped; with ``CI`` set, they
fail.

It listens on a Unix socket in a folder of its own, and on nothing else. For root it runs as another user, as
PostgreSQL does.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped,unused-ignore]
import pytest
from pymysql.constants import ER  # type: ignore[import-untyped,unused-ignore]
from sqlalchemy.engine import URL, make_url

from tests.servers._failure import ServerDidNotStart
from tests.servers.postgres import unprivileged

__all__ = ["MariaDb", "needs_mariadb", "needs_mysqlclient"]

_SYSTEM_SERVER = os.environ.get("TIMETRACER_TEST_MARIADB", "")
"""``mysql://user:password@host:port/database``; read before the tests clear the environment."""

_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin")
_READY_SECONDS = 100.0
_LEASH = 'exec 3<&0; "$@" </dev/null & server=$!; (read _ <&3; kill -TERM $server) & wait $server'
"""As `tests.servers.postgres` has it: the server ends with the process that started it."""
_SETTINGS = (
    *("--skip-networking", "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"),
    *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--aria-pagecache-buffer-size=8M"),
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


needs_mariadb = pytest.mark.skipif(_why_not() is not None and not os.environ.get("CI"), reason=str(_why_not()))
"""Marks tests that need a server. With the mark below, this is the one skip of the whole suite."""

needs_mysqlclient = pytest.mark.skipif(
    importlib.util.find_spec("MySQLdb") is None and not os.environ.get("CI"),
    reason="no mysqlclient here: it is built where libmariadb-dev and a C compiler are, before make sets .venv up",
)
"""Marks tests that need the driver in C, which has no wheels."""


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
        return _execute(self._base, *statements)

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


class _Server:
    """A server of this process, with its files in a folder of its own; both are gone when the process ends."""

    def __init__(self) -> None:
        why_not = _why_not()
        if why_not is not None:
            raise ServerDidNotStart("MariaDB", why_not)
        # Short: the path of a socket has little room.
        self._folder = Path(tempfile.mkdtemp(prefix="my-", dir="/tmp" if Path("/tmp").is_dir() else None))
        atexit.register(self._remove, os.getpid())
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = self._folder / "socket"
        self.url = make_url(f"mysql://root@localhost/mysql?unix_socket={self._socket}")
        self._mariadbd = str(_program("mariadbd"))
        # A server that starts removes the temporary tables of others that share its folder for them.
        self._as: dict[str, Any] = {"cwd": self._folder, "env": {**os.environ, "TMPDIR": str(self._folder)}}
        if os.geteuid() == 0:
            who = unprivileged(Path(self._mariadbd))
            os.chown(self._folder, who["user"], who["group"])
            self._as |= who
        made = subprocess.run(
            [
                str(_program("mariadb-install-db")),
                "--no-defaults",
                f"--datadir={self._folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        if made.returncode:
            raise ServerDidNotStart("MariaDB", made.stdout[-2000:] + made.stderr[-2000:])

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is not None:
            return
        log = self._folder / "log"
        data, at = f"--datadir={self._folder / 'data'}", f"--socket={self._socket}"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    _LEASH,
                    "sh",
                    self._mariadbd,
                    "--no-defaults",
                    data,
                    at,
                    *_SETTINGS,
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # A Ctrl-C is for the tests; they end it in their own time.
                start_new_session=True,
                **self._as,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart("MariaDB", log.read_text(errors="replace")[-4000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, if it runs: its connections are cut, and its socket is gone."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
        self._process = None
        self._socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        # pymysql leaves its socket open where nobody listens.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self._socket)):
                return False
        _execute(self.url)
        return True

    def _remove(self, owner: int) -> None:
        # A child that this process forked has no part in it.
        if os.getpid() == owner:
            self.stop()
            shutil.rmtree(self._folder, ignore_errors=True)


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


def _execute(url: URL, *statements: str) -> Any:
    where: dict[str, Any] = {"host": url.host, "port": url.port or 3306, **url.query}
    connection = pymysql.connect(user=url.username, password=url.password or "", autocommit=True, **where)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if statements else ()
    finally:
        connection.close()
