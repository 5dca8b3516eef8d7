"""What a server answered, in the form that it has in a cassette: made of its messages, and messages made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from struct import pack
from typing import Any, Final, NamedTuple

from timetracer_otel.cassette.sent_rows import CELL_BYTES, KNOWN_TYPES, ROW_BYTES, WIDTHS
from timetracer_otel.libraries.asyncpg import internals, wire
from timetracer_otel.libraries.asyncpg.cells import KnownTypes
from timetracer_otel.redact.texts import texts_of_numbers
from timetracer_otel.types import SentRows

__all__ = ["Answer", "Described", "LookedAt", "answer_of", "described_in", "prepared", "rows_of"]


class Answer:
    """The messages of one answer, or of several that belong together.

    Args:
        chunks: As they came.
        keeps_rows: Whether rows are wanted.
        types: The types of the columns, where the rows are kept as they were sent.
        looked_at: What may hold a secret in these rows.
    """

    def __init__(
        self,
        chunks: Sequence[bytes],
        keeps_rows: bool,
        types: Sequence[int] = (),
        looked_at: LookedAt | None = None,
    ) -> None:
        self.rows: list[list[bytes | None]] = []
        self.sent: SentRows | None = None
        """The rows as they were sent, where none was taken apart."""
        self.beside: list[Any] = []
        self.status: str | None = None
        self.state: str | None = None
        self.ended = False
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        at = 0
        if looked_at is not None:
            self.sent = sent = _sent_rows(data, types, looked_at)
            at = len(_BOUND) + len(sent.data) if sent is not None else 0
        for kind, begin, end in wire.messages(data, at):
            if kind == b"D":
                if keeps_rows:
                    self.rows.append(wire.cells_of(data, begin))
            elif kind == b"C":
                self.status, self.ended = data[begin : end - 1].decode("utf-8", "surrogateescape"), True
            elif kind == b"I":
                self.ended = True
            elif kind == b"Z":
                self.state = data[begin:end].decode("ascii", "replace")
            elif (beside := wire.beside_of(data, kind, begin, end)) is not None:
                self.beside.append(beside)


class LookedAt(NamedTuple):
    """What may hold a secret in rows that are kept as they were sent: see `SentRows`.

    Neither records nor their values are kept. Python's collector of garbage would go through thousands of them, and
    they lie far apart in memory.
    """

    texts: list[str]
    raw: list[bytes]
    number: int = 0
    """How many rows there are."""
    size: int = 0
    """How many bytes they have, if no value is NULL but among the texts, bytes and large numbers."""

    @classmethod
    def of(cls, types: Sequence[int], rows: Sequence[Any]) -> LookedAt | None:
        """Of rows as asyncpg has made them, without codecs of the app's; None where they cannot be kept so.

        Args:
            types: Of the columns.
            rows: One at least.
        """
        if not KNOWN_TYPES.issuperset(types) or not internals.is_plain_record(rows[0]):
            return None
        made = cls([], [])
        size = len(rows) * (ROW_BYTES + CELL_BYTES * len(types))
        for at, oid in enumerate(types):
            if oid in WIDTHS and oid not in _LARGE:
                size += len(rows) * WIDTHS[oid]
                continue
            column = list(map(itemgetter(at), rows))
            try:
                size += made._take(oid, column)
            except TypeError:
                # A value is NULL.
                size += made._take(oid, [value for value in column if value is not None])
        return made._replace(number=len(rows), size=size)

    def _take(self, oid: int, column: list[Any]) -> int:
        """Take the values of a column, none of which is NULL, and tell how many bytes they have."""
        if not column:
            return 0
        if oid in WIDTHS:
            large = texts_of_numbers(column)
            if large:
                self.texts.append(SentRows.APART.join(large))
            return len(column) * WIDTHS[oid]
        if oid == _BYTEA:
            size = sum(map(len, column))
            self.raw.extend(column)
            return size
        text = SentRows.APART.join(column)
        self.texts.append(text)
        return (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))) - len(column) + 1


_BYTEA: Final = 17
_LARGE: Final = frozenset({20, 23, 26})
"""int8, int4, oid: the types of numbers that may be a secret."""
_BOUND: Final = wire.message(b"2")
"""What a server says before the rows of a statement to which values were bound."""
_TIMESTAMPTZ: Final = 1184
_FOR_EVER: Final = (pack("!q", 252_455_615_999_999_999), pack("!q", -63_082_281_600_000_000))
"""The last and the first time of Python with a zone. asyncpg would send their values as infinite ones."""


def _sent_rows(data: bytes, types: Sequence[int], looked_at: LookedAt) -> SentRows | None:
    """The rows that an answer begins with, as they were sent; None where they must be taken apart."""
    if not data.startswith(_BOUND) or (_TIMESTAMPTZ in types and any(time in data for time in _FOR_EVER)):
        return None
    for text in looked_at.texts:
        if not text.isascii():
            beyond = next(one for one in text.split(SentRows.APART) if not one.isascii())
            if beyond.encode("utf-8", "surrogatepass") not in data:
                # The app has set another encoding.
                return None
    begin = len(_BOUND)
    end = begin + looked_at.size
    if not wire.is_end(data, end):
        # A value is NULL, or there is another message between the rows. To go through them takes as long as all else.
        number, end = wire.end_of_rows(data, begin)
        if number != looked_at.number or not wire.is_end(data, end):
            return None
    return SentRows(types, looked_at.number, data[begin:end], looked_at.texts, looked_at.raw)


def answer_of(
    found: Answer,
    described: tuple[list[list[Any]], list[int]] | None,
    types: KnownTypes,
    in_text: Collection[int],
    keeps_rows: bool,
    changed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """An answer as plain data.

    Args:
        found: Its messages.
        described: The columns of the statement by name and type, and the types of its parameters.
        types: What is known of these.
        in_text: Types that the app's own codecs get as text.
        keeps_rows: Whether the app gets rows.
        changed: The types of the columns, where they have changed since they were learned first.
    """
    made: dict[str, Any] = {"status": found.status, "state": found.state}
    if found.beside:
        made["beside"] = found.beside
    if described is not None:
        columns, parameters = described
        kept = [oid for _, oid in columns]
        if keeps_rows:
            if not found.ended:
                made["suspended"] = True
            rows: Any = []
            if found.sent is not None:
                rows = found.sent
            elif found.rows:
                kept, rows = types.as_values(kept, found.rows, in_text, changed)
            made["rows"] = rows
        made["description"] = [
            [name, oid] if oid == as_oid else [name, oid, as_oid]
            for (name, oid), as_oid in zip(columns, kept, strict=True)
        ]
        made["parameter_types"] = parameters
        if changed:
            made["types"] = list(changed)
    return made


class Described(NamedTuple):
    """What a replay knows of a statement before it runs."""

    columns: list[list[Any]]
    """By name and type."""
    parameters: list[int]
    """Their types."""
    types: list[dict[str, Any]]
    """The types, where they have changed since they were learned first."""


def described_in(reply: Any) -> Described | None:
    """What an answer tells of its statement; None where it does not tell."""
    if not isinstance(reply, dict) or "description" not in reply:
        return None
    return Described(reply["description"], reply["parameter_types"], reply.get("types", []))


def prepared(described: Described) -> bytes:
    """The answer to a statement that is to be prepared."""
    told = wire.rows_described(described.columns) if described.columns else wire.message(b"n")
    return wire.message(b"1") + wire.parameters(described.parameters) + told


def rows_of(reply: dict[str, Any], types: KnownTypes) -> list[bytes]:
    """The rows of an answer as a server sends them."""
    rows = reply.get("rows")
    if not rows:
        return []
    return list(
        map(wire.row, types.as_cells([column[-1] for column in reply["description"]], rows, reply.get("types", ())))
    )
