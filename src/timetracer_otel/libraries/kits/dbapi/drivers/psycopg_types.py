"""What psycopg learns about types of the server: ``TypeInfo.fetch`` and its subclasses.

An app asks when a connection is set up, past every library: pgvector's ``register_vector`` does so in a listener of
the pool. A replay may open its connection where the recording had one already. So the answers are facts of the
database, which each recording holds, and no calls of one recording.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import text_of
from timetracer_otel.session import ReplaySession

__all__ = ["TYPES", "belongs_to", "function_patches", "with_types"]

TYPES: Final = "timetracer_types"
"""Key among the facts of a database: what is known about its types."""

_PLAIN: Final = frozenset({str, int, bool, type(None)})

_owners: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""By psycopg's connection: what learns from its server. Weak, as pools own their connections."""
_learned: WeakKeyDictionary[Any, dict[str, dict[str, Any] | None]] = WeakKeyDictionary()
"""By the same owner: the answers by class and name; None where the server has no such type. An engine asks once for
all the sessions that come after."""


def belongs_to(connection: Any, owner: Any) -> None:
    """Note whose connection of psycopg this is, before the app sets it up."""
    _owners[connection] = owner


def with_types(facts: dict[str, Any] | None, owner: Any) -> dict[str, Any] | None:
    """The facts of a database, and what was learned about its types; None where there are none."""
    learned = _learned.get(owner)
    return {**facts, TYPES: dict(learned)} if learned and facts is not None else facts


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
        owner = _owners.get(conn)
        if owner is not None:
            _learned.setdefault(owner, {})[_key(cls, text_of(name))] = _fields(cls, found)
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
    session = get_current_session()
    facts = recorded_facts(session, conn.target) if isinstance(session, ReplaySession) else None
    known: Mapping[str, Any] = (facts or {}).get(TYPES, {})
    key = _key(cls, name)
    if key not in known:
        raise unrecorded(conn.target, f"{cls.__name__}.fetch({name!r})")
    found = None if known[key] is None else cls(**known[key])
    return _as_awaited(found) if conn.is_awaited else found


async def _as_awaited(found: Any) -> Any:
    return found
