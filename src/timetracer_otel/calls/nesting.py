"""Which call the code that runs now is part of.

A call of a library may make further calls of the same library. Redis sends ``AUTH`` and ``SELECT`` while it connects
for a ``GET``; a function that a plugin records may call another one that it records. The app made one call, so the
cassette has one event: whatever is called beneath is *part* of it, and is neither recorded nor answered by itself.

A seam that makes a call says so in a `CallAbove`, and a seam that is entered asks it. What is said holds for the
thread or asyncio task that makes the call, and for the tasks that it starts meanwhile: they copy its context. A
thread that it starts begins without, unless Python copies the context (free-threaded Python does, from 3.14 on).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar

from timetracer_otel.calls.guarded import Flow, Step

__all__ = ["CallAbove"]

T = TypeVar("T")


class CallAbove(Generic[T]):
    """The call of one library that is being made now, in this thread or task.

    What `set` was given is put back by giving it to `set` again, and not by a token. A generator that is closed by
    another task than the one that began it runs its ``finally`` in the context of that task, where Python refuses the
    token. Example: the steps of a call whose task was cancelled, and which the garbage collector closes.

    Where every nanosecond counts, a seam writes this by itself::

        before = call_above.get()
        call_above.set(call)
        try:
            ...
        finally:
            call_above.set(before)

    Args:
        name: Of the library, or of the kind of call.

    Attributes:
        get: Gives the call; None where none is being made. It is the variable's own function, so that a seam that
            asks pays for no function in between.
        set: Says which call is being made from now on; None for none.
    """

    __slots__ = ("get", "set")

    def __init__(self, name: str) -> None:
        variable: ContextVar[T | None] = ContextVar(f"timetracer-call-above-{name}", default=None)
        self.get: Callable[[], T | None] = variable.get
        self.set: Callable[[T | None], Any] = variable.set

    def lend(self, call: T) -> Callable[[], Any]:
        """Say which call is being made from now on; gives what takes that back, as a site's `lend` does."""
        before = self.get()
        self.set(call)
        return partial(self.set, before)

    @contextmanager
    def making(self, call: T) -> Generator[None, None, None]:
        """While the block runs, this call is the one that is being made."""
        before = self.get()
        self.set(call)
        try:
            yield
        finally:
            self.set(before)

    def around(self, call: T, step: Step) -> Flow:
        """Take one step of a `flow` while this call is the one that is being made."""
        before = self.get()
        self.set(call)
        try:
            return (yield step)
        finally:
            self.set(before)
