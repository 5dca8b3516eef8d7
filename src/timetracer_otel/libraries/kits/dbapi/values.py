"""Values of rows and parameters as plain data, and back.

A driver gives more types than a cassette knows, for instance psycopg's ``Range``. Such a value becomes a map that
names its type and holds its parts (`ValueType`).
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import countOf
from typing import Any, Final

from timetracer_otel.calls.whose_error import is_from_outside, outside
from timetracer_otel.cassette import Unencodable
from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE
from timetracer_otel.libraries.kits.dbapi.app_types import made_of, nothing_is_taken_apart, taken_apart
from timetracer_otel.libraries.kits.dbapi.driver import driver_of, known
from timetracer_otel.libraries.kits.dbapi.named_tuples import named_tuple
from timetracer_otel.match.stable_form import stable_form

__all__ = [
    "PLAIN",
    "items_of",
    "or_raising",
    "pairs_of",
    "plain",
    "plain_parameter",
    "plain_row",
    "plain_rows",
    "restored",
    "restored_row",
    "restored_rows",
    "size_of_row",
]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types that are kept as they are, without a look inside and without a copy."""

_ENCODED: Final = frozenset({dt.date, dt.timedelta, decimal.Decimal, uuid.UUID})
"""Frequent types of parameters that every value of has an encoding."""

_AS_THEY_ARE: Final = _ENCODED | {dt.datetime, dt.time}
"""Frequent types of values that `plain` gives back as they are, unless the app has registered something for them."""

_NAMED_TUPLE: Final = "namedtuple"
"""The type of a value of a composite type, which a driver makes a named tuple of."""
_APP_TYPE: Final = "app"
"""The type of a value that the driver makes by what the app registered (`app_types`)."""
_DICT: Final = "dict"
"""The type of a dict of the app's that has our own key in it, and so could be taken for a value of a driver."""

_PYTHONS_OWN: Final = frozenset({dict, list, tuple})
"""Containers that raise nothing when they are looked at."""
_SIZED: Final = frozenset({bytes, str})
_TEXT: Final = {str}
_VALUE_BYTES: Final = 32
"""About what a value takes in memory that is neither text nor bytes."""
_FEW: Final = 3
"""To begin with a column takes as long as to look at some values."""


def plain_rows(rows: Sequence[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], int]:
    """Each of the rows as `plain_row` has it, and the sum of `size_of_row`. Most rows come in thousands, whose values
    are looked at column by column: a step for each value would take longer than to fetch it.
    """
    columns: list[tuple[Any, ...]] | None = None
    if len(rows) > _FEW:
        with suppress(ValueError):  # They have several lengths.
            columns = list(zip(*rows, strict=True))
    if columns is None:
        made = list(map(plain_row, rows))
        size_bytes = 0
        for row in made:
            for value in row:
                size_bytes += len(value) if type(value) in _SIZED else _VALUE_BYTES
        return made, size_bytes
    others: set[type] = set()
    size_bytes = 0
    for column in columns:
        # Most columns have values of one type. To count them takes less than to make a set of the types.
        first = type(column[0])
        kinds = {first} if countOf(map(type, column), first) == len(column) else set(map(type, column))
        if not kinds <= PLAIN:
            others |= kinds - PLAIN
        if kinds == _TEXT:
            size_bytes += len("".join(column))
        elif kinds.isdisjoint(_SIZED):
            size_bytes += _VALUE_BYTES * len(column)
        else:
            size_bytes += size_of_row(column)
    is_plain = not others or (others <= _AS_THEY_ARE and nothing_is_taken_apart(others))
    return list(rows) if is_plain else list(map(plain_row, rows)), size_bytes


def size_of_row(row: tuple[Any, ...]) -> int:
    """About what the values of a row take in memory."""
    return sum([len(value) if type(value) in _SIZED else _VALUE_BYTES for value in row])


def plain_row(row: Any) -> tuple[Any, ...]:
    """A fetched row as a tuple of plain data. The app may change its row later; the tuple stays as it is."""
    items = tuple(row)
    if PLAIN.issuperset(map(type, items)):
        return items
    return tuple(map(plain, items))


def plain(value: Any) -> Any:
    """A value that a driver gave as plain data: containers are copied, a driver's own types become maps that name
    them.

    A value that has no such form comes back as it is; the encoder of the cassette says later what it was.
    """
    taken = _plain(value)
    if taken is not value or type(value) in PLAIN:
        return taken
    apart = taken_apart(value)
    return value if apart is None else {DRIVER_TYPE: _APP_TYPE, DRIVER_VALUE: plain(apart)}


