"""What a new thread gets from the code that starts it."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context

__all__ = ["carried", "spans_too"]


def _nothing() -> Context | None:
    """Nothing: the room ``current`` is not loaded, so there is no session."""
    return None


carried: Callable[[], Context | None] = _nothing
"""Gives the OpenTelemetry context that a thread gets which is started here; None where it gets none, since the code
here runs in no session. The module ``current`` sets it."""

spans_too: bool = True
"""Whether the current span goes with the session. `seams` asks the environment, once for each time that they are
installed: to ask it takes longer than all else that is done for a thread."""
