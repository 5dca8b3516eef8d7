"""A broker that speaks Kafka's protocol, of this process, in a folder of its own; it listens on loopback alone.

Apache Kafka is on no package index for Python. `noida-db <https://pypi.org/project/noida-db/>`_ is: a program in
Rust, which keeps topics, groups and transactions, and which its makers check against Kafka 3.8.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers._leashed import LeashedServer
from tests.servers._ports import free_port

__all__ = ["Kafka", "needs_kafka"]

_PACKAGE = importlib.util.find_spec("noida_db")

needs_kafka = pytest.mark.skipif(
    _PACKAGE is None and not os.environ.get("CI"),
    reason="no broker that speaks Kafka's protocol here: noida-db has wheels for Linux, macOS and Windows",
)


class Kafka(LeashedServer):
    """One broker. It is stopped when this process ends, however that ends."""

    name = "Kafka"
    ends_by = signal.SIGTERM
    killed_by = signal.SIGKILL
    refusals = OSError

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def make(self, data: Path) -> Sequence[str]:
        """Nothing is made: the broker does it."""
        return ["true"]

    def command(self) -> Sequence[str]:
        """The command that runs it."""
        assert _PACKAGE is not None
        assert _PACKAGE.origin is not None
        program = str(Path(_PACKAGE.origin).with_name("noida-db"))
        at = ["--kafka-port", str(self.port), "--host", "127.0.0.1", "--data-dir", str(self.data)]
        return [program, "start", "--only", "kafka", *at]

    @property
    def socket_path(self) -> Path:
        """There is none: it listens on a port."""
        return self.folder / "no-socket"

    def ask(self) -> None:
        """Ask whether it listens."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass

    def forget(self) -> None:
        """Start it anew, without topics."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    @property
    def address(self) -> str:
        """Where it listens, for clients."""
        return f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            self.ask()
        except self.refusals:
            return False
        return True
