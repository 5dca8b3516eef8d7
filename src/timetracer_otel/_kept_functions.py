"""Reaching who kept a library's function: taken before our replacement stood in its place, and called by itself.

Mock libraries do that: `responses` takes ``HTTPAdapter.send`` when it is imported, for the calls that it lets pass.
With a replacement in the class alone, such a call would go out for real in a replay.

The function stays the object that it is; its code leads to the replacement as long as that stands.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from types import FunctionType
from typing import Any

from timetracer_otel._patching import Function, Patch

__all__ = ["KeptPatch"]


class KeptPatch(Patch):
    """A patch that reaches calls of the function itself, too, whoever keeps it.

    So it is for functions written in Python that have no free variables (such as a ``super()`` without arguments);
    others are replaced in their place only. Who calls by way of the class pays nothing for it.

    Args:
        owner: As for `Patch`.
        name: As for `Patch`.
        wrap: As for `Patch`; its original is a function of its own, with the code that the library's had.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        super().__init__(owner, name, lambda function: wrap(self._original_of(function)))
        self._kept: _Kept | None = None

    def apply(self) -> None:
        """Put the replacement in, and lead the function to it; harmless when repeated."""
        super().apply()
        if self._kept is not None and self._replacement is not None:
            self._kept.lead_to(self._replacement)

    def undo(self) -> None:
        """Put the original back, and give it its own code again; harmless when repeated."""
        if self._kept is not None:
            self._kept.restore()
            self._kept = None
        super().undo()

    def _original_of(self, function: Function) -> Function:
        if not isinstance(function, FunctionType) or function.__closure__ is not None:
            return function
        self._kept = _Kept(function)
        return self._kept.original


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
