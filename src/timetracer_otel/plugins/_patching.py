"""Putting our function in the place of a library's, innermost, and taking it out again.

Innermost means: beneath whatever wrapped the function with `wrapt` (as OpenTelemetry's instrumentors do), so that we
run inside their span whoever came first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt

__all__ = ["Function", "Patch"]

Function = Callable[..., Any]

# wrapt 2 gave its proxies a common base of another name; wrapt 1 has ObjectProxy there.
_PROXY: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)


class Patch:
    """One replaced function; applied and undone by the same entry. Not safe to apply from two threads at once.

    Args:
        owner: The class or module that holds the function.
        name: Its attribute.
        wrap: Makes the replacement from the original.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        self.owner = owner
        self.name = name
        self._wrap = wrap
        self._original: Function | None = None
        self._replacement: Function | None = None

    @property
    def applied(self) -> bool:
        """Whether the replacement stands in its place."""
        return self._replacement is not None

    def apply(self) -> None:
        """Put the replacement in; harmless when repeated."""
        if self._replacement is not None:
            return
        holder, found = self._innermost(lambda _: False)
        original: Any = found
        kind = type(original) if isinstance(original, (staticmethod, classmethod)) else None
        function = original.__func__ if kind else original
        replacement: Any = functools.wraps(function)(self._wrap(function))
        # The name promises a plain function: `__wrapped__` would let others unwrap us by mistake.
        del replacement.__wrapped__
        replacement = kind(replacement) if kind else replacement
        self._put(holder, replacement)
        self._original, self._replacement = original, replacement

    def undo(self) -> None:
        """Put the original back, wherever in the chain the replacement is by now; harmless when repeated.

        Where somebody wrapped the replacement in a function that cannot be looked into, it stays, and passes
        every call through for want of a session.
        """
        if self._replacement is None:
            return
        holder, found = self._innermost(lambda function: function is self._replacement)
        if found is self._replacement and self._original is not None:
            self._put(holder, self._original)
        self._original = self._replacement = None

    def _innermost(self, stop: Callable[[Function], bool]) -> tuple[Any, Function]:
        holder: Any = None
        current: Any = self.owner.__dict__[self.name]
        while isinstance(current, _PROXY) and not stop(current):
            holder, current = current, current.__wrapped__
        return holder, current

    def _put(self, holder: Any, function: Function) -> None:
        if holder is None:
            setattr(self.owner, self.name, function)
        else:
            holder.__wrapped__ = function
