"""The guards of what comes in: no fault of ours reaches an app, nor the server or the worker that calls it (law 6).

- Where a request or a job reaches its app, `around` calls the app. It is the guard of all seams (`calls.guarded`): a
  fault before the app was called lets it be called bare, and one afterwards leaves its outcome as it is. In the
  replay of a folder, the first of these is a miss instead: the calls of a request without its session have no answer.
- What the app and the server give each other while that lasts is looked at by `noting` and `noting_async`, before or
  after it passes. A fault there costs the recording what was not noted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import Begin, guarded, guarded_async

__all__ = ["around", "around_async", "looked", "noting", "noting_async"]

Look = Callable[..., None]


def _no_session() -> None:
    """What comes in gets a session of its own. To ask for the current one would begin that of the process."""


def around(where: str, bare: Function, begin: Begin) -> Function:
    """A function that calls an app or a job.

    Args:
        where: A short name of the place, for the count of faults.
        bare: The same without us.
        begin: Makes the steps of one call, from None and the arguments; None where there is nothing to do.
    """
    return guarded(where, bare, begin, outside=True, session_of=_no_session)


def around_async(where: str, bare: Function, begin: Begin) -> Function:
    """The same for a coroutine function."""
    return guarded_async(where, bare, begin, outside=True, session_of=_no_session)


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


def looked(where: str, look: Look, *args: Any) -> None:
    """Look at something that passes; what that raises is a fault of ours."""
    try:
        look(*args)
    except Exception as fault:
        faults.contain(where, fault)
