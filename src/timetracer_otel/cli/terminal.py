"""How commands print: plain text, or with colour where a terminal and ``rich`` are there. Only here is it decided.

What is printed is the same text in both cases, so that no program that reads it, and no test, sees another one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from timetracer_otel.base.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from timetracer_otel.report import Column

__all__ = ["CALLS", "DIFFERENCE", "HEAD", "JUDGEMENT", "Colours", "print_lines", "print_table"]

Colours: TypeAlias = Sequence[tuple[str, str]]
"""Regular expressions, each with the style of what it finds in a line, in the words of ``rich``."""

HEAD: Final[Colours] = ((r"^[a-z][a-z ]{8} ", "bold"), (r"^(error|lost) .*(?<!nothing)$", "red"))
"""The head of a cassette: a name and a value in each line."""
CALLS: Final[Colours] = (
    (r"^ ?#\d*", "cyan"),
    (r"[█▏]+", "blue"),
    (r"(not replayable|observed only)", "yellow"),
    (r"^#\d+ [\w.]+:[\w.]+: .*", "red"),
)
"""A tree of calls with its remarks, and calls that are shown whole."""
_OF_BODIES: Final[Colours] = ((r"^\s+-(?!--).*", "red"), (r"^\s+\+(?!\+\+).*", "green"))
"""The lines of a body that only one side has."""
DIFFERENCE: Final[Colours] = (
    (r"^(---|\+\+\+) .*", "bold"),
    (r"^(added|gone|changed|moved|slower|faster|repeated|answer|numbers of calls)$", "bold yellow"),
    (r"^no difference.*", "green"),
    (r"#\d+", "cyan"),
    *_OF_BODIES,
)
"""What two recordings differ in."""
JUDGEMENT: Final[Colours] = (
    (r"^(passed|equal)\b", "green"),
    (r"^(failed|differs)\b", "red"),
    (r"^left out\b", "yellow"),
    (r"^(recorded|now|calls|note) ", "bold"),
    (r"^== .*", "bold"),
    (r"\b\d+ passed\b", "green"),
    (r"\b[1-9]\d* failed\b", "red"),
    *_OF_BODIES,
)
"""How a service answered in a replay."""

_STATUSES: Final = {"1": "", "2": "green", "3": "cyan", "4": "yellow", "5": "red", "e": "red"}
"""The style of a status by its first character. ``error`` begins with an ``e``."""
_TONES: Final = {"": "", "name": "cyan", "aside": "dim", "trouble": "yellow"}
_GAP: Final = "  "


def print_lines(lines: Iterable[str], colours: Colours = ()) -> None:
    """Print lines, whose control characters are escaped.

    Args:
        lines: The lines.
        colours: What stands out on a terminal.
    """
    console = _console()
    if console is None:
        for line in lines:
            print(printable(line))
        return
    from rich.text import Text

    for line in lines:
        text = Text(printable(line), end="")
        for pattern, style in colours:
            text.highlight_regex(pattern, style)
        console.print(text, soft_wrap=True)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, indent: str = "") -> None:
    """Print a table.

    Args:
        columns: The columns. On a terminal the tone of each colours its cells.
        rows: The cells of each row, already `printable`.
        width: How many cells a line may have, as for `table`.
        indent: Stands before each line.
    """
    from timetracer_otel.report import cells, table

    console = _console()
    if console is None:
        for line in table(columns, rows, width):
            print(f"{indent}{line}")
        return
    # A table of rich lays each row out anew: of 10,000 rows, that takes seconds. These are laid out already.
    headings, *laid_out = cells(columns, rows, width)
    print(indent + _GAP.join(_coloured(heading, "bold") for heading in headings))
    tones = [column.tone for column in columns]
    for row in laid_out:
        shown = [_coloured(cell, _style(tone, cell)) for tone, cell in zip(tones, row, strict=True)]
        print(indent + _GAP.join(shown))


def _coloured(text: str, style: str) -> str:
    before, after = _codes(style) if style else ("", "")
    return f"{before}{text}{after}"


@lru_cache
def _codes(style: str) -> tuple[str, str]:
    """What a terminal is sent before a text of a style, and behind it."""
    console = _console()
    assert console is not None
    from rich.text import Text

    with console.capture() as captured:
        console.print(Text("x", style), end="")
    before, _, after = captured.get().partition("x")
    return before, after


def _style(tone: str, cell: str) -> str:
    return _STATUSES.get(cell.strip()[:1], "") if tone == "status" else _TONES[tone]


@lru_cache(maxsize=1)
def _console() -> Console | None:
    """What prints with colour; None where the plain text is wanted.

    That is so where standard output is no terminal, the extra ``cli`` is not installed, ``NO_COLOR`` is set
    (https://no-color.org), or the terminal knows no colours (``TERM=dumb``) or no escape sequences (old Windows).
    """
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    from timetracer_otel.report.tables import UNLIMITED

    # Nothing is wrapped or clipped here: that is done before.
    console = Console(width=UNLIMITED, highlight=False, markup=False, emoji=False)
    knows_none = console.no_color or console.is_dumb_terminal or console.legacy_windows
    return None if knows_none or console.color_system is None else console
