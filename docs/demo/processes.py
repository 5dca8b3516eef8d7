"""The demo's child processes: started, watched, and gone when the demo is gone, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

# Reads process ids line by line; when the demo dies, its end of the pipe closes, and they are killed.
_WATCHDOG = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
pids = set()
for line in sys.stdin:
    sign, pid = line[0], int(line[1:])
    (pids.add if sign == "+" else pids.discard)(pid)
for pid in pids:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


@dataclass(frozen=True)
class Child:
    """A process and the port of loopback that it serves."""

    process: subprocess.Popen[bytes]
    port: int


class Children:
    """Child processes with their logs; all of them are stopped on leaving the ``with`` block."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._running: dict[str, Child] = {}
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-c", _WATCHDOG], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop(*self._running)
        self._watchdog.communicate()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], port: int) -> None:
        """Start a process that will listen on a port of loopback; its output goes to ``<name>.log``."""
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._running[name] = Child(process, port)
        self._tell_watchdog("+", process)

    def wait_until_listening(self, *names: str, timeout_s: float = 60.0) -> None:
        """Wait for each to accept connections.

        Raises:
            DemoError: One ended, or did not listen in time.
        """
        until = time.monotonic() + timeout_s
        for name in names:
            while not accepts_connections(self._running[name].port):
                self.check()
                if time.monotonic() > until:
                    raise DemoError(
                        f"{name} does not listen after {timeout_s:.0f} s. Its output:\n{self.output(name)}"
                    )
                time.sleep(0.05)

    def check(self) -> None:
        """See that all still run.

        Raises:
            DemoError: One has ended.
        """
        for name, child in self._running.items():
            if child.process.poll() is not None:
                raise DemoError(
                    f"{name} ended with code {child.process.returncode}. Its output:\n{self.output(name)}"
                )

    def stop(self, *names: str) -> None:
        """Ask each to end as by Ctrl-C (uvicorn then ends in order, and its spans are sent), and see that it does."""
        for name in names:
            self._running[name].process.send_signal(signal.SIGINT)  # does nothing where it has ended
        for name in names:
            process = self._running[name].process
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._tell_watchdog("-", process)
            del self._running[name]

    def output(self, name: str) -> str:
        """The last lines that a process printed."""
        lines = self._log(name).read_text("utf-8", "replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-25:]) or "    (nothing)"

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"

    def _tell_watchdog(self, sign: str, process: subprocess.Popen[bytes]) -> None:
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.write(f"{sign}{process.pid}\n")
        self._watchdog.stdin.flush()


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return ports


def clean_environment() -> dict[str, str]:
    """This environment without what would decide instead of the demo: tracing, recording, proxies, Python's paths."""
    unwanted = ("OTEL_", "TIMETRACER_", "PYTHONPATH", "PYTHONHOME")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
    }
