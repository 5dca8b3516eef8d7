"""psycopg's ``TypeInfo.fetch`` and its subclasses, which ask the server about a type (see `server_types`).

What is registered with their answers makes values by classes of the app: see `app_types`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from functools import cache, partial, wraps
from importlib import import_module
from operator import attrgetter, getitem
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.libraries.kits.dbapi.app_types import note_made, registers, registers_class
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import learned, recorded_types
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import text_of

__all__ = ["function_patches"]

_PLAIN: Final = frozenset({str, int, bool, type(None)})


_COMPOSITE: Final = "psycopg.composite"
_ENUM: Final = "psycopg.enum"


def function_patches(module: ModuleType) -> list[Undoable]:
    """The patches of ``TypeInfo.fetch``, which the classes of ranges, enums and composites inherit, and of the
    functions by which an app says how values are made.

    Apps have names of their own for these functions.
    """
    composites, enums = (import_module(f"{module.__name__}.types.{name}") for name in ("composite", "enum"))
    return [
        Patch(module.types.TypeInfo, "fetch", _fetch),
        Rebound(composites.register_composite, _register_composite(composites.register_composite)),
        Rebound(enums.register_enum, _register_enum(enums.register_enum)),
    ]


def _register_composite(original: Function) -> Function:
    makes_objects = "make_object" in inspect.signature(original).parameters  # from 3.3 on

    @wraps(original)
    def register_composite(info: Any, context: Any = None, factory: Any = None, **more: Any) -> None:
        make = more.get("make_object")
        if not info or not (factory or make):
            original(info, context, factory, **more)
            return
        of_values, noting = _makers(info, factory, make)
        if makes_objects:
            more["make_object"] = noting
        original(info, context, factory, **more)
        if not makes_objects:
            adapters = context.adapters if context else import_module("psycopg.postgres").adapters
            for form in import_module("psycopg.pq").Format:
                # The class of loaders that was just made for this type.
                adapters.get_loader(info.oid, form).factory = staticmethod(lambda *values: noting(values, info))
        registers(_COMPOSITE, _type_name(info), of_values)

    return register_composite


@cache
def _makers(info: Any, factory: Any, make: Any) -> tuple[Function, Function]:
    """What makes a value of its parts, and what does so and notes it.

    They are the same again for the same arguments: psycopg keeps a class for each function that it is given.
    """

    def of_values(values: Sequence[Any], _: Any = None) -> Any:
        return make(values, info) if make else factory(*values)

    def noting(values: Sequence[Any], _: Any) -> Any:
        value = of_values(values)
        note_made(value, _COMPOSITE, _type_name(info), values)
        return value

    return of_values, noting


def _register_enum(original: Function) -> Function:
    @wraps(original)
    def register_enum(info: Any, *args: Any, **kwargs: Any) -> None:
        original(info, *args, **kwargs)
        registers_class(
            info.enum, _ENUM, _type_name(info), parts=attrgetter("name"), make=partial(getitem, info.enum)
        )

    return register_enum


def _type_name(info: Any) -> str:
    return str(getattr(info, "regtype", "") or info.name)


def _fetch(original: Function) -> Function:
    def fetch(cls: Any, conn: Any, name: Any) -> Any:
        if isinstance(conn, ReplayConnection):
            return _recorded(cls, conn, text_of(name))
        found = original(cls, conn, name)
        if inspect.isawaitable(found):
            return _awaited(cls, conn, name, found)
        _note(cls, conn, name, found)
        return found

    return fetch


async def _awaited(cls: Any, conn: Any, name: Any, coming: Awaitable[Any]) -> Any:
    found = await coming
    _note(cls, conn, name, found)
    return found


def _note(cls: Any, conn: Any, name: Any, found: Any) -> None:
    try:
        learned(conn, _key(cls, text_of(name)), _fields(cls, found))
    except Exception as fault:
        faults.contain("psycopg.types", fault)


def _key(cls: Any, name: str) -> str:
    return f"{cls.__name__} {name}"


def _fields(cls: Any, found: Any) -> dict[str, Any] | None:
    """The arguments of which an equal object is made again."""
    if found is None:
        return None
    given = {name: getattr(found, name, ...) for name in inspect.signature(cls).parameters}
    return {
        name: list(value) if isinstance(value, (list, tuple)) else value
        for name, value in given.items()
        if type(value) in _PLAIN or (isinstance(value, (list, tuple)) and _PLAIN.issuperset(map(type, value)))
    }


def _recorded(cls: Any, conn: ReplayConnection, name: str) -> Any:
    known, key = recorded_types(conn.target), _key(cls, name)
    if key not in known:
        raise unrecorded(conn.target, f"{cls.__name__}.fetch({name!r})")
    found = None if known[key] is None else cls(**known[key])
    return _as_awaited(found) if conn.is_awaited else found


async def _as_awaited(found: Any) -> Any:
    return found