def _plain(value: Any) -> Any:
    """The same, whatever the app has registered by now."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list or kind is tuple:
        return kind(map(plain, value))
    if kind is dict:
        if DRIVER_TYPE in value:
            return {DRIVER_TYPE: _DICT, DRIVER_VALUE: [[plain(key), plain(item)] for key, item in value.items()]}
        return {key: plain(item) for key, item in value.items()}
    if kind is memoryview:
        # The driver may reuse the buffer.
        return memoryview(value.tobytes())
    value_type = known.value_types.get((kind.__module__, kind.__qualname__))
    if value_type is not None:
        return {DRIVER_TYPE: value_type.name, DRIVER_VALUE: plain(value_type.parts(value))}
    fields = getattr(kind, "_fields", None) if kind.__module__ in known.named_tuple_modules else None
    if fields is not None:
        parts = [kind.__module__, kind.__name__, list(fields), list(map(plain, value))]
        return {DRIVER_TYPE: _NAMED_TUPLE, DRIVER_VALUE: parts}
    return value


def restored_row(row: Any) -> tuple[Any, ...]:
    """The row that `plain_row` was given, as a tuple."""
    if PLAIN.issuperset(map(type, row)):
        return tuple(row)
    return tuple(map(restored, row))


def restored_rows(rows: Any) -> list[tuple[Any, ...]]:
    """`restored_row` of each row."""
    if PLAIN.issuperset(map(type, chain.from_iterable(rows))):
        return list(map(tuple, rows))
    return list(map(restored_row, rows))


def restored(value: Any) -> Any:
    """The value that `plain` was given, in the driver's own type.

    Raises:
        KeyError: No known driver has a type of that name, or the app has not registered it.
        ImportError: The driver is not installed.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(map(restored, value))
    if kind is not dict:
        return value
    if DRIVER_TYPE not in value:
        return {key: restored(item) for key, item in value.items()}
    parts = restored(value[DRIVER_VALUE])
    if value[DRIVER_TYPE] == _DICT:
        return {key: item for key, item in parts}  # noqa: C416 - pairs are lists, which dict() takes as well, unsaid
    if value[DRIVER_TYPE] == _APP_TYPE:
        return made_of(*parts)
    if value[DRIVER_TYPE] == _NAMED_TUPLE:
        module, name, fields, items = parts
        return named_tuple(module, name, tuple(fields))(*items)
    return known.value_types_by_name[value[DRIVER_TYPE]].made_of(parts)


def plain_parameter(value: Any) -> Any:
    """A bound value in a form for matching and showing. It is never given to a driver again, so types may be lost."""
    kind = type(value)
    return value if kind in PLAIN else or_raising(_form, value, kind)


def _form(value: Any, kind: type[Any]) -> Any:
    if isinstance(value, enum.Enum):
        return f"{kind.__qualname__}.{outside(getattr, value, 'name')}"
    if isinstance(value, Mapping):
        return {plain_parameter(key): plain_parameter(item) for key, item in pairs_of(value)}
    if isinstance(value, (list, tuple)) and (kind.__module__, kind.__qualname__) not in known.value_types:
        return list(map(plain_parameter, items_of(value)))
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return str.__str__(value)
    # By the methods of Python's own class: the app's may raise.
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    driver = driver_of(kind)
    for inner in driver.wrapped if driver is not None else ():
        if hasattr(value, inner):
            return {DRIVER_TYPE: kind.__qualname__, DRIVER_VALUE: plain_parameter(getattr(value, inner))}
    # What the app has registered by now must not count: a replay may register it earlier or later.
    taken = _plain(value)
    if type(taken) is dict:
        return {DRIVER_TYPE: taken[DRIVER_TYPE], DRIVER_VALUE: plain_parameter(taken[DRIVER_VALUE])}
    if kind in _ENCODED:
        return taken
    try:
        # Now, since the app may change its object later.
        return stable_form(taken)
    except Unencodable:
        return taken


def items_of(values: Any) -> Any:
    """The items of a container, also of one of the app's, which may raise."""
    return values if type(values) in _PYTHONS_OWN else outside(_listed, values)


def pairs_of(values: Any) -> Any:
    """The keys and values of a mapping, also of one of the app's, which may raise."""
    return values.items() if type(values) is dict else outside(_listed_pairs, values)


def _listed(values: Any) -> list[Any]:
    # `list` would ask for the length as well, which may raise.
    return [each for each in values]  # noqa: C416


def _listed_pairs(values: Mapping[Any, Any]) -> list[Any]:
    return [each for each in values.items()]  # noqa: C416


def or_raising(form: Callable[..., Any], value: Any, *more: Any) -> Any:
    """A bound value in the form that a function gives it. An object of the app's may raise when it is looked at: then
    its class stands there, and that of the error.

    The driver may ask the object for something else, or not at all. What comes of that is recorded, and is found
    again by this.
    """
    try:
        return form(value, *more)
    except Exception as error:
        if not is_from_outside(error):
            raise
        return {DRIVER_TYPE: type(value).__qualname__, DRIVER_VALUE: {"raised": type(error).__qualname__}}
