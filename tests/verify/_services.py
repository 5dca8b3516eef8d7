"""Services in processes of their own, recorded by the installed command, and verified by it."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests import children, forks
from tests.children import ROOT, script, uses
from timetracer_otel.cassette import CassetteStore

__all__ = ["ROOT", "SCRIPT", "Request", "Verify", "environment", "listens", "record", "send", "started", "verify"]

SCRIPT = script("timetracer-otel")
Verify = Callable[..., "subprocess.CompletedProcess[str]"]


class Request(NamedTuple):
    """What is sent to a service."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None


def environment(command: Sequence[str], **changes: str) -> dict[str, str]:
    """Quiet, with this repository's modules to be found, and the instrumentations of what a service uses."""
    words = " ".join(command)
    app = re.search(r"_web_apps:([a-z]+)_", words)
    if "tests.verify._shop" in words:
        used = {"fastapi", "httpx", "sqlalchemy", "redis"}
    elif "tests.verify._failing" in words:
        used = {"starlette", "flask", "django", "httpx"}
    elif "tests.verify._one_app" in words:
        used = {"flask", "httpx"}
    elif "tests.verify._counting" in words:
        used = {"flask", "httpx", "sqlite3"}
    elif "tests.django_shop" in words:
        used = {"django", "mysqlclient", "psycopg", "psycopg2", "redis", "sqlite3"}
    else:
        used = {app.group(1), "httpx"} if app else uses(*command)
    settings = {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "DJANGO_SETTINGS_MODULE": "tests.process._django_settings",
    }
    return children.environment(used, **{**settings, **changes})


def started(*arguments: str, stderr: Any = subprocess.STDOUT, **changes: str) -> subprocess.Popen[str]:
    """``timetracer-otel ARGUMENTS``, running, with a pipe for what it prints."""
    return forks.start(
        SCRIPT,
        *arguments,
        env=environment(arguments, **changes),
        cwd=ROOT,
        loaded="tool",
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def record(command: Sequence[str], port: int, requests: Sequence[Request], folder: Path, **changes: str) -> None:
    """Record a service while it answers requests, all at once where there are many, and stop it."""
    with started("record", "--dir", str(folder), "--", *command, **changes) as service:
        try:
            _wait(lambda: listens(port) or service.poll() is not None)
            for request in requests:
                send(port, request)
            _wait(lambda: sum(each.method != "" for each in CassetteStore(folder).list()) >= len(requests))
        finally:
            service.send_signal(signal.SIGINT)
            printed, _ = service.communicate(timeout=240)
    found = [each.request_path for each in CassetteStore(folder).list() if each.method]
    assert len(found) == len(requests), f"{found}\n{printed}"


def verify(folder: Path, command: Sequence[str], *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """``timetracer-otel verify FOLDER OPTIONS -- COMMAND``."""
    return forks.run(
        *(SCRIPT, "verify", str(folder), *options, "--", *command),
        env=environment(command, **changes),
        cwd=ROOT,
        loaded="tool",
    )


def send(port: int, request: Request) -> tuple[int, bytes]:
    """Send one request; status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(request.method, request.target, request.body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(until: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not until() and time.monotonic() < deadline:
        time.sleep(0.05)
