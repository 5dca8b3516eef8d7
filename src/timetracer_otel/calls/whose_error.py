"""Whose an exception is that came out of a function of ours in a replay: a fault of ours, or one for the app.

The traceback tells: one for the app came through one of the functions that are noted here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

__all__ = ["is_for_app", "judges", "outside", "raise_for_app"]

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
    trace = trace.tb_next if trace is not None else None
    while trace is not None:
        if trace.tb_frame.f_code in _codes:
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
