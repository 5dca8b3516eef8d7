"""Reaching who kept a library's function: taken before our replacement stood in its place, and called by itself.

Mock libraries do that: `responses` takes ``HTTPAdapter.send`` when it is imported, for the calls that it lets pass.
With a replacement in the class alone, such a call would go out for real in a replay.

The function stays the object that it is; its code leads to the replacement as long as that stands. What somebody put
in its place stays there, and has the first word: a mock, or what goes to the function in the end.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from inspect import iscoroutinefunction
from types import FunctionType
from typing import Any, TypeGuard
from weakref import WeakValueDictionary

from timetracer_otel.base.patching import Function, Patch, is_replacement

__all__ = ["KeptPatch"]

_seen: WeakValueDictionary[tuple[type, str], FunctionType] = WeakValueDictionary()
"""The functions of libraries that were in their places once, for when they are not."""


class KeptPatch(Patch):
    """A patch that reaches calls of the function itself, too, whoever keeps it, and stays beneath who stands for it.

    So it is for functions written in Python that have no free variables (such as a ``super()`` without arguments);
    others are replaced in their place only. So is what stands there when the library's function is no more. Who calls
    by way of the class pays nothing for it.

    Args:
        owner: The class that has the function, by itself.
        name: As for `Patch`.
        wrap: As for `Patch`; its original is a function of its own, with the code that the library's had.
    """

    def __init__(self, owner: type, name: str, wrap: Callable[[Function], Function]) -> None:
        super().__init__(owner, name, lambda function: wrap(self._original_of(function)))
        self._kept: _Kept | None = None
        self._package = _package(owner.__module__)

    def apply(self) -> None:
        """Put the replacement in, and lead the function to it; harmless when repeated."""
        if self.applied:
            return
        function = self._stood_for()
        if function is None:
            super().apply()
        else:
            self._original, self._replacement = function, self._make(function)
        if self._kept is not None and self._replacement is not None:
            self._kept.lead_to(self._replacement)

    def undo(self) -> None:
        """Put the original back, and give it its own code again; harmless when repeated."""
        if self._kept is not None:
            self._kept.restore()
            self._kept = None
        super().undo()

    def _stood_for(self) -> FunctionType | None:
        """The library's function, where something of others stands in its place."""
        _, found = self._current()
        key = self.owner, self.name
        if self._is_librarys(found):
            _seen[key] = found
            return None
        if is_replacement(found):
            return None
        function = _seen.get(key) or self._search()
        if function is None or function.__closure__ is not None:
            return None
        _seen[key] = function
        return function

    def _search(self) -> FunctionType | None:
        # Who stands for it mostly keeps it, to call it or to put it back; where, only they know.
        neighbour = next(filter(self._is_librarys, vars(self.owner).values()), None)
        name = f"{self.owner.__qualname__}.{self.name}"
        for item in gc.get_referrers(neighbour.__globals__) if neighbour is not None else ():
            if self._is_librarys(item) and item.__qualname__ == name and _COPY not in vars(item):
                return item
        return None

    def _is_librarys(self, item: Any) -> TypeGuard[FunctionType]:
        # A proxy says of itself that it is an instance of what it stands for.
        return type(item) is FunctionType and _package(item.__globals__.get("__name__")) == self._package

    def _original_of(self, function: Function) -> Function:
        if not self._is_librarys(function) or function.__closure__ is not None:
            return function
        self._kept = _Kept(function)
        return self._kept.original


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


_COPY = "_timetracer_copy"
"""Marks a function that is another one's copy."""


class _Kept:
    """A function, and what it was."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._code = function.__code__
        self._keywords = function.__kwdefaults__
        self.original = FunctionType(
            self._code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self.original.__kwdefaults__ = self._keywords
        setattr(self.original, _COPY, True)
        self._leading: Any = _leads_async if iscoroutinefunction(function) else _leads

    def lead_to(self, replacement: Function) -> None:
        # A function without free variables takes only code that has none: where it leads is an argument's default.
        self._function.__kwdefaults__ = {**(self._keywords or {}), "_timetracer": replacement}
        self._function.__code__ = self._leading.__code__

    def restore(self) -> None:
        # Who gave it other code meanwhile has what leads here beneath that, and it passes through.
        if self._function.__code__ is self._leading.__code__:
            self._function.__code__ = self._code
            self._function.__kwdefaults__ = self._keywords


def _leads(*args: Any, _timetracer: Function, **kwargs: Any) -> Any:
    return _timetracer(*args, **kwargs)


async def _leads_async(*args: Any, _timetracer: Function, **kwargs: Any) -> Any:
    return await _timetracer(*args, **kwargs)
