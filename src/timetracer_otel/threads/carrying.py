"""What a new thread gets from the code that starts it, and what becomes of a fault of ours there."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context

from timetracer_otel.base import faults

__all__ = ["carried", "contain", "refused", "starts_for_library"]


def _nothing() -> Context | None:
    """Nothing: the room ``current`` is not loaded, so there is no session."""
    return None


carried: Callable[[], Context | None] = _nothing
"""Gives the OpenTelemetry context that a thread gets which is started here; None where it gets none, since the code
here runs in no session. The module ``current`` sets it."""


def _none_replays(where: str, fault: Exception) -> Exception | None:
    """None: the room ``calls`` is not loaded, so no session replays."""
    return None


starts_for_library: ContextVar[Any] = ContextVar("timetracer_otel_starts_for_library", default=None)
"""What a library does at this moment, where the threads that it starts thereby need nothing of ours: they bring their
context with them, or they serve the whole process, and would keep the session alive in which they were started.
Nothing of ours may fail there: the library is not prepared for a thread that does not start, and waits or dies.
"""

refused: Callable[[str, Exception], Exception | None] = _none_replays
"""Gives what the app gets in a replay where a fault of ours keeps a thread, or another context, from its session: in
none, the calls made there would go out. None outside a replay. The module ``calls.guarded`` sets it."""


def contain(where: str, fault: Exception) -> None:
    """Contain a fault of ours in code that takes the session to another place; in a replay, that code gets a miss.

    Args:
        where: A short constant name of the place, for the count.
        fault: What went wrong.
    """
    faults.contain(where, fault)
    miss = refused(where, fault)
    if miss is not None:
        raise miss from fault
