"""Whose an exception is that came out of a function of ours in a replay: a fault of ours, or one for the app.

The traceback tells: one for the app came through one of the functions that are noted here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

from timetracer_otel.base import faults

__all__ = ["is_for_app", "is_from_outside", "judges", "outside", "raise_for_app"]

P = ParamSpec("P")
R = TypeVar("R")

_codes: set[CodeType] = set()


def judges(*functions: Any) -> None:
    """Note guards by their code: what comes out of one of them has been judged."""
    _codes.update(function.__code__ for function in functions)


def is_for_app(trace: TracebackType | None) -> bool:
    """Whether what was raised is for the app.

    Args:
        trace: The traceback, as the guard that asks has it. Its first frame is that guard's.
    """
    return _came_through(_codes, trace.tb_next if trace is not None else None)


def is_from_outside(error: BaseException) -> bool:
    """Whether `outside` or `raise_for_app` raised it: it is no fault of ours, in a recording as in a replay."""
    return _came_through(_CALLS, error.__traceback__)


def _came_through(codes: set[CodeType], trace: TracebackType | None) -> bool:
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def raise_for_app(error: BaseException) -> NoReturn:
    """Raise what the app is to get."""
    raise error


def outside(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call what is not ours: what it raises is the app's."""
    return call(*args, **kwargs)


judges(raise_for_app, outside)
_CALLS = {raise_for_app.__code__, outside.__code__}
faults.is_anothers = is_from_outside
