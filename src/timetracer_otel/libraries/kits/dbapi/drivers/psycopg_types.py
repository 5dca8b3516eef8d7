"""psycopg's ``TypeInfo.fetch`` and its subclasses, which ask the server about a type (see `server_types`)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import learned, recorded_types
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import text_of

__all__ = ["function_patches"]

_PLAIN: Final = frozenset({str, int, bool, type(None)})


def function_patches(module: ModuleType) -> list[Patch]:
    """The patch of ``TypeInfo.fetch``, which the classes of ranges, enums and composites inherit."""
    return [Patch(module.types.TypeInfo, "fetch", _fetch)]


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
