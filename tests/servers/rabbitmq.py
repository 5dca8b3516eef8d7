"""A RabbitMQ server of this process, run by any user, in a folder of its own; it listens on loopback alone.

No package on PyPI brings the program. Debian's and Ubuntu's is ``rabbitmq-server``, which `.ci/run` installs. It
takes from 8 to 25 seconds to start, and 150 MB. Where it is missing, the tests that need it are skipped; with ``CI``
set, they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

from tests.servers._failure import ServerDidNotStart
from tests.servers._ports import free_port

__all__ = ["HAS_RABBITMQ", "RabbitMq", "Relay", "needs_rabbitmq"]

_READY_SECONDS = 120.0
# Past the script that Debian puts into the path, which lets root and one other user in.
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server"))


HAS_RABBITMQ = any(name and Path(name).exists() for name in _PROGRAMS) or bool(os.environ.get("CI"))
"""Whether there is a server, or has to be."""
needs_rabbitmq = pytest.mark.skipif(
    not HAS_RABBITMQ,
    reason="no rabbitmq-server here: install Debian's package of that name",
)
"""Marks tests that need a server. With the marks of `tests.servers.mariadb`, the one skip of the whole suite."""


def _program() -> str:
    for name in _PROGRAMS:
        if name and Path(name).exists():
            return name
    raise ServerDidNotStart("RabbitMQ", "there is no rabbitmq-server here: install Debian's package of that name")


class RabbitMq:
    """One server, with the user ``guest``; use it as a context manager.

    Args:
        folder: Where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = _program()
        self._port, self._nodes_port, self._names_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def url(self) -> str:
        """Its address, for Celery."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    def __enter__(self) -> RabbitMq:
        at = str(self._folder)
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "settings.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self._port}\n")
        # https://www.rabbitmq.com/docs/configure#supported-environment-variables
        environment = {
            **os.environ,
            "HOME": at,
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{os.getpid()}@localhost",
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_MNESIA_BASE": f"{at}/data",
            "RABBITMQ_LOG_BASE": f"{at}/logs",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": f"{at}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{at}/plugins",
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{at}/flags",
            "RABBITMQ_CONFIG_FILE": f"{at}/settings",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
        }
        for name in ("data", "logs"):
            (self._folder / name).mkdir()
        # Erlang's service of names; without one, the server would leave a daemon behind.
        self._names = subprocess.Popen(["epmd"], env=environment, cwd=at, stdin=subprocess.DEVNULL)
        self._until(self._names_answer)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program], env=environment, cwd=at, stdout=log, stderr=log, start_new_session=True
            )
        self._until(lambda: "startup complete" in self._log())
        return self

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _names_answer(self) -> bool:
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", self._names_port))

    def _until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = (
                    self._log() if self._process is not None else "epmd, Erlang's service of names, does not listen"
                )
                self.__exit__(None, None, None)
                raise ServerDidNotStart("RabbitMQ", said)
            time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._names is not None:
            self._names.kill()
            self._names.wait()
            self._names = None


class Relay:
    """A port that leads to a server until it is stopped. To start the server again would take long.

    Args:
        port: Where the server listens, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = [self._socket]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, for clients of AMQP."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def _accept(self) -> None:
        with suppress(OSError):  # it was stopped
            while True:
                near, _ = self._socket.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def stop(self) -> None:
        """Nobody listens there any more."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
