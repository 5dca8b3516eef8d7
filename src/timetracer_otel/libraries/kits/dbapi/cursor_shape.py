"""Which attributes a cursor of ours has: those of the driver's own class, and no others that an app could see.

Libraries ask cursors what they can do. Example: sentry_sdk calls ``mogrify`` where ``hasattr`` says that it is there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

from timetracer_otel.calls.guarded_objects import ReplayObject, guarded_method
from timetracer_otel.calls.whose_error import raise_for_app

__all__ = ["MISSING", "Unrecorded", "own_attribute", "shaped"]

T = TypeVar("T")

MISSING: Any = object()
"""Stands for an attribute that the driver's cursors do not have."""

_SPECIAL: Final = frozenset({"__enter__", "__exit__", "__iter__", "__next__"})
_OF_EVERY_CURSOR: Final = frozenset(
    {"arraysize", "close", "description", "execute", "executemany", "fetchall", "fetchmany", "fetchone", "rowcount"}
)
"""What PEP 249 asks of every cursor. Some drivers set a part of it on their objects alone, where no class has it."""


_NOTHING: Final[Mapping[str, bool]] = {}


class _Absent:
    """In the place of a method or property of ours that the driver's class does not have."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @guarded_method
    def __get__(self, instance: object, owner: type | None = None) -> NoReturn:
        raise_for_app(AttributeError(self._name))


def shaped(ours: type[T], own: type[Any], otherwise: Mapping[str, bool] = _NOTHING) -> type[T]:
    """A class of ours without the attributes that the driver's class does not have.

    Args:
        ours: A class of cursors.
        own: The driver's.
        otherwise: Attributes in which the driver's objects differ from their class, and whether they have them.
    """
    classes: Any = (ours, own)
    made: type[T] = _shaped(*classes, frozenset(otherwise.items()))
    return made


@lru_cache(maxsize=256)
def _shaped(ours: Any, own: Any, differing: frozenset[tuple[str, bool]]) -> Any:
    otherwise = dict(differing)
    names = {
        name
        for base in ours.__mro__
        if base.__module__.partition(".")[0] == __name__.partition(".")[0]
        for name in vars(base)
        if name in _SPECIAL or not name.startswith("_")
    }
    absent = {name: _Absent() for name in names - _OF_EVERY_CURSOR if not otherwise.get(name, hasattr(own, name))}
    return type(own.__name__, (ours,), {"__module__": ours.__module__, "__doc__": ours.__doc__, **absent})


def own_attribute(own: type[Any], name: str) -> Any:
    """What the driver's class has under a name, as it stands there; `MISSING` where it has none."""
    return inspect.getattr_static(own, name, MISSING)


class Unrecorded(ReplayObject):
    """In the place of a value that is not recorded. Whatever the app does with it is refused.

    Reading it is not: ``hasattr`` reads attributes too, and must be as true as with the driver.

    Args:
        refuse: Raises the refusal.
        what: The attribute's name.
    """

    def __init__(self, refuse: Callable[[], NoReturn], what: str) -> None:
        self._refuse = refuse
        self._what = what

    def __repr__(self) -> str:
        return f"<not recorded: {self._what}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name.endswith("__"):
            # Asked by Python's own tools, such as `copy`.
            raise_for_app(AttributeError(name))
        self._refuse()


@guarded_method
def _refused(self: Unrecorded, *_: Any, **__: Any) -> NoReturn:
    self._refuse()


for _operator in (
    *("bool", "bytes", "call", "contains", "eq", "float", "format", "ge", "getitem", "gt", "hash", "index", "int"),
    *("iter", "le", "len", "lt", "ne", "str", "add", "radd", "sub", "rsub", "mod", "rmod", "mul", "rmul"),
):
    setattr(Unrecorded, f"__{_operator}__", _refused)
