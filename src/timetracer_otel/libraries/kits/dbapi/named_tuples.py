"""Classes of named tuples that a driver makes: of rows, one for each set of columns, and of composite types."""

from __future__ import annotations

import collections
import importlib
from functools import lru_cache, partial
from typing import Any
from weakref import WeakValueDictionary

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.dbapi.driver import known

__all__ = ["made_by", "named_tuple"]

_made: WeakValueDictionary[tuple[str, str, tuple[str, ...]], type[Any]] = WeakValueDictionary()
"""By module, name and fields: the class that the driver made last."""


def made_by(module: Any) -> Patch:
    """The patch that lets us know which classes a module of a driver makes, which has ``namedtuple`` by name.

    Values of a replay are of these classes: an app may have one at hand, as ``register_composite`` gives it.
    """

    def wrap(original: Function) -> Function:
        # The name of the module is taken from the caller's frame, which is the guard's.
        return noting("dbapi.named_tuples", partial(original, module=module.__name__), _note_made)

    return Patch(module, "namedtuple", wrap)


def _note_made(made: Any, typename: str, *_: object) -> None:
    _made[made.__module__, typename, made._fields] = made


def named_tuple(module: str, name: str, fields: tuple[str, ...]) -> Any:
    """The class of a driver's with that name and these fields.

    Raises:
        KeyError: No known driver makes classes in such a module.
    """
    own = known.named_tuple_modules[module]
    if own and hasattr(there := importlib.import_module(module), own):
        return getattr(there, own)(name, fields)
    return _made.get((module, name, fields)) or _own(module, name, fields)


@lru_cache(maxsize=256)
def _own(module: str, name: str, fields: tuple[str, ...]) -> Any:
    factory: Any = collections.namedtuple  # noqa: PYI024 - the fields are the query's
    return factory(name, fields, module=module)
