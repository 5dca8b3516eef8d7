"""A bar on standard error for what takes long, where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

__all__ = ["progress"]

_PATIENCE_S: Final = 0.3
"""What ends before that shows no bar."""
_BETWEEN_S: Final = 0.1
_CELLS: Final = 30
_TAKE_OFF: Final = "\r\x1b[K"
"""To the beginning of the line, and erase it (ECMA-48)."""


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], object] | None, None, None]:
    """A function that is told how many are done, and of how many; None where nobody would see it.

    Args:
        what: What is done, in a few words.
    """
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(what)
    try:
        yield bar.tell
    finally:
        bar.take_off()


class _Bar:
    def __init__(self, what: str) -> None:
        self._what = what
        self._due_s = time.monotonic() + _PATIENCE_S
        self._is_shown = False

    def tell(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + _BETWEEN_S
        self._is_shown = True
        full = _CELLS * done // max(1, total)
        bar = "#" * full + "." * (_CELLS - full)
        sys.stderr.write(f"\r{self._what} [{bar}] {done:,} of {total:,}")
        sys.stderr.flush()

    def take_off(self) -> None:
        if self._is_shown:
            sys.stderr.write(_TAKE_OFF)
            sys.stderr.flush()
