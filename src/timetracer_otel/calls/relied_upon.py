"""Whether a library still has the names that a plugin relies upon: functions, classes, attributes and parameters.

A plugin states them in its internals file, each as ``module:path``, for instance ``httpx:Headers._list``. A path may
end with a parameter of a function, in brackets: ``aiohttp:ClientSession._request(middlewares)``. Attributes that
instances are given by the code of their class count as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import CodeType
from typing import Any

from timetracer_otel.base.patching import Function

__all__ = ["attribute_is_there", "missing_names"]


def missing_names(names: Iterable[str]) -> list[str]:
    """The names among these that do not exist, in the same order."""
    return [name for name in names if not _is_there(name)]


def attribute_is_there(owner: Any, name: str) -> bool:
    """Whether an object has an attribute, or the code of a class names it, and so may set it on instances."""
    if hasattr(owner, name):
        return True
    if not inspect.isclass(owner):
        return False
    return any(name in _spoken_of(base) for base in owner.__mro__)


def _is_there(name: str) -> bool:
    module, _, path = name.partition(":")
    path, _, parameter = path.rstrip(")").partition("(")
    try:
        owner: Any = import_module(module)
    except ImportError:
        return False
    *owners, last = path.split(".") if path else [""]
    for part in owners:
        owner = getattr(owner, part, None)
    if not last:
        return True
    return attribute_is_there(owner, last) and (not parameter or _takes(getattr(owner, last), parameter))


def _takes(function: Any, parameter: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):
        # A mock, or a function written in C, may have no signature. It gets the benefit of the doubt.
        return True
    return parameter in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _spoken_of(cls: type) -> Iterator[str]:
    for item in vars(cls).values():
        functions = (item.fget, item.fset) if isinstance(item, property) else (getattr(item, "__func__", item),)
        for function in functions:
            yield from _names_in(function)


def _names_in(function: Function | None) -> Iterator[str]:
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType):
        yield from code.co_names
