"""Replacing functions and classes that are written in C, which cannot be patched in place.

The methods of such a class cannot be set, and a module that did ``from pycurl import Curl`` has a name of its own for
it. So the object is replaced under every name that a module has for it. freezegun does the same with `datetime`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from timetracer_otel.base.module_names import forget, names_of
from timetracer_otel.base.patching import Function, Patch, Undoable

__all__ = ["Rebound", "is_immutable", "subclasses_of", "with_methods"]

_HEAP_TYPE = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``: set for classes whose attributes can be set, as far as the next flag is not."""
_IMMUTABLE = 1 << 8
"""``Py_TPFLAGS_IMMUTABLETYPE``."""


def is_immutable(owner: Any) -> bool:
    """Whether it is a class whose methods cannot be replaced."""
    return isinstance(owner, type) and (not owner.__flags__ & _HEAP_TYPE or bool(owner.__flags__ & _IMMUTABLE))


class Rebound:
    """One function or class, replaced in all modules. The same object applies and undoes it.

    Args:
        original: What is replaced.
        replacement: What takes its place.

    Attributes:
        original: As given.
    """

    def __init__(self, original: Any, replacement: Any) -> None:
        self.original = original
        self._replacement = replacement
        self._applied = False

    def apply(self) -> None:
        """Put the replacement in; harmless when repeated."""
        if not self._applied:
            self._applied = True
            self._rename(self.original, self._replacement)

    def undo(self) -> None:
        """Put the original back, also where a module took the replacement meanwhile; harmless when repeated."""
        if self._applied:
            self._applied = False
            self._rename(self._replacement, self.original)
            forget(self._replacement)

    def _rename(self, before: Any, after: Any) -> None:
        for module, name in names_of(self.original, self._replacement):
            if vars(module).get(name) is before:
                vars(module)[name] = after


def with_methods(original: type[Any], methods: Mapping[str, Callable[[Function], Function]]) -> type[Any]:
    """A class like a given one, some methods of which are wrapped."""
    body: dict[str, Any] = {name: wrap(getattr(original, name)) for name, wrap in methods.items()}
    body.update(__module__=original.__module__, __qualname__=original.__qualname__, __doc__=original.__doc__)
    # Objects that exist already are of the original class, and must pass for objects of this one.
    kind = type(
        type(original).__name__,
        (type(original),),
        {
            "__instancecheck__": lambda cls, value: (
                isinstance(value, original) if cls is made else type.__instancecheck__(cls, value)
            )
        },
    )
    made: type[Any] = kind(original.__name__, (original,), body)
    return made


def subclasses_of(
    original: type[Any], methods: Mapping[str, Callable[[Function], Function]], *, but: type[Any]
) -> list[Undoable]:
    """Patches of the classes that were derived of it in Python by now.

    Args:
        original: The class.
        methods: The methods to wrap.
        but: The class that takes its place. It has the wrapped methods, and so have the classes derived of that.
    """
    return [
        Patch(cls, name, wrap)
        for cls in _derived(original, but)
        for name, wrap in methods.items()
        if not is_immutable(cls)
    ]


def _derived(original: type[Any], but: type[Any]) -> Iterator[type[Any]]:
    for cls in type.__subclasses__(original):
        if cls is not but:
            yield cls
            yield from _derived(cls, but)
