"""The guard of what a client calls in a replay, in the place of a socket: a fault of ours is a miss there, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import refusal
from timetracer_otel.exceptions import ReplayMismatchError, TimetracerError

__all__ = ["refused", "refusing_faults"]


def refusing_faults(lib: str, *, is_awaited: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a plain function raise a miss where it meets a fault of ours.

    Args:
        lib: The plugin.
        is_awaited: Whether the client awaits it. The function itself waits for nothing, so nobody waits for ever.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as fault:
                raise refused(lib, fault) from fault

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as fault:
                raise refused(lib, fault) from fault

        return awaited if is_awaited else called

    return decorate


def refused(lib: str, fault: Exception) -> Exception:
    """The miss that says "a fault of ours"; a miss itself stays as it is."""
    if isinstance(fault, TimetracerError):
        return fault
    try:
        faults.contain(f"{lib}.stand-in", fault)
        return refusal(lib, None, fault)
    except Exception:
        return ReplayMismatchError(f"Not replayed: a call of {lib} met a fault of ours: {fault!r}")
