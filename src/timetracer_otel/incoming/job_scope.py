"""A job of a task queue under way: its name and arguments, its session, and what it returned."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.constants import JOB
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.types import BodySnapshot, HeaderMap, RequestSnapshot, ResponseSnapshot

__all__ = ["IncomingJob", "JobScope", "as_json"]

_JSON = HeaderMap(((b"content-type", b"application/json"),))


def as_json(value: Any) -> Any:
    """A value in the form in which arguments and results of jobs are kept: of what JSON has."""
    return json.loads(json.dumps(value, default=_as_text))


def _body(value: Any) -> BodySnapshot:
    data = json.dumps(value, default=_as_text, sort_keys=True).encode("utf-8", "backslashreplace")
    return BodySnapshot(captured=True, encoding="bytes", data=data, size_bytes=len(data))


def _as_text(value: Any) -> Any:
    """A value that JSON lacks. The text of an object may hold its address, which is another one in each run."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    text = str(value)
    return f"{type(value).__module__}.{type(value).__qualname__}" if text == object.__repr__(value) else text


@dataclass(frozen=True, slots=True)
class IncomingJob:
    """A job as its worker was given it, not redacted."""

    framework: str
    name: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> RequestSnapshot:
        """The job in the form of a request: its name is the path, its arguments are the body."""
        given = {"args": list(self.args), "kwargs": {str(name): value for name, value in self.kwargs.items()}}
        return RequestSnapshot(method=JOB, path=self.name, headers=_JSON, body=_body(given))


class JobScope:
    """One job under way (a `RootExchange`).

    Args:
        job: The job.
        session: The session that its calls belong to; None where it is left out.
        on_end: Called when the job has ended; None where a span around it ends its session.
    """

    def __init__(
        self, job: IncomingJob, session: BaseSession | None, on_end: Callable[[JobScope], None] | None = None
    ) -> None:
        self.job = job
        self.session = session
        self.on_end = on_end
        self.failed = False
        self._value: Any = None
        self._started_s = perf_counter()
        self._ended_s: float | None = None
        # Made at once: the job may change its arguments.
        self._request: RequestSnapshot | None = job.request()
        if isinstance(session, TraceSession):
            session.exchange = self
            session.framework = job.framework

    def returned(self, value: Any) -> Any:
        """Note what the job returned, and give it back."""
        self._value = value
        return value

    def failed_with(self, error: BaseException) -> None:
        """Note that the job raised."""
        self.failed = True
        if isinstance(self.session, TraceSession) and isinstance(error, Exception):
            try:
                name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
                self.session.mark_error(name, str(error), "".join(traceback.format_exception(error)))
            except Exception as fault:
                # The error's `__str__` is code of the app's, and may raise.
                faults.contain("jobs.error", fault)

    def end(self) -> None:
        """End the job."""
        self._ended_s = perf_counter()
        try:
            if self.on_end is not None:
                self.on_end(self)
        except Exception as fault:
            faults.contain("jobs.end", fault)

    def request(self) -> RequestSnapshot:
        """The name and the arguments; empty after `release`."""
        return self._request if self._request is not None else RequestSnapshot(method="", path="")

    def response(self) -> ResponseSnapshot:
        """What the job returned, as JSON; status 0, as there is none."""
        took_ms = self.duration_ms
        if self._ended_s is None or self.failed:
            return ResponseSnapshot(status=0, duration_ms=took_ms)
        try:
            body: BodySnapshot | None = _body(self._value)
        except (TypeError, ValueError, RecursionError):
            body = None
        return ResponseSnapshot(status=0, headers=_JSON, body=body, duration_ms=took_ms)

    @property
    def duration_ms(self) -> float:
        """How long the job took, or has taken up to now."""
        return ((self._ended_s or perf_counter()) - self._started_s) * 1000

    @property
    def route_name(self) -> str:
        """``JOB tasks.send``."""
        request = self.request()
        return f"{request.method} {request.path}"

    def release(self) -> None:
        """Let go of the arguments and the value, so that their memory can be freed."""
        self._request = self._value = None
