"""Rows that are no tuples: a cassette holds the values of each row in the order of the columns, and names the class.

A cursor gives rows of whatever class its row factory makes. Python's own classes and those of drivers are made again
in a replay. A class of the app's is not: the cassette says which it was, and nothing is imported because a file names
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import countOf
from typing import Any, Final, NamedTuple

from timetracer_otel.libraries.kits.dbapi.driver import known
from timetracer_otel.libraries.kits.dbapi.named_tuples import named_tuple
from timetracer_otel.libraries.kits.dbapi.values import PLAIN, plain_row, plain_rows, size_of_row

__all__ = ["TUPLES", "RowClass", "UnknownRowsError", "as_tuples", "maker_of"]


class RowClass(NamedTuple):
    """Which class rows are of."""

    name: str
    """Module and name; Python's own classes have no module here."""
    fields: tuple[str, ...] = ()
    """Names of the fields, where it is a class of named tuples."""


TUPLES: Final = RowClass("tuple")


class UnknownRowsError(Exception):
    """The rows cannot be made again; the text says why, and what to do."""


def as_tuples(rows: Sequence[Any], columns: Sequence[Any]) -> tuple[RowClass, list[tuple[Any, ...]], int]:
    """Fetched rows: their class, they as tuples of plain data, and about what their values take in memory.

    Args:
        rows: At least one.
        columns: As the driver describes them; each begins with its name.

    Raises:
        UnknownRowsError: A replay cannot make their class, or they are of several classes.
    """
    if len(rows) == 1 and type(rows[0]) is tuple and PLAIN.issuperset(map(type, rows[0])):
        # One row, as the drivers of most statements give it.
        return TUPLES, [rows[0]], size_of_row(rows[0])
    if countOf(map(type, rows), tuple) == len(rows):
        return TUPLES, *plain_rows(rows)
    kinds = set(map(type, rows))
    kind: Any = kinds.pop()
    row_class, made = _of_another_class(rows, [column[0] for column in columns], kind, kinds)
    return row_class, made, sum(map(size_of_row, made))


def _of_another_class(
    rows: Sequence[Any], names: Sequence[Any], kind: Any, kinds: set[type]
) -> tuple[RowClass, list[tuple[Any, ...]]]:
    if kinds:
        raise _unknown(" and ".join(sorted(map(_name_of, {kind, *kinds}))))
    name = _name_of(kind)
    if name in known.usual_rows:
        return TUPLES, list(map(plain_row, rows))
    row_type = known.row_types.get(name)
    if name == "dict" or (row_type is not None and row_type.by_name):
        # A name that several columns have stands once in the row: each of them has that value again.
        keys = list(dict.fromkeys(names))
        if all(list(row) == keys for row in rows):
            return RowClass(name), [plain_row([row[key] for key in names]) for row in rows]
        raise _unknown(f"{name} whose keys are not the columns")
    is_named = issubclass(kind, tuple) and kind.__module__ in known.named_tuple_modules
    fields = getattr(kind, "_fields", None) if is_named else None
    if name == "list" or row_type is not None or fields is not None:
        if all(len(row) == len(names) for row in rows):
            return RowClass(name, tuple(fields or ())), list(map(plain_row, rows))
        raise _unknown(f"{name} whose items are not the columns")
    raise _unknown(name)


def maker_of(rows: RowClass, names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    """What makes a row of that class from the tuple of its values.

    Raises:
        ValueError: The class is none that `as_tuples` gives.
        ImportError: The driver with that class is not installed.
    """
    name = rows.name
    if name == "tuple":
        return tuple
    if name == "list":
        return list
    if name == "dict":
        return lambda values: dict(zip(names, values, strict=True))
    row_type = known.row_types.get(name)
    if row_type is not None:
        return row_type.maker(names)
    module, _, short = name.rpartition(".")
    if module not in known.named_tuple_modules:
        raise ValueError(f"rows of {name}")
    return named_tuple(module, short, rows.fields)._make  # type: ignore[no-any-return]


def _name_of(kind: type[Any]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _unknown(what: str) -> UnknownRowsError:
    return UnknownRowsError(
        f"rows of {what} cannot be made again: fetch tuples or dicts, and make your objects of them"
    )
