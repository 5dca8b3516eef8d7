"""Whether a library still has the names that a plugin relies upon: functions, classes, attributes and parameters.

A plugin states them in its internals file, each as ``module:path``, for instance ``httpx:Headers._list``. A path may
end with a parameter of a function, in brackets: ``aiohttp:ClientSession._request(middlewares)``. Attributes that
instances are given by the code of their class count as well.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from timetracer_otel.base.patching import Function

__all__ = ["attribute_is_there", "missing_names"]

_spoken_by: dict[str, tuple[int, str]] = {}
"""By name: which class of the method resolution order has the function whose code names the attribute, and as what.

This is where the next search begins. A library has hundreds of functions, and each session asks again: between two
sessions somebody may have replaced any of them."""


def missing_names(names: Iterable[str]) -> list[str]:
    """The names among these that do not exist, in the same order."""
    owners: dict[str, Any] = {}
    return [name for name in names if not _is_there(name, owners)]


def attribute_is_there(owner: Any, name: str) -> bool:
    """Whether an object has an attribute, or the code of a class names it, and so may set it on instances."""
    return hasattr(owner, name) or next(_speakers(owner, name), None) is not None


class _Parts(NamedTuple):
    """The parts of a name. All but the owner may be empty."""

    owner: str
    """``module:path``, without the last part of the path."""
    last: str
    parameter: str


@lru_cache(maxsize=1024)
def _parts(name: str) -> _Parts:
    module, _, path = name.partition(":")
    path, _, parameter = path.rstrip(")").partition("(")
    path, _, last = path.rpartition(".")
    return _Parts(f"{module}:{path}" if path else module, last, parameter)


def _is_there(name: str, owners: dict[str, Any]) -> bool:
    owner_name, last, parameter = _parts(name)
    try:
        owner = owners[owner_name]
    except KeyError:
        try:
            owner = owners[owner_name] = _owner(owner_name)
        except ImportError:
            return False
    if last and not hasattr(owner, last):
        return not parameter and _is_spoken_of(owner, last, name)
    return not parameter or _takes(getattr(owner, last), parameter)


def _owner(name: str) -> Any:
    module, _, path = name.partition(":")
    # One that is being imported is waited for.
    owner: Any = sys.modules.get(module)
    if owner is None or getattr(getattr(owner, "__spec__", None), "_initializing", False):
        owner = import_module(module)
    for part in path.split(".") if path else ():
        owner = getattr(owner, part, None)
    return owner


def _takes(function: Any, parameter: str) -> bool:
    if type(function) is FunctionType and not function.__dict__:
        # What `inspect.signature` would come to, in a hundredth of its time.
        code = function.__code__
        if parameter in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            return True
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):
        # A mock, or a function written in C, may have no signature. It gets the benefit of the doubt.
        return True
    return parameter in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _is_spoken_of(owner: Any, attribute: str, name: str) -> bool:
    """Whether the code of a class names an attribute, which is that of a name relied upon."""
    if not inspect.isclass(owner):
        return False
    position, key = _spoken_by.get(name, (0, ""))
    mro = owner.__mro__
    if position < len(mro) and attribute in _names_in(vars(mro[position]).get(key)):
        return True
    found = next(_speakers(owner, attribute), None)
    if found is None:
        return False
    _spoken_by[name] = found
    return True


def _speakers(owner: Any, attribute: str) -> Iterator[tuple[int, str]]:
    """The functions of a class whose code names an attribute: the position of their class, and their names in it."""
    if inspect.isclass(owner):
        for position, base in enumerate(owner.__mro__):
            for key, item in vars(base).items():
                if attribute in _names_in(item):
                    yield position, key


def _names_in(item: Any) -> tuple[str, ...]:
    """All names in the code of one attribute of a class."""
    if isinstance(item, property):
        return _names_of(item.fget) + _names_of(item.fset)
    return _names_of(getattr(item, "__func__", item))


def _names_of(function: Function | None) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return code.co_names if isinstance(code, CodeType) else ()
