"""What a server answered, in the form that it has in a cassette: made of its messages, and messages made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from timetracer_otel.libraries.asyncpg import wire
from timetracer_otel.libraries.asyncpg.cells import KnownTypes

__all__ = ["Answer", "Described", "answer_of", "described_in", "prepared", "rows_of"]


class Answer:
    """The messages of one answer, or of several that belong together.

    Args:
        chunks: As they came.
        keeps_rows: Whether rows are wanted.
    """

    def __init__(self, chunks: Sequence[bytes], keeps_rows: bool) -> None:
        self.rows: list[list[bytes | None]] = []
        self.beside: list[Any] = []
        self.status: str | None = None
        self.state: str | None = None
        self.ended = False
        data = b"".join(chunks)
        for kind, begin, end in wire.messages(data):
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
            rows: list[list[Any]] = []
            if found.rows:
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
