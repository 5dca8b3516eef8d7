"""Rows as PostgreSQL sends them, which stand in the file as they are (`SentRows`), and columns of such rows, decoded.

To make values of thousands of cells, and to pack each of these, takes twenty times as long as the query itself. So a
plugin that has a server's bytes keeps them, and whoever reads the cassette makes the values.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from struct import Struct, calcsize, pack, unpack
from typing import Any, Final

from timetracer_otel.types import EventResult, SentRows

__all__ = [
    "CELL_BYTES",
    "KNOWN_TYPES",
    "ROW_BYTES",
    "WIDTHS",
    "decode_sent",
    "decoded",
    "encode_sent",
    "rows_of",
    "with_listed_rows",
]

_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)
"""PostgreSQL counts days and microseconds from here."""
_EPOCH_DAY: Final = _EPOCH.toordinal()
_NAIVE_EPOCH: Final = _EPOCH.replace(tzinfo=None)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_TRUTHS: Final = {b"\0": False, b"\1": True}
_HEAD: Final = Struct("!IH")
_ROW: Final = Struct("!cIH")
_LENGTH: Final = Struct("!i")
ROW_BYTES: Final = _ROW.size
"""Those of a row without its cells: the message's letter and length, and the number of cells."""
CELL_BYTES: Final = _LENGTH.size
"""Those of a cell before its value."""


def encode_sent(value: SentRows, _: Any) -> bytes:
    """The payload of rows in a file: how many rows and columns, the columns' types, and the rows as they are."""
    types = value.types
    return _HEAD.pack(value.number, len(types)) + pack(f"!{len(types)}I", *types) + value.data


def decode_sent(payload: bytes, _: Any) -> list[list[Any]]:
    """The rows of a payload.

    Raises:
        ValueError, struct.error: The bytes are no such rows.
    """
    number, width = _HEAD.unpack_from(payload)
    types = unpack(f"!{width}I", payload[_HEAD.size : _HEAD.size + 4 * width])
    return rows_of(SentRows(types, number, payload[_HEAD.size + 4 * width :]))


def with_listed_rows(result: EventResult) -> None:
    """Let the values of rows stand in a result, in place of the rows as they were sent."""
    reply = result.reply
    if type(reply) is dict and type(reply.get("rows")) is SentRows:
        result.reply = {**reply, "rows": rows_of(reply["rows"])}


def rows_of(sent: SentRows) -> list[list[Any]]:
    """The values of rows.

    Raises:
        ValueError, struct.error: The bytes are no such rows.
    """
    width = len(sent.types)
    cells = _cells(sent.data, sent.number, width)
    if not width:
        return [[] for _ in range(sent.number)]
    columns = [_values(oid, cells[at::width]) for at, oid in enumerate(sent.types)]
    return list(map(list, zip(*columns, strict=True)))


def _cells(data: bytes, number: int, width: int) -> list[bytes | None]:
    made: list[bytes | None] = []
    at, length_of = 0, _LENGTH.unpack_from
    for _ in range(number):
        kind, length, count = _ROW.unpack_from(data, at)
        end = at + 1 + length
        at += ROW_BYTES
        if kind != b"D" or count != width:
            raise ValueError("not the rows of these columns")
        for _ in range(width):
            (size,) = length_of(data, at)
            at += 4
            if size == _NULL:
                made.append(None)
            else:
                made.append(data[at : at + size])
                at += size
                if size < 0 or at > end:
                    raise ValueError("a cell is longer than its row")
        if at != end:
            raise ValueError("a row is longer than its cells")
    if at != len(data):
        raise ValueError("something stands behind the rows")
    return made


_NULL: Final = -1


def _values(oid: int, cells: Sequence[bytes | None]) -> Sequence[Any]:
    """The values of a column as asyncpg makes them."""
    found = decoded(oid, cells)
    if found is not None:
        return found
    decode = _ONE_BY_ONE.get(oid)
    if decode is None:
        raise ValueError(f"a cell is no value of the type {oid}")
    return [None if cell is None else decode(cell) for cell in cells]


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


def _one_date(cell: bytes) -> dt.date:
    (days,) = unpack("!i", cell)
    if days in _INFINITE_DAYS:
        return dt.date.max if days > 0 else dt.date.min
    return dt.date.fromordinal(_EPOCH_DAY + days)


def _one_timestamp(epoch: dt.datetime) -> Callable[[bytes], dt.datetime]:
    def decode(cell: bytes) -> dt.datetime:
        (microseconds,) = unpack("!q", cell)
        if microseconds in _INFINITE_MICROSECONDS:
            # asyncpg's have no zone in either case.
            return dt.datetime.max if microseconds > 0 else dt.datetime.min  # noqa: DTZ901
        return epoch + dt.timedelta(microseconds=microseconds)

    return decode


_INFINITE_DAYS: Final = frozenset({2**31 - 1, -(2**31)})
_INFINITE_MICROSECONDS: Final = frozenset({2**63 - 1, -(2**63)})


def _bools(column: Sequence[bytes]) -> Iterable[Any]:
    return [_TRUTHS[cell] for cell in column]


def _texts(column: Sequence[bytes]) -> Iterable[Any]:
    return [cell.decode() for cell in column]


def _uuids(column: Sequence[bytes]) -> Iterable[Any]:
    return [uuid.UUID(bytes=cell) for cell in column]


_BOOL, _BYTEA, _FLOAT4, _FLOAT8, _DATE, _TIMESTAMP, _TIMESTAMPTZ, _UUID = 16, 17, 700, 701, 1082, 1114, 1184, 2950
_TEXTS: Final = (19, 25, 114, 1042, 1043)
"""name, text, json, char(n), varchar"""
_DECODERS: Final[Mapping[int, Callable[[Sequence[bytes]], Iterable[Any]]]] = {
    _BOOL: _bools,
    _BYTEA: lambda column: column,
    **dict.fromkeys(_TEXTS, _texts),
    20: _integers("q"),
    21: _integers("h"),
    23: _integers("i"),
    26: _integers("I"),  # oid
    _FLOAT4: _floats("f"),
    _FLOAT8: _floats("d"),
    _DATE: _dates,
    _TIMESTAMP: _timestamps(_NAIVE_EPOCH),
    _TIMESTAMPTZ: _timestamps(_EPOCH),
    _UUID: _uuids,
}
"""By number of the type, which is the same in each database."""
_ONE_BY_ONE: Final[Mapping[int, Callable[[bytes], Any]]] = {
    _BOOL: lambda cell: cell == b"\1",
    _FLOAT4: lambda cell: unpack("!f", cell)[0],
    _FLOAT8: lambda cell: unpack("!d", cell)[0],
    _DATE: _one_date,
    _TIMESTAMP: _one_timestamp(_NAIVE_EPOCH),
    _TIMESTAMPTZ: _one_timestamp(_EPOCH),
}
"""How asyncpg decodes what other bytes would be sent for, such as a NaN, and what is infinite."""
KNOWN_TYPES: Final = frozenset(_DECODERS)
WIDTHS: Final[Mapping[int, int]] = {
    _BOOL: 1,
    21: 2,
    **dict.fromkeys((23, 26, _FLOAT4, _DATE), 4),
    **dict.fromkeys((20, _FLOAT8, _TIMESTAMP, _TIMESTAMPTZ), 8),
    _UUID: 16,
}
"""How many bytes a value has, of the types whose values have all the same."""
