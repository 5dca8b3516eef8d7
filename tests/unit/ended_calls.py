"""Calls that have ended, as a plugin keeps them, for tests of what a session makes of them."""

from __future__ import annotations

from dataclasses import replace

from timetracer_otel.types import Call, EventResult

__all__ = ["Ended"]


class Ended:
    """A `PendingCall` that has ended.

    Args:
        call: What was called.
        result: What it gave. Each event gets a copy, since redaction changes it.
        path: Names of the spans around it.
    """

    trace_id = span_id = 0
    thread: int | None = None
    not_replayable: str | None = None
    transaction: object | None = None
    boundary: str | None = None
    started_s = 1.0
    returned_s: float | None = 2.0
    goes_on = False
    latest_s: float | None = None
    ended_s: float | None = 2.0

    def __init__(self, call: Call, result: EventResult, path: tuple[str, ...] = ()) -> None:
        self.eid = 0
        self.path = path
        self._call, self._result = call, result

    def call(self) -> Call:
        """The call."""
        return self._call

    def result(self) -> EventResult:
        """A new result."""
        return replace(self._result)
