"""Plain aligned text: tables that fit a width.

A cassette is untrusted input, so everything from one goes through `printable` before it is shown.
"""

from __future__ import annotations

import shutil
import unicodedata
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

from timetracer_otel.base.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "Column",
    "cells",
    "clip",
    "display_width",
    "fitted",
    "format_size",
    "least_width",
    "pad",
    "printable",
    "table",
    "terminal_width",
]

UNLIMITED = 1_000_000
_NARROWEST = 12
"""No column is clipped below this many cells, whatever the width of the terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    heading: str
    right: bool = False
    """Aligned to the right, as numbers are."""
    elastic: bool = False
    """Whether this column is clipped if the table is too wide. Other columns keep the width of their widest cell."""
    keep: Literal["start", "ends", "end"] = "start"
    """Which part of a clipped cell stays. A path is known by its end, a URL by both ends."""
    tone: Literal["", "status", "name", "aside", "trouble"] = ""
    """What the cells are: a status, a name to type, something by the way, or trouble. A terminal colours them so."""


def terminal_width() -> int:
    """How many cells a line of the terminal has; practically no limit if the output is a file or a pipe."""
    return max(60, shutil.get_terminal_size((UNLIMITED, 24)).columns)


def display_width(text: str) -> int:
    """How many cells of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(text: str, width: int, keep: Literal["start", "ends", "end"] = "start") -> str:
    """The text, clipped to ``width`` cells. One ``…`` stands for what was left out."""
    if display_width(text) <= width:
        return text
    room = width - 1
    at_start = {"start": room, "ends": room // 2, "end": 0}[keep]
    head = _take(text, at_start)
    tail = _take(text[::-1], room - at_start)[::-1]
    return f"{head}…{tail}"


def _take(text: str, width: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += _cells(char)
        if used > width:
            return text[:index]
    return text


def pad(text: str, width: int, right: bool = False) -> str:
    """The text filled with spaces to ``width`` cells."""
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def format_size(size_bytes: int | None) -> str:
    """A number of bytes for people: ``812 B``, ``1.5 KiB``, ``2.0 MiB``; ``-`` for None."""
    if size_bytes is None:
        return "-"
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = size_bytes / 1024
    for unit in ("KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], elastic: int, gap: int = 2) -> int:
    """How many cells a line of a table takes where each elastic column that is wider has ``elastic`` ones.

    Args:
        columns: The columns.
        rows: The cells of each row, already `printable`.
        elastic: What an elastic column may be clipped to.
        gap: How many spaces stand between two columns.
    """
    widths = _widths(columns, rows)
    return gap * (len(columns) - 1) + sum(
        min(width, elastic) if column.elastic else width for column, width in zip(columns, widths, strict=True)
    )


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, elastic: int, left_out_first: Sequence[str]
) -> tuple[list[Column], list[list[str]]]:
    """The columns that a width has room for, and their cells.

    Args:
        columns: The columns.
        rows: The cells of each row, already `printable`.
        width: How many cells a line may have.
        elastic: How many cells of an elastic column are wanted before another column is left out.
        left_out_first: The headings of the columns that may be left out, in this order.
    """
    shown = list(range(len(columns)))
    waiting = [heading for heading in left_out_first if any(column.heading == heading for column in columns)]
    while True:
        now = [columns[at] for at in shown], [[row[at] for at in shown] for row in rows]
        if not waiting or least_width(*now, elastic) <= width:
            return now
        heading = waiting.pop(0)
        shown = [at for at in shown if columns[at].heading != heading]


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, gap: int = 2) -> list[str]:
    """Lines of a table, headings first, without trailing spaces. The arguments are those of `cells`."""
    return [(" " * gap).join(row).rstrip() for row in cells(columns, rows, width, gap)]


def cells(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, gap: int = 2) -> list[list[str]]:
    """The cells of a table, headings first, clipped and padded to the width of their column.

    Args:
        columns: The columns. Elastic ones are clipped if the table is wider than ``width``.
        rows: The cells of each row, already `printable`.
        width: How many cells a line may have. Lines are longer only if the columns that are not elastic need it.
        gap: How many spaces stand between two columns.
    """
    by_column = _by_column(columns, rows)
    widths = [max(map(_measure(texts), texts)) for texts in by_column]
    _squeeze(columns, widths, width - gap * (len(columns) - 1))
    laid_out = [
        _laid_out(texts, cells_wide, column)
        for texts, cells_wide, column in zip(by_column, widths, columns, strict=True)
    ]
    return [list(row) for row in zip(*laid_out, strict=True)]


def _laid_out(texts: Sequence[str], width: int, column: Column) -> list[str]:
    measure = _measure(texts)
    clipped = [text if measure(text) <= width else clip(text, width, column.keep) for text in texts]
    if measure is not len or _measure(clipped) is not len:
        return [pad(text, width, column.right) for text in clipped]
    return [text.rjust(width) if column.right else text.ljust(width) for text in clipped]


def _measure(texts: Iterable[str]) -> Callable[[str], int]:
    """What tells the width of each of these texts. Those of a list of 10,000 are nearly all ASCII."""
    return len if all(map(str.isascii, texts)) else display_width


def _by_column(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The heading and the cells of each column."""
    return [[column.heading, *map(itemgetter(index), rows)] for index, column in enumerate(columns)]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_measure(texts), texts)) for texts in _by_column(columns, rows)]


def _squeeze(columns: Sequence[Column], widths: list[int], room: int) -> None:
    while sum(widths) > room:
        elastic = [index for index, column in enumerate(columns) if column.elastic and widths[index] > _NARROWEST]
        if not elastic:
            return
        widest = max(elastic, key=widths.__getitem__)
        widths[widest] = max(_NARROWEST, widths[widest] - max(1, (sum(widths) - room) // 2))
