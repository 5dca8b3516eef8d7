"""The stream of one file, the places of its objects, and the error of a file that is damaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from timetracer_otel.cassette.codec import DECODE_ERRORS, MAX_LEVELS, decode, describe
from timetracer_otel.cassette.costs import Account, allowance, most_levels
from timetracer_otel.cassette.scan import check_levels
from timetracer_otel.exceptions import CassetteError

__all__ = ["RECORD_AGAIN", "Layout", "Source", "refuse"]

RECORD_AGAIN: Final = "Record it again."


class Source:
    """The expanded stream of one file, or a part of it, whose objects are built within what the file allows.

    Args:
        name: The path, for the texts of errors.
        data: The stream.
        file_bytes: The size of the file.
    """

    __slots__ = ("_account", "_is_covered", "_levels", "data", "name")

    def __init__(self, name: str, data: bytes, file_bytes: int) -> None:
        self.name = name
        self.data = data
        self._account = Account(allowance(file_bytes))
        self._is_covered: bool | None = None
        """Whether the costs of everything in the stream were added; None where nobody has asked for an object yet."""
        self._levels = 0

    def object_at(self, start: int, end: int, offset: int | None = None) -> Any:
        """The object between two offsets between which `lay_out` found one.

        Args:
            start: Where it begins.
            end: Where it ends.
            offset: What an error gives as the offset, where ``data`` is not the whole stream.
        """
        try:
            self.charge(start, end)
            return self.decoded(start, end)
        except DECODE_ERRORS as fault:
            refuse(self.name, start if offset is None else offset, describe(fault))

    def charge(self, start: int, end: int) -> None:
        """Add what the object between two offsets costs; raises `DECODE_ERRORS` where that is too much."""
        if self._is_covered is None:
            self._is_covered = self._account.covers(self.data)
        if self._is_covered:
            self._levels = most_levels(self.data[start:end])
            return
        self._account.charge(self.data, start, end)
        self._levels = self._account.levels

    def decoded(self, start: int, end: int, *, may_be_deep: bool = False) -> Any:
        """What stands between two offsets, or a part of it, whose costs were added; raises `DECODE_ERRORS`.

        ``may_be_deep`` is for another object than the one whose costs were added last.
        """
        found = decode(memoryview(self.data)[start:end])
        if may_be_deep or self._levels > MAX_LEVELS:
            check_levels(found, MAX_LEVELS)
        return found


@dataclass(slots=True)
class Layout:
    """The places of the objects in a stream (start and end offset of each), and its footer."""

    header: tuple[int, int]
    events: list[tuple[int, int]]
    footer: dict[str, Any] | None = None
    """None where the recorder died before it wrote one."""
    footer_at: int = 0


def refuse(path: str, offset: int, reason: str) -> NoReturn:
    """Raise the error of a damaged file."""
    raise CassetteError(
        f"Cassette {path} is damaged at offset {offset}: {reason}. {RECORD_AGAIN}", path=path, offset=offset
    )
