"""A result of MySQL as a cassette holds it, and as a replay gives it to the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.libraries.kits.dbapi.answer import RecordedAnswer

__all__ = ["Field", "RecordedRows", "ResultFacts", "described", "state_of", "tables_of"]


class ResultFacts(NamedTuple):
    """A result in the words of PEP 249."""

    rowcount: Any
    description: Any
    lastrowid: Any


class Field(NamedTuple):
    """What cursors ask a column for beyond its description."""

    name: str
    table_name: str


def state_of(connection: Any, result: Any) -> list[Any]:
    """What a result tells besides its rows: the server's status, how many warnings there are, whether results follow,
    and a message.
    """
    return [connection.server_status, result.warning_count, int(result.has_next or 0), result.message]


def tables_of(result: Any) -> list[str]:
    """The table of each column, as the statement calls it."""
    return [field.table_name for field in result.fields] if result.description is not None else []


def described(answer: RecordedAnswer) -> tuple[tuple[Any, ...], ...] | None:
    """The columns as drivers have them."""
    return None if answer.description is None else tuple(map(tuple, answer.description))


class RecordedRows(ReplayObject):
    """The rows of a result that a driver reads one by one.

    Args:
        lib: The plugin.
        answer: Holds them.
    """

    def __init__(self, lib: str, answer: RecordedAnswer) -> None:
        self._lib = lib
        self._answer = answer

    @property
    def behind(self) -> tuple[int, int]:
        """How many warnings there are, and whether results follow, as is known behind the last row."""
        _, warnings, has_next, *_ = self._answer.state
        return warnings, has_next

    def next(self) -> tuple[Any, ...] | None:
        """The next one; None behind the last."""
        rows: Sequence[Any] = self._answer.take(1)
        return tuple(rows[0]) if rows else None
