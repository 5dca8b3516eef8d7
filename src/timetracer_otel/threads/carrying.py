"""What a new thread gets from the code that starts it."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context

__all__ = ["carried"]


def _nothing() -> Context | None:
    """Nothing: the room ``current`` is not loaded, so there is no session."""
    return None


carried: Callable[[], Context | None] = _nothing
"""Gives the OpenTelemetry context that a thread gets which is started here; None where it gets none, since the code
here runs in no session. The module ``current`` sets it."""
