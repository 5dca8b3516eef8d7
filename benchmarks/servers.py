"""The servers that the calls go to. Each is a process of its own, and answers from memory."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@contextmanager
def no_server() -> Iterator[str]:
    """For a library that has its server in the process."""
    yield ""


@contextmanager
def http_server() -> Iterator[str]:
    """Gives its base URL."""
    command = [sys.executable, str(HERE / "workload.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.communicate()


@contextmanager
def redis_server() -> Iterator[str]:
    """Gives the path of its Unix socket."""
    with tempfile.TemporaryDirectory() as folder, _tests("redis").RedisServer(Path(folder)) as server:
        yield server.socket_path


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Gives the URL of an empty database, without the scheme."""
    server = _tests("postgres").Postgres()
    try:
        yield server.url("psycopg").render_as_string(hide_password=False).partition("://")[2]
    finally:
        server.close()


def _tests(name: str) -> Any:
    """A server of the tests."""
    if str(HERE.parent) not in sys.path:
        sys.path.append(str(HERE.parent))
    return importlib.import_module(f"tests.servers.{name}")


SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "none": no_server,
    "http": http_server,
    "redis": redis_server,
    "postgresql": postgresql_server,
}
"""By name: what starts it, gives its address, and ends it."""
