"""The guard of what a replay gives the app: a cursor, a connection, a body that is read later (law 6).

A seam's guard ends when the call returns. What the call returned is used afterwards, and in a replay its methods are
ours. A class that inherits from `ReplayObject` has a guard around each of them: what one raises is a
`ReplayMismatchError` that says "a fault of ours" and names the function, unless it was raised for the app. That is
so for

- our own errors, `StopIteration`, and what is no `Exception`;
- what `raise_for_app` raised: a recorded error, or one that the library raises in this place;
- what came out of a call by `outside`: of the driver, of the library, of the app;
- what came out of a guard within, which has judged it.

The traceback tells the last three.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from types import FunctionType
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import Flow, refusal
from timetracer_otel.calls.whose_error import is_for_app, judges
from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError, TimetracerError

__all__ = ["ReplayObject", "guarded_method", "in_steps", "judged"]

_NO_LIB = "a library"
_HINT = "report it, with the traceback in the log."
_PASSING = (TimetracerError, StopIteration, StopAsyncIteration)


class ReplayObject:
    """Stands for an object of a library's in a replay. The methods of each class that inherits from it are guards.

    Methods whose names begin with one underscore are called from others of ours, and are left as they are. A class
    names those that the library calls: ``class Cursor(ReplayObject, called=("_soft_close",))``.
    """

    _lib = _NO_LIB
    """The plugin, for the message. Objects have their own."""

    __slots__ = ()

    def __init_subclass__(cls, *, called: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if name in called or (_is_called_from_outside(name) and name not in _OUR_OWN):
                made = _guarded(value)
                if made is not value:
                    setattr(cls, name, made)

    def _met_fault(self, miss: Exception) -> None:
        """Let others who wait for this object have the miss, too; whoever called the method gets it anyway."""


_OUR_OWN = frozenset({"__init__", "__init_subclass__", "__new__", "__class_getitem__", "__class__"})
"""Run under the guard of whoever makes the object; the last one is no method, and to set it on a class is to change
the class of that."""


def _is_called_from_outside(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _guarded(value: Any) -> Any:
    if type(value) is FunctionType:
        return value if value.__code__ in _STEPPED else guarded_method(value)
    if type(value) is property:
        getter = _guarded_getter(value.fget) if value.fget is not None else None
        setter = guarded_method(value.fset) if value.fset is not None else None
        return property(getter, setter, value.fdel, value.__doc__)
    return value


def guarded_method(function: Any) -> Any:
    """A method of an object that a replay gives the app; what it raises is judged."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generating(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from function(self, *args, **kwargs)
            except Exception as error:
                raise judged(error, self)  # noqa: B904 - the error itself, or made from it

        return generating
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await function(self, *args, **kwargs)
            except Exception as error:
                raise judged(error, self)  # noqa: B904 - the error itself, or made from it

        return awaited

    @wraps(function)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self, *args, **kwargs)
        except Exception as error:
            raise judged(error, self)  # noqa: B904 - the error itself, or made from it

    return called


def in_steps(function: Callable[..., Flow]) -> Any:
    """A method that is awaited, written as a generator of steps, each of which gives an awaitable of the library's.

    So it is no coroutine of ours, which might never return.
    """

    @wraps(function)
    async def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        failed = None
        try:
            steps = function(self, *args, **kwargs)
            step = next(steps)
            while True:
                try:
                    value = await step()
                except BaseException as error:
                    failed = error
                    step = steps.throw(error)
                else:
                    failed = None
                    step = steps.send(value)
        except StopIteration as stop:
            return stop.value
        except Exception as error:
            if error is failed:
                raise
            raise judged(error, self)  # noqa: B904 - the error itself, or made from it
        finally:
            # The exception refers to this frame.
            failed = None

    return stepped


def _guarded_getter(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(function)
    def got(self: Any) -> Any:
        try:
            return function(self)
        except Exception as error:
            raise judged(error, self)  # noqa: B904 - the error itself, or made from it

    return got


def judged(error: Exception, given: Any = None) -> Exception:
    """What the app gets for something that was raised in a guard: it as it is, or a miss.

    Args:
        error: What was raised.
        given: The object whose method raised; its ``_lib`` names the plugin.
    """
    try:
        if isinstance(error, _PASSING) or is_for_app(error.__traceback__):
            return error
        lib = given._lib if isinstance(given, ReplayObject) else _NO_LIB
        faults.contain(f"{lib}.replay", error)
        miss = refusal(lib, get_current_session(), error)
    except Exception as another:
        if another is error:
            # The tests of this project let `contain` raise it.
            return error
        miss = ReplayMismatchError(f"Not replayed: a fault of ours: {error!r} (and then {another!r})", hint=_HINT)
    miss.__cause__ = error
    if isinstance(given, ReplayObject):
        try:
            given._met_fault(miss)
        except Exception as another:
            # The same fault, most likely. Whoever called the method gets the miss in any case.
            with suppress(Exception):
                faults.contain(f"{given._lib}.replay", another)
    return miss


def _nothing(self: Any) -> None:
    """Guarded by each kind of guard, for their code."""


def _yielding(self: Any) -> Iterator[None]:
    yield


def _stepping(self: Any) -> Flow:
    yield from ()


async def _awaiting(self: Any) -> None:
    pass


judges(*map(guarded_method, (_nothing, _yielding, _awaiting)), _guarded_getter(_nothing), in_steps(_stepping))
_STEPPED = frozenset({in_steps(_stepping).__code__})
