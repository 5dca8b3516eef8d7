"""A RabbitMQ server of this process, run by any user, in a folder of its own; it listens on loopback alone.

No package on PyPI brings the program. Debian's and Ubuntu's is ``rabbitmq-server``. It takes from 8 to 25 seconds to
start, and 140 MB: this is why these tests stand in a suite.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.servers._failure import ServerDidNotStart
from tests.servers._ports import free_port

__all__ = ["RabbitMq"]

_READY_SECONDS = 120.0
# Past the script that Debian puts into the path, which lets root and one other user in.
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server"))


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
