"""A database server of this process, in a folder of its own. Both are gone when the process ends, or is killed.

What takes long is made once for a test run: the folder of its data as it is at first, and programs that had to be
copied. Every process of the run copies them. They are in a temporary folder of the run, which ``TEST_SERVERS`` names:
nothing is shared between runs, nor between users.

A server refuses to run as root. For root it runs as a user that every system has (``nobody``), in a folder that is
given to that user; for everybody else as themselves.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from tests import run_folders
from tests.servers._failure import ServerDidNotStart

__all__ = ["RUN", "TEMPORARY", "LeashedServer"]

RUN = "TEST_SERVERS"
"""The variable that names the folder of a test run. Without it, each server makes for itself what it needs."""

TEMPORARY = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
"""Where servers have their folders."""

_READY_SECONDS = 100.0
_LEASH = (
    'ends=$1; shift; exec 3<&0; "$@" </dev/null & server=$!; '
    "(read _ <&3; kill -$ends $server 2>/dev/null) & wait $server"
)
"""Runs a command until it ends, or until the standard input ends: a server ends also where the tests are killed.

That a server has ended already is not said: the last line of the log is the reason of the server.
"""


class LeashedServer(ABC):
    """One server, which listens on a Unix socket in its folder and on nothing else.

    Attributes:
        name: As errors call it.
        ends_by: The signal that asks for a fast shutdown.
        killed_by: That for a server that does not end by it.
        folder: Its own. The path is short, since the path of a socket has little room.
        data: What `make` fills. Within the folder.
        started_as: What stands before each command of its programs: by whom it is run.
    """

    name: ClassVar[str]
    ends_by: ClassVar[signal.Signals]
    killed_by: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.folder = run_folders.made("db", TEMPORARY)
        atexit.register(self._remove, os.getpid())
        self.data = self.folder / "data"
        self.started_as: list[str] = []
        self._owner: tuple[int, int] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def make(self, data: Path) -> Sequence[str]:
        """The command that makes the folder of the data, which is there and empty."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command that runs the server in the foreground."""

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def ask(self) -> None:
        """Ask it for something that needs no data; raises where it does not answer."""

    @property
    @abstractmethod
    def refusals(self) -> type[Exception]:
        """What `ask` raises where the server is not ready yet."""

    def set_up(self, program: Path) -> None:
        """Find by whom the program can be run, and make the data, or copy what another process of the run made."""
        if os.geteuid() == 0:
            self._owner = _unprivileged(program, self.name)
            self.started_as[:0] = _as_user(*self._owner)
            os.chown(self.folder, *self._owner)
        made = self.once("data", self._make)
        if made != self.data:
            self.run(["cp", "-R", "-p", str(made), str(self.data)])

    def once(self, what: str, make: Callable[[Path], None]) -> Path:
        """A folder that one process of the run makes; this server's own where there is no run."""
        if RUN not in os.environ:
            make(self.folder / what)
            return self.folder / what
        folder = Path(os.environ[RUN]) / self.name
        folder.mkdir(exist_ok=True)
        with (folder / f"{what}.lock").open("w") as lock:
            # The process that has it lets it go at its end, whatever that is.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / what).exists():
                shutil.rmtree(folder / f"{what}.new", ignore_errors=True)
                make(folder / f"{what}.new")
                (folder / f"{what}.new").rename(folder / what)
        return folder / what

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end, as the server is run."""
        done = subprocess.run(
            [*self.started_as, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        if done.returncode:
            raise ServerDidNotStart(self.name, done.stdout[-2000:] + done.stderr[-2000:])

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is not None:
            return
        log = self.folder / "log"
        leash = ["sh", "-c", _LEASH, "sh", self.ends_by.name.removeprefix("SIG")]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.started_as, *leash, *self.command()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # A Ctrl-C is for the tests; they end it in their own time.
                start_new_session=True,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerDidNotStart(self.name, log.read_text(errors="replace")[-4000:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it, if it runs: its connections are cut, and its socket is gone."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, self.killed_by)
            self._process.wait(30)
        self._process = None
        self.socket_path.unlink(missing_ok=True)

    def _make(self, data: Path) -> None:
        data.mkdir(mode=0o700)
        if self._owner is not None:
            os.chown(data, *self._owner)
        self.run(self.make(data))

    def _answers(self) -> bool:
        # Clients take long to find that nobody listens, and some leave their sockets open then.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket_path)):
                return False
        try:
            self.ask()
        except self.refusals:
            return False
        return True

    def _remove(self, owner: int) -> None:
        # A child that this process forked has no part in it.
        if os.getpid() == owner:
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)


_BECOME = (
    # `warnings` is what `execvp` imports, maybe from where the other user may not read.
    "import os, sys, warnings; user, group, *command = sys.argv[1:]; os.setgroups([]); os.setgid(int(group)); "
    "os.setuid(int(user)); os.execvp(command[0], command)"
)


def _as_user(user: int, group: int) -> list[str]:
    """What stands before a command that another user shall run.

    With ``user=``, `subprocess` forks this process, which may have threads of C libraries: gRPC's were seen to end
    the child before it became the server. Without, it does not fork where the system has ``vfork``.
    """
    return [sys.executable, "-I", "-S", "-c", _BECOME, str(user), str(group)]


def _unprivileged(program: Path, server: str) -> tuple[int, int]:
    """By whom a program shall be run, where this process is root's: the first user that can run it, and its group."""
    import pwd

    others = [each for each in pwd.getpwall() if each.pw_uid != 0]
    refused = "the system has no user but root"
    for each in sorted(others, key=lambda each: each.pw_name != "nobody"):
        # A container may have users that nobody can become.
        command = [*_as_user(each.pw_uid, each.pw_gid), str(program), "--version"]
        tried = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if not tried.returncode:
            return each.pw_uid, each.pw_gid
        refused = f"{each.pw_name} cannot run {program}: {tried.stderr.strip()[-500:]}"
    raise ServerDidNotStart(server, refused)
