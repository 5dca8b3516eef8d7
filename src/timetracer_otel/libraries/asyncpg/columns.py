"""Columns of the frequent types, decoded at once. Their bytes follow from their values, so none is encoded again.

asyncpg's codecs would give the same values, but only an encoding of these tells that their bytes come back. That
takes several times as long as the query itself.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from struct import calcsize, pack, unpack
from typing import Any, Final

__all__ = ["decoded"]

_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
"""PostgreSQL counts days and microseconds from here."""
_EPOCH_DAY: Final = _EPOCH.toordinal()
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_TRUTHS: Final = {b"\0": False, b"\1": True}


def decoded(oid: int, cells: Sequence[bytes | None]) -> list[Any] | None:
    """The values of a column; None where only asyncpg's codecs know whether its bytes come back.

    Args:
        oid: The type.
        cells: As they were sent; None for NULL.
    """
    decode = _DECODERS.get(oid)
    if decode is None:
        return None
    column = [cell for cell in cells if cell is not None]
    if not column:
        return list(cells)
    try:
        values = decode(column)
    except (ValueError, KeyError):
        return None
    if len(column) == len(cells):
        return list(values)
    left = iter(values)
    return [None if cell is None else next(left) for cell in cells]


def _numbers(code: str, column: Sequence[bytes]) -> tuple[Any, ...]:
    """Numbers of one width.

    Args:
        code: Of ``struct``.
        column: The cells.

    Raises:
        ValueError: A cell has another width.
    """
    width = calcsize(f"!{code}")
    if any(len(cell) != width for cell in column):
        raise ValueError(f"a cell has no {width} bytes")
    return unpack(f"!{len(column)}{code}", b"".join(column))


def _integers(code: str) -> Callable[[Sequence[bytes]], Iterable[Any]]:
    return lambda column: _numbers(code, column)


def _floats(code: str) -> Callable[[Sequence[bytes]], Iterable[Any]]:
    def decode(column: Sequence[bytes]) -> Iterable[Any]:
        values = _numbers(code, column)
        if pack(f"!{len(column)}{code}", *values) != b"".join(column):
            raise ValueError("a NaN of other bytes")
        return values

    return decode


def _counted(code: str, column: Sequence[bytes], least: int, most: int) -> tuple[int, ...]:
    """Days or microseconds. The first and the last ones stand for infinity in asyncpg.

    Raises:
        ValueError: A cell has another width, or a value has no form in Python.
    """
    numbers = _numbers(code, column)
    if not (least < min(numbers) and max(numbers) < most):
        raise ValueError("a value is infinite")
    return numbers


def _dates(column: Sequence[bytes]) -> Iterable[Any]:
    least, most = dt.date.min.toordinal() - _EPOCH_DAY, dt.date.max.toordinal() - _EPOCH_DAY
    return [dt.date.fromordinal(_EPOCH_DAY + days) for days in _counted("i", column, least, most)]


def _timestamps(epoch: dt.datetime) -> Callable[[Sequence[bytes]], Iterable[Any]]:
    least, most = (
        (end.replace(tzinfo=dt.timezone.utc) - _EPOCH) // _MICROSECOND
        for end in (dt.datetime.min, dt.datetime.max)  # noqa: DTZ901
    )

    def decode(column: Sequence[bytes]) -> Iterable[Any]:
        numbers = _counted("q", column, least, most)
        return map(epoch.__add__, map(dt.timedelta, repeat(0), repeat(0), numbers))

    return decode


def _bools(column: Sequence[bytes]) -> Iterable[Any]:
    return [_TRUTHS[cell] for cell in column]


def _texts(column: Sequence[bytes]) -> Iterable[Any]:
    return [cell.decode() for cell in column]


def _uuids(column: Sequence[bytes]) -> Iterable[Any]:
    return [uuid.UUID(bytes=cell) for cell in column]


_DECODERS: Final[Mapping[int, Callable[[Sequence[bytes]], Iterable[Any]]]] = {
    16: _bools,
    17: lambda column: column,  # bytea
    **dict.fromkeys((19, 25, 114, 1042, 1043), _texts),  # name, text, json, char(n), varchar
    20: _integers("q"),
    21: _integers("h"),
    23: _integers("i"),
    26: _integers("I"),  # oid
    700: _floats("f"),
    701: _floats("d"),
    1082: _dates,
    1114: _timestamps(_EPOCH.replace(tzinfo=None)),
    1184: _timestamps(_EPOCH),
    2950: _uuids,
}
"""By number of the type, which is the same in each database."""
