"""Gives recorded jobs to a worker that ``verify`` has started, and takes what they return."""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any

from timetracer_otel.constants import MESSAGE, MESSAGES
from timetracer_otel.types import Cassette, header_pairs
from timetracer_otel.verify.service import Service, ServiceError

__all__ = ["JobQueue", "JobFailedError", "given_to"]


class JobFailedError(Exception):
    """The worker has no such job, or gave no answer; the text says so."""


def given_to(cassette: Cassette) -> dict[str, Any]:
    """The name and the arguments of a recorded job, for a worker; of messages, the header lines and the body."""
    request, body = cassette.request, cassette.request.body
    data = body.data if body is not None else None
    if request.method in (MESSAGE, MESSAGES):
        lines = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in header_pairs(request.headers)]
        told = {"headers": lines, "body": data.decode("latin-1") if isinstance(data, bytes) else ""}
        return {"name": request.path, "args": [], "kwargs": told}
    given = json.loads(data) if isinstance(data, bytes) else {"args": [], "kwargs": {}}
    return {"name": cassette.request.path, **given}


class JobQueue:
    """What stands in the place of a broker: a listening socket, to which the worker's process connects.

    Use it as a context manager. Not safe from several threads: jobs are given one after the other.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._wire: Any = None

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """There are no more jobs: the worker ends. Harmless when repeated."""
        for each in (self._wire, self._connection, self._socket):
            if each is not None:
                each.close()

    @property
    def address(self) -> str:
        """Where the worker connects (``host:port``)."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def wait_for_worker(self, service: Service, timeout_s: float) -> str:
        """Wait until a worker is ready for jobs, and give its framework's name.

        Raises:
            ServiceError: The process has ended, or no worker came within that time.
        """
        until = time.monotonic() + timeout_s
        self._socket.settimeout(0.1)
        while self._connection is None:
            try:
                self._connection = self._socket.accept()[0]
            except TimeoutError:
                how = service.ending
                if how is not None or time.monotonic() > until:
                    what = f"{how}" if how is not None else f"is no worker that takes jobs, after {timeout_s:g} s"
                    raise ServiceError(f"CMD {what}.{service.printed()}") from None
        self._connection.settimeout(timeout_s)
        self._wire = self._connection.makefile("rwb")
        return str(self._answer()["framework"])

    def run(self, cassette: Cassette, timeout_s: float) -> dict[str, Any]:
        """Give the worker a recorded job, and wait for its answer: ``value``, or ``error`` and ``text``.

        Raises:
            JobFailedError: The worker has no job of this name, or gave no answer within that time.
        """
        assert self._connection is not None
        self._connection.settimeout(timeout_s)
        try:
            self._wire.write(json.dumps(given_to(cassette)).encode() + b"\n")
            self._wire.flush()
            answer = self._answer()
        except OSError as error:
            raise JobFailedError(f"no answer: {error}") from error
        if answer.get("unknown"):
            why = answer.get("text") or f"the worker has no job {cassette.request.path!r}"
            raise JobFailedError(str(why))
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._wire.readline()
        if not line:
            raise JobFailedError("the worker ended")
        found: dict[str, Any] = json.loads(line)
        return found
