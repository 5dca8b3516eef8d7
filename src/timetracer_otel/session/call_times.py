"""When a recorded call began, was answered and ended, as its event has it."""

from __future__ import annotations

import time
from typing import TypeAlias

from timetracer_otel.session.base import PendingCall

__all__ = ["Times", "times_of"]

Times: TypeAlias = tuple[float, float, "float | None"]
"""Of an event: `start_offset_ms`, `duration_ms` and `ended_ms`. A plain tuple, as one is made for each call."""


def times_of(call: PendingCall, session_started_s: float, session_ended_s: float | None) -> Times:
    """The times of a call, in milliseconds.

    A call under way lasts until now, or until the end of the session. One that goes on after its answer has lasted
    until that.

    Args:
        call: The call.
        session_started_s: `time.perf_counter` then.
        session_ended_s: The same; None where the session goes on.
    """
    # The call may end at any moment: its end is read once, and first.
    ended_s, started_s = call.ended_s, call.started_s
    if ended_s is None:
        ended_s = call.latest_s or session_ended_s or time.perf_counter()
    start_ms, ended_ms = (started_s - session_started_s) * 1000, (ended_s - started_s) * 1000
    if call.goes_on:
        answered_s = call.returned_s
        if answered_s is not None and answered_s < ended_s:
            return start_ms, (answered_s - started_s) * 1000, ended_ms
    return start_ms, ended_ms, None
