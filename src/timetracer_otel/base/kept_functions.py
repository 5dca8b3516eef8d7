"""Reach callers that imported the library's function before we patched it.

Their reference bypasses the class attribute, so we swap the function's ``__code__``. The function object stays the
same one; its new code calls our replacement until the patch is undone. Example: `responses` saves
``HTTPAdapter.send`` at import and calls it for the requests that it does not mock. With a patch of the class alone,
such a request would go out for real in a replay.

Where somebody put a function of their own in the class (a mock), theirs stays in the class. It runs first, and
reaches our replacement if it calls the library's function.
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
"""The library's own function, by class and attribute, as we last saw it there. It is needed when a mock has taken the
attribute by the time that we patch."""


class KeptPatch(Patch):
    """A patch that also reaches calls by a saved reference to the function, and that leaves a mock in the class
    alone.

    Swapping the code works for functions that are written in Python and have no free variables. (A ``super()``
    without arguments makes one.) For other functions, and where the library's function cannot be found any more, only
    the class attribute is patched. Calls through the class attribute cost nothing more than with `Patch`.

    Args:
        owner: The class that has the function, by itself.
        name: As for `Patch`.
        wrap: As for `Patch`. The original that it gets is a copy of the library's function with the library's code:
            the library's own function leads to the replacement and would call itself for ever.
    """

    def __init__(self, owner: type, name: str, wrap: Callable[[Function], Function]) -> None:
        super().__init__(owner, name, lambda function: wrap(self._original_of(function)))
        self._kept: _Kept | None = None
        self._package = _package(owner.__module__)

    def apply(self) -> None:
        """Patch the class, and let the library's function call the replacement; harmless when repeated."""
        if self.applied:
            return
        function = self._stood_for()
        if function is None:
            super().apply()
        else:
            self._original, self._replacement = function, self._replacement_of(function)
        if self._kept is not None and self._replacement is not None:
            self._kept.lead_to(self._replacement)

    def undo(self) -> None:
        """Restore the class attribute and the function's own code; harmless when repeated."""
        if self._kept is not None:
            self._kept.restore()
        super().undo()

    def _replacement_of(self, original: Function) -> Function:
        if self._kept is not None and not self._kept.is_copy_of(original):
            # Somebody has swapped the code meanwhile, as debuggers do, or this is another function.
            self._kept = self._last = None
        return super()._replacement_of(original)

    def _stood_for(self) -> FunctionType | None:
        """The library's function, where somebody else's function has taken the attribute; None in other cases."""
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
        # A mock usually keeps the original, to call it or to restore it. Only the mock knows where, so the garbage
        # collector is asked: every function of a module refers to that module's globals. Example: a test starts
        # `responses` before the first session, and so before we have seen the function in its class.
        neighbour = next(filter(self._is_librarys, vars(self.owner).values()), None)
        name = f"{self.owner.__qualname__}.{self.name}"
        for item in gc.get_referrers(neighbour.__globals__) if neighbour is not None else ():
            if self._is_librarys(item) and item.__qualname__ == name and _COPY not in vars(item):
                return item
        return None

    def _is_librarys(self, item: Any) -> TypeGuard[FunctionType]:
        # `type`, and not `isinstance`: a wrapt proxy of a function claims by its `__class__` to be a function.
        return type(item) is FunctionType and _package(item.__globals__.get("__name__")) == self._package

    def _original_of(self, function: Function) -> Function:
        if not self._is_librarys(function) or function.__closure__ is not None:
            return function
        self._kept = _Kept(function)
        return self._kept.original


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


_COPY = "_timetracer_copy"
"""Marks the copy that keeps the library's code, so that a search does not take it for the library's function."""


class _Kept:
    """A library's function whose code is swapped, with its own code to restore, and a copy that has that code."""

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

    def is_copy_of(self, function: Function) -> bool:
        """Whether this is of that function, with the code that it has now."""
        return function is self._function and self._function.__code__ is self._code

    def lead_to(self, replacement: Function) -> None:
        """Swap the function's code, so that each call of it calls the replacement."""
        # Python lets a function without free variables take only code without any. The new code can therefore not
        # close over the replacement, and finds it as the default of a keyword argument.
        self._function.__kwdefaults__ = {**(self._keywords or {}), "_timetracer": replacement}
        self._function.__code__ = self._leading.__code__

    def restore(self) -> None:
        """Give the function its own code again, unless somebody else has swapped the code since."""
        # In that case their code may call ours. Ours then calls the replacement, which passes calls through.
        if self._function.__code__ is self._leading.__code__:
            self._function.__code__ = self._code
            self._function.__kwdefaults__ = self._keywords


def _leads(*args: Any, _timetracer: Function, **kwargs: Any) -> Any:
    return _timetracer(*args, **kwargs)


async def _leads_async(*args: Any, _timetracer: Function, **kwargs: Any) -> Any:
    return await _timetracer(*args, **kwargs)
