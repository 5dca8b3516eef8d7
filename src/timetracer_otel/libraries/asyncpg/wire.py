"""The messages of PostgreSQL's protocol (version 3.0): taken apart as a server sent them, and made for a replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct, pack
from typing import Any, Final

__all__ = [
    "Cells",
    "beside_of",
    "bound_values",
    "cells_of",
    "command_complete",
    "end_of_rows",
    "error",
    "is_end",
    "message",
    "messages",
    "parameters",
    "ready",
    "row",
    "rows_described",
    "sent_beside",
    "started",
    "texts",
]

Cells = Sequence["bytes | None"]
"""The values of one row or of the parameters of a statement, as they are sent; None for NULL."""

_HEAD: Final = Struct("!cI")
_LENGTH: Final = Struct("!i")
_ROW: Final = ord("D")
_BEHIND_ROWS: Final = (b"C", b"s")
"""The messages that say whether these were all rows."""
_NULL: Final = b"\xff\xff\xff\xff"


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message."""
    return _HEAD.pack(kind, len(body) + 4) + body


def messages(data: bytes, at: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the body of each message that is whole, of those that begin there."""
    size = len(data)
    head = _HEAD.unpack_from
    while size - at >= _HEAD.size:
        kind, length = head(data, at)
        end = at + 1 + length
        if end > size:
            return
        yield kind, at + _HEAD.size, end
        at = end


def end_of_rows(data: bytes, at: int) -> tuple[int, int]:
    """How many rows stand there, and where they end."""
    number, size, length_of = 0, len(data), _LENGTH.unpack_from
    while at + _HEAD.size <= size and data[at] == _ROW:
        (length,) = length_of(data, at + 1)
        at += 1 + length
        number += 1
    return number, at


def is_end(data: bytes, at: int) -> bool:
    """Whether the message stands there that follows the rows of an answer, and no row behind it."""
    if data[at : at + 1] not in _BEHIND_ROWS:
        return False
    behind = list(messages(data, at))
    return behind[-1][2] == len(data) and all(kind != b"D" for kind, _, _ in behind) if behind else False


def texts(body: bytes) -> list[str]:
    """The texts in a body, each of which ends with a zero byte."""
    return [part.decode("utf-8", "surrogateescape") for part in body.split(b"\0")[:-1]]


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape") + b"\0"


def cells_of(data: bytes, at: int) -> list[bytes | None]:
    """The values of a row, or of parameters, whose number stands there."""
    made: list[bytes | None] = []
    count = int.from_bytes(data[at : at + 2], "big")
    at += 2
    length_of = _LENGTH.unpack_from
    for _ in range(count):
        (length,) = length_of(data, at)
        at += 4
        if length < 0:
            made.append(None)
        else:
            made.append(data[at : at + length])
            at += length
    return made


def bound_values(body: bytes) -> list[bytes | None]:
    """The values that a message binds to the parameters of a statement."""
    at = body.index(b"\0", body.index(b"\0") + 1) + 1
    return cells_of(body, at + 2 + 2 * int.from_bytes(body[at : at + 2], "big"))


def row(cells: Cells) -> bytes:
    """A row of a result."""
    parts = [pack("!H", len(cells))]
    for cell in cells:
        parts += (_NULL,) if cell is None else (_LENGTH.pack(len(cell)), cell)
    return message(b"D", b"".join(parts))


def parameters(oids: Sequence[int]) -> bytes:
    """The types of a statement's parameters."""
    return message(b"t", pack(f"!H{len(oids)}I", len(oids), *oids))


def rows_described(columns: Sequence[Sequence[Any]]) -> bytes:
    """Names and types of the columns of a result."""
    described = [_text(column[0]) + pack("!IhIhih", 0, 0, column[1], -1, -1, 0) for column in columns]
    return message(b"T", pack("!H", len(columns)) + b"".join(described))


def command_complete(tag: str) -> bytes:
    """A command has ended."""
    return message(b"C", _text(tag))


def ready(state: str) -> bytes:
    """The server waits for the next request; I, T or E say whether a transaction is open, and whether it failed."""
    return message(b"Z", state.encode())


def error(fields: Mapping[str, str], kind: bytes = b"E") -> bytes:
    """An error, or a notice, by its fields."""
    return message(kind, b"".join(code.encode() + _text(value) for code, value in fields.items()) + b"\0")


def beside_of(data: bytes, kind: bytes, begin: int, end: int) -> list[Any] | None:
    """A message that is no answer, as plain data: a notification, a notice, or a setting; None for others."""
    if kind == b"A":
        return ["A", int.from_bytes(data[begin : begin + 4], "big"), *texts(data[begin + 4 : end])]
    if kind == b"S":
        return ["S", *texts(data[begin:end])]
    if kind == b"N":
        return ["N", {part[0]: part[1:] for part in texts(data[begin : end - 1])}]
    return None


def sent_beside(noted: Iterable[Sequence[Any]]) -> bytes:
    """Such messages again."""
    made = []
    for kind, *values in noted:
        if kind == "A":
            made.append(message(b"A", pack("!I", values[0]) + _text(values[1]) + _text(values[2])))
        elif kind == "S":
            made.append(message(b"S", _text(values[0]) + _text(values[1])))
        else:
            made.append(error(values[0], b"N"))
    return b"".join(made)


def started(settings: Mapping[str, str], pid: int, key: int) -> bytes:
    """What a server says when it has let a client in."""
    said = sent_beside(["S", name, value] for name, value in settings.items())
    return message(b"R", pack("!I", 0)) + said + message(b"K", pack("!II", pid, key)) + ready("I")
