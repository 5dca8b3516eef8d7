"""Starts a server in a process of its own, and stops it for good: afterwards its ports stay closed.

A server module prints one JSON object on one line when it is ready; ``ports`` in it maps names to port numbers.
It ends when its standard input ends, so that it cannot outlive the tests.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers._failure import ServerDidNotStart

__all__ = ["ServerProcess"]

_READY_SECONDS = 100.0
_ROOT = Path(__file__).parents[2]


class ServerProcess:
    """One running server module.

    Attributes:
        facts: What it printed when it was ready.
        running: False from `stop` on.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._held: list[socket.socket] = []
        try:
            self.facts = self._await_ready(module)
        except BaseException:
            self._process.kill()
            self._reap()
            raise
        self.running = True

    def _await_ready(self, module: str) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        if not select.select([output], [], [], _READY_SECONDS)[0]:
            raise ServerDidNotStart(module, f"not ready after {_READY_SECONDS} s")
        line = output.readline()
        if not line:
            raise ServerDidNotStart(module, f"it ended before it was ready (status {self._process.wait()})")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def port(self, name: str) -> int:
        """The port of one of its listeners."""
        return int(self.facts["ports"][name])

    def stop(self) -> None:
        """End the process, then hold its ports bound without listening: a connection to one is refused."""
        if not self.running:
            return
        self.running = False
        self._process.terminate()
        self._reap()
        for port in self.facts["ports"].values():
            held = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", port))
            self._held.append(held)

    def close(self) -> None:
        """Stop, and let the ports go."""
        self.stop()
        for held in self._held:
            held.close()
        self._held.clear()

    def _reap(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
