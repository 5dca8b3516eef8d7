"""Rows that are no tuples: their values in the order of the columns, and rows of the same class made of them.

A cursor of ``engine.raw_connection()`` gives rows of whatever class its row factory makes. A cassette holds tuples of
values for all of them, and the name of the class beside them. What is the app's own class is not made again.
"""

from __future__ import annotations

import collections
import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from timetracer_otel.libraries.kits.dbapi.composed import quoted_identifier
from timetracer_otel.libraries.kits.dbapi.values import plain_row

__all__ = ["TUPLES", "RowClass", "UnknownRowsError", "as_tuples", "maker_of"]

_USUAL: Final = frozenset(
    {"asyncpg.protocol.record.Record", "asyncpg.Record", "pyodbc.Row", "databricks.sql.types.Row"}
)
"""What a driver makes when it is asked for nothing else, and only it can make: tuples in a replay, for SQLAlchemy."""

_DICTS: Final = frozenset({"dict", "psycopg2.extras.RealDictRow"})
_SEQUENCES: Final = frozenset({"list", "sqlite3.Row", "psycopg2.extras.DictRow"})
_NAMED: Final = frozenset({"psycopg.rows", "psycopg2.extras"})
"""Modules of drivers that make classes of named tuples, one for each set of columns."""


class RowClass(NamedTuple):
    """Which class rows are of."""

    name: str
    """Module and name; without module for what is Python's own."""
    fields: tuple[str, ...] = ()
    """Of a named tuple."""


TUPLES: Final = RowClass("tuple")


class UnknownRowsError(Exception):
    """Rows that cannot be made again; the text says why, and what to do."""


def as_tuples(rows: Sequence[Any], names: Sequence[Any]) -> tuple[RowClass, list[tuple[Any, ...]]]:
    """Fetched rows as tuples that later changes by the app do not reach, and the class of the rows.

    Args:
        rows: At least one.
        names: Of the columns.

    Raises:
        UnknownRowsError: They are of a class, or of several, that a replay cannot make.
    """
    kinds = set(map(type, rows))
    kind: Any = kinds.pop()
    if kind is tuple and not kinds:
        return TUPLES, list(map(plain_row, rows))
    if kinds:
        raise _unknown(" and ".join(sorted(map(_name_of, {kind, *kinds}))))
    name = _name_of(kind)
    if name in _USUAL:
        return TUPLES, list(map(plain_row, rows))
    if name in _DICTS:
        # A name that several columns have stands once in the row: each of them has that value again.
        keys = list(dict.fromkeys(names))
        if all(list(row) == keys for row in rows):
            return RowClass(name), [plain_row([row[key] for key in names]) for row in rows]
        raise _unknown(f"{name} whose keys are not the columns")
    is_named = issubclass(kind, tuple) and kind.__module__ in _NAMED and hasattr(kind, "_fields")
    if name in _SEQUENCES or is_named:
        if all(len(row) == len(names) for row in rows):
            return RowClass(name, tuple(kind._fields) if is_named else ()), list(map(plain_row, rows))
        raise _unknown(f"{name} whose items are not the columns")
    raise _unknown(name)


def maker_of(rows: RowClass, names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    """What makes a row of a tuple of its values.

    Raises:
        ValueError: It is not a class that `as_tuples` gives.
        ImportError: The driver with that class is not installed.
    """
    name = rows.name
    if name == "tuple":
        return tuple
    if name == "list":
        return list
    if name == "dict":
        return lambda values: dict(zip(names, values, strict=True))
    if name == "sqlite3.Row":
        return _sqlite_row(tuple(names))
    if name == "psycopg2.extras.RealDictRow":
        real_dict_row = importlib.import_module("psycopg2.extras").RealDictRow
        return lambda values: real_dict_row(zip(names, values, strict=True))
    if name == "psycopg2.extras.DictRow":
        return _dict_row(names)
    module, _, short = name.rpartition(".")
    if module not in _NAMED:
        raise ValueError(f"rows of {name}")
    return _named_tuple(module, short, rows.fields)


def _sqlite_row(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """sqlite3 makes its rows for a cursor of its own only, and asks it for nothing but the names of its columns."""
    columns = ", ".join(f"NULL AS {quoted_identifier(name)}" for name in names)
    sqlite3 = importlib.import_module("sqlite3")  # some builds of Python are without it
    connection = sqlite3.connect(":memory:")
    try:
        cursor = connection.execute(f"SELECT {columns}")
    finally:
        connection.close()
    return lambda values: sqlite3.Row(cursor, values)


def _dict_row(names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    cursor = SimpleNamespace(index={name: at for at, name in enumerate(names)}, description=names)
    kind = importlib.import_module("psycopg2.extras").DictRow

    def make(values: tuple[Any, ...]) -> Any:
        row = kind(cursor)
        row[:] = values
        return row

    return make


@lru_cache(maxsize=256)
def _named_tuple(module: str, name: str, fields: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    factory: Any = collections.namedtuple  # noqa: PYI024 - the fields are the query's
    make: Callable[[tuple[Any, ...]], Any] = factory(name, fields, module=module)._make
    return make


def _name_of(kind: type[Any]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _unknown(what: str) -> UnknownRowsError:
    return UnknownRowsError(
        f"rows of {what} cannot be made again: fetch tuples or dicts, and make your objects of them"
    )
