"""The guard of functions that pass everything on, and at whose calls we only look.

Nothing is decided here, no session is asked for, and nothing is answered: a fault costs the recording what was not
noted. So it is the same in a recording and in a replay. Where a call may be answered, the guard is `calls.guarded`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function

__all__ = ["looked", "noting", "noting_async", "noting_beneath"]

Look = Callable[..., object]


def noting(
    where: str,
    call: Function,
    after: Look | None = None,
    *,
    before: Look | None = None,
    failed: Callable[[BaseException], None] | None = None,
) -> Function:
    """A function of the app's or the server's, with a look of ours at each call.

    Args:
        where: A short name of the place, for the count of faults.
        call: The function.
        after: Called with what it returned, and with its positional arguments.
        before: Called with its positional arguments.
        failed: Called with what it raised.
    """

    def noting_call(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            looked(where, before, *args)
        try:
            value = call(*args, **kwargs)
        except BaseException as error:
            if failed is not None:
                looked(where, failed, error)
            raise
        if after is not None:
            looked(where, after, value, *args)
        return value

    return noting_call


def noting_async(
    where: str,
    call: Function,
    after: Look | None = None,
    *,
    before: Look | None = None,
    failed: Callable[[BaseException], None] | None = None,
) -> Function:
    """The same for a coroutine function."""

    async def noting_await(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            looked(where, before, *args)
        try:
            value = await call(*args, **kwargs)
        except BaseException as error:
            if failed is not None:
                looked(where, failed, error)
            raise
        if after is not None:
            looked(where, after, value, *args)
        return value

    return noting_await


def noting_beneath(
    where: str,
    call: Function,
    above: Callable[[], Any],
    after: Callable[[Any, tuple[Any, ...], dict[str, Any]], object],
    give_up: Callable[[Any, Exception], None],
) -> Function:
    """The replacement of a function that a library calls for a recorded call, which is above it, and for others.

    Args:
        where: A short name of the place, for the count of faults.
        call: The function that is replaced.
        above: Gives the call above; None where there is none.
        after: Called with the call above, and with the arguments, once the function has returned.
        give_up: Told of a fault, with the call above: what is noted of that is not to be relied upon.
    """

    def noting_call(*args: Any, **kwargs: Any) -> Any:
        value = call(*args, **kwargs)
        found = above()
        if found is not None:
            try:
                after(found, args, kwargs)
            except Exception as fault:
                looked(where, give_up, found, fault)
        return value

    return noting_call


def looked(where: str, look: Look, *args: Any) -> None:
    """Look at something that passes; what that raises is a fault of ours."""
    try:
        look(*args)
    except Exception as fault:
        faults.contain(where, fault)
