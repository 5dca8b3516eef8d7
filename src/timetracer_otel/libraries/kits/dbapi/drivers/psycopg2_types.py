"""psycopg2's ``register_composite`` and its like, which ask the server about a type (see `server_types`).

They ask by a cursor of their own. While the driver's own connection stands behind it, that cursor is one of ours,
which notes its statements and their rows. A replay's cursor answers the same statements.

What they register makes values by classes of the app: see `app_types`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Shared
from timetracer_otel.calls.guarded import AppStep, Flow, guarded
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.kits.dbapi.app_types import note_made, registers, registers_class
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import learned, recorded_types
from timetracer_otel.libraries.kits.dbapi.named_tuples import made_by
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.kits.dbapi.statements import text_of
from timetracer_otel.libraries.kits.dbapi.target import Target

__all__ = ["AskingVectors", "range_of", "range_parts", "recorded_rows", "type_patches"]

_LIB: Final = "psycopg2"
_TYPES: Final = "psycopg2.types"
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_ROWS, _ERROR = "rows", "error"
_COMPOSITE: Final = "psycopg2.composite"
_RANGE: Final = "psycopg2.range"


def type_patches(extras: ModuleType) -> list[Shared]:
    """The patches of what asks about types, and of what makes values by classes of the app's or of psycopg2's (2.9):
    of composite types, of ranges, and rows that are named tuples.
    """
    return [Shared(change, users) for change, users in _type_patches(extras)]


@lru_cache(maxsize=1)
def _type_patches(extras: ModuleType) -> list[tuple[Patch, set[Shared]]]:
    composites = extras.CompositeCaster
    patches = [
        made_by(extras),
        _asking_patch(extras),
        Patch(composites, "__init__", partial(_registering_composite, composites)),
        Patch(composites, "parse", partial(_parsing, composites)),
        Patch(extras.RangeCaster, "__init__", _registering_range),
    ]
    return [(patch, set()) for patch in patches]


def _registering_composite(own: Any, original: Function) -> Function:
    def note(_: None, caster: Any, *__: object) -> None:
        # The driver's own class makes named tuples, which need nothing of the app's.
        if type(caster) is not own:
            registers(_COMPOSITE, _type_name(caster), lambda values: caster.make(values))

    return noting(_TYPES, original, note)


def _parsing(own: Any, original: Function) -> Function:
    """A value is read: of what it is made, only the cursor sees, which casts each part."""

    def begin(_: Any, caster: Any, s: Any, curs: Any) -> Flow | None:
        return None if type(caster) is own or s is None else parsed(caster, s, _Casting(curs))

    def parsed(caster: Any, s: Any, casting: _Casting) -> Flow:
        made = yield AppStep(original, caster, s, casting)
        note_made(made, _COMPOSITE, _type_name(caster), casting.values)
        return made

    return guarded(_LIB, original, begin)


class _Casting:
    """A cursor of the driver's, and the values that it cast."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.values: list[Any] = []

    def cast(self, oid: Any, token: Any) -> Any:
        value = self._cursor.cast(oid, token)
        self.values.append(value)
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _type_name(caster: Any) -> str:
    return f"{caster.schema}.{caster.name}" if caster.schema else str(caster.name)


def _registering_range(original: Function) -> Function:
    return noting(_TYPES, original, _note_range)


def _note_range(_: None, caster: Any, *__: object) -> None:
    name = caster.adapter.name or caster.adapter.__name__
    registers_class(caster.range, _RANGE, name, parts=range_parts, make=partial(range_of, caster.range))


def range_parts(value: Any) -> list[Any]:
    """Of what a range is made."""
    return [value.lower, value.upper, value._bounds or ""]


def range_of(cls: Any, parts: Any) -> Any:
    """A range of some class again."""
    lower, upper, bounds = parts
    return cls(lower, upper, bounds) if bounds else cls(empty=True)


def _asking_patch(extras: ModuleType) -> Patch:
    """The patch of the function by which all of psycopg2 (2.9) gets a cursor to ask about types."""
    return Patch(extras, "_solve_conn_curs", _solving)


def _solving(original: Function) -> Function:
    def begin(_: Any, conn_or_curs: Any) -> Flow:
        connection, cursor = yield AppStep(original, conn_or_curs)
        if isinstance(cursor, ReplayCursor):
            return connection, cursor
        own: Any = type(cursor)
        return connection, (yield partial(connection.cursor, cursor_factory=_noting_cursor(own)))

    return guarded(_LIB, original, begin, outside=True)


class AskingVectors:
    """The patch of the class of cursors by which pgvector's ``register_vector`` asks, from 0.3 on."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._original: Any = None

    def apply(self) -> None:
        """Put ours in; harmless when repeated."""
        if self._original is None:
            self._original = self._module.cursor
            self._module.cursor = _noting_cursor(self._original)

    def undo(self) -> None:
        """Put the driver's back; harmless when repeated."""
        if self._original is not None:
            if self._module.cursor is _noting_cursor(self._original):
                self._module.cursor = self._original
            self._original = None


@lru_cache(maxsize=2)
def _noting_cursor(own: Any) -> Any:
    """A subclass of the driver's class of cursors that notes each answer."""

    def execute(self: Any, query: Any, values: Any = None) -> Any:
        try:
            result = own.execute(self, query, values)
        except Exception as error:
            looked(_TYPES, _note, self, query, values, partial(_said, error))
            raise
        if self.description is not None:
            looked(_TYPES, _note, self, query, values, partial(_all_rows, own, self))
        return result

    return type(own.__name__, (own,), {"__module__": own.__module__, "execute": execute})


def _said(error: Exception) -> dict[str, Any]:
    return {_ERROR: [type(error).__name__, str(error)]}


def _all_rows(own: Any, cursor: Any) -> dict[str, Any]:
    """The rows, which whoever asks may fetch again; None where some are not plain."""
    rows = [list(row) for row in own.fetchall(cursor)]
    if rows:
        own.scroll(cursor, 0, "absolute")
    return {_ROWS: rows if all(_PLAIN.issuperset(map(type, row)) for row in rows) else None}


def _note(cursor: Any, query: Any, values: Any, answer: Callable[[], dict[str, Any]]) -> None:
    learned(cursor.connection, _question(text_of(query), values), answer())


def _question(text: str, values: Any) -> str:
    return f"{' '.join(text.split())} {list(values or ())!r}"


def recorded_rows(target: Target, text: str, values: Any) -> list[tuple[Any, ...]] | None:
    """The rows that a statement about types gave when it was recorded; None where it was not recorded.

    Raises:
        Exception: The driver's, where the statement failed.
    """
    answer = recorded_types(target).get(_question(text, values)) or {}
    if _ERROR in answer:
        name, message = answer[_ERROR]
        kind = getattr(importlib.import_module("psycopg2.errors"), name, target.dbapi.ProgrammingError)
        raise_for_app(kind(message))
    rows = answer.get(_ROWS)
    return None if rows is None else list(map(tuple, rows))
