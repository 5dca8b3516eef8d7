"""psycopg's ``TypeInfo.fetch`` and its subclasses, which ask the server about a type (see `server_types`).

What is registered with their answers makes values by classes of the app: see `app_types`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial, wraps
from importlib import import_module
from operator import attrgetter, getitem
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, raising
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.libraries.kits.dbapi.app_types import note_made, registers, registers_class
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import learned, recorded_types
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import text_of

__all__ = ["function_patches"]

_LIB: Final = "psycopg"
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

    def begin(_: Any, info: Any, context: Any = None, factory: Any = None, **more: Any) -> Flow | None:
        return registered(info, context, factory, **more) if info and (factory or more.get("make_object")) else None

    def registered(info: Any, context: Any, factory: Any, **more: Any) -> Flow:
        of_values, noted = _makers(info, factory, more.get("make_object"))
        if makes_objects:
            more["make_object"] = noted
        yield AppStep(original, info, context, factory, **more)
        if not makes_objects:
            adapters = context.adapters if context else import_module("psycopg.postgres").adapters
            for form in import_module("psycopg.pq").Format:
                # The class of loaders that was just made for this type.
                adapters.get_loader(info.oid, form).factory = staticmethod(lambda *values: noted(values, info))
        registers(_COMPOSITE, _type_name(info), of_values)

    return wraps(original)(guarded(_LIB, original, begin, outside=True))


@cache
def _makers(info: Any, factory: Any, make: Any) -> tuple[Function, Function]:
    """What makes a value of its parts, and what does so and notes it.

    They are the same again for the same arguments: psycopg keeps a class for each function that it is given.
    """
    name = _type_name(info)

    def of_values(values: Sequence[Any], _: Any = None) -> Any:
        return make(values, info) if make else factory(*values)

    def noted(values: Sequence[Any], _: Any) -> Any:
        value = of_values(values)
        note_made(value, _COMPOSITE, name, values)
        return value

    return of_values, noted


def _register_enum(original: Function) -> Function:
    def note(_: None, info: Any, *__: object) -> None:
        registers_class(
            info.enum, _ENUM, _type_name(info), parts=attrgetter("name"), make=partial(getitem, info.enum)
        )

    return wraps(original)(noting("psycopg.types", original, note))


def _type_name(info: Any) -> str:
    return str(getattr(info, "regtype", "") or info.name)


def _fetch(original: Function) -> Function:
    def begin(_: Any, cls: Any, conn: Any, name: Any) -> Flow:
        if isinstance(conn, ReplayConnection):
            return (yield from _recorded(cls, conn, text_of(name)))
        found = yield AppStep(original, cls, conn, name)
        note = partial(_note, cls, conn, name)
        if inspect.isawaitable(found):
            return _awaited(found, note)
        note(found)
        return found

    return guarded(_LIB, original, begin, outside=True)


async def _awaited(coming: Awaitable[Any], note: Callable[[Any], None]) -> Any:
    found = await coming
    looked("psycopg.types", note, found)
    return found


def _note(cls: Any, conn: Any, name: Any, found: Any) -> None:
    learned(conn, _key(cls, text_of(name)), _fields(cls, found))


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


def _recorded(cls: Any, conn: ReplayConnection, name: str) -> Flow:
    known, key = recorded_types(conn.target), _key(cls, name)
    if key not in known:
        yield raising(unrecorded(conn.target, f"{cls.__name__}.fetch({name!r})"))
    found = None if known[key] is None else cls(**known[key])
    return _as_awaited(found) if conn.is_awaited else found


async def _as_awaited(found: Any) -> Any:
    return found
