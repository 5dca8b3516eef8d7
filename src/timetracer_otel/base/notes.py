"""What is noted of an object of a library. It stands in an attribute of that object, and goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["noted_of"]

T = TypeVar("T")


def noted_of(owner: Any, make: Callable[[], T], name: str = "_timetracer") -> T:
    """What is noted of an object, which is made when it is first asked for.

    Args:
        owner: The object. It has a ``__dict__``.
        make: Makes what is noted, with nothing in it.
        name: The attribute.
    """
    kept: dict[str, Any] = vars(owner)
    found: T | None = kept.get(name)
    if found is None:
        found = kept[name] = make()
    return found
