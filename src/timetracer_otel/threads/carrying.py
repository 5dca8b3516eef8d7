"""What a new thread gets from the code that starts it."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context

__all__ = ["carried", "refused"]


def _nothing() -> Context | None:
    """Nothing: the room ``current`` is not loaded, so there is no session."""
    return None


carried: Callable[[], Context | None] = _nothing
"""Gives the OpenTelemetry context that a thread gets which is started here; None where it gets none, since the code
here runs in no session. The module ``current`` sets it."""


def _none_replays(fault: Exception) -> Exception | None:
    """None: the room ``calls`` is not loaded, so no session replays."""
    return None


refused: Callable[[Exception], Exception | None] = _none_replays
"""Gives what the app gets in a replay where a fault of ours keeps a thread from its session: in none, the thread's
calls would go out. None outside a replay. The module ``calls.guarded`` sets it."""
