"""Which lines of code pytest shows of a test that fails: those of the test and the app, not ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from timetracer_otel.exceptions import TimetracerError

__all__ = ["chain_of", "shorten"]

_OWN = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = (f"site-packages{os.sep}", f"dist-packages{os.sep}", f"{Path(os.__file__).parent}{os.sep}")


def shorten(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Take our own lines out of the traceback of an exception.

    An error of ours is about the line that made the call: behind that one, the lines of the library that it went
    through are taken out as well.
    """
    # pytest makes its entries from these, more than once.
    for error in chain_of(excinfo.value):
        _shorten(error)
    excinfo.traceback = type(excinfo.traceback)(excinfo.tb)


def _shorten(error: BaseException) -> None:
    entries = list(_entries(error.__traceback__))
    last = len(entries)
    if isinstance(error, TimetracerError):
        while last and _is_library(entries[last - 1]):
            last -= 1
    kept = [entry for entry in entries[:last] if not _is_own(entry)]
    # The first entry is pytest's own, or that of the code that caught the error: `excinfo` has it as well.
    if not kept or kept[0] is not entries[0] or len(kept) == len(entries):
        return
    for entry, following in zip(kept, [*kept[1:], None], strict=True):
        entry.tb_next = following


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that pytest shows with it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # Python 3.10 has no class of groups of its own.
        for each in getattr(error, "exceptions", ()):
            if isinstance(each, BaseException):
                yield from chain_of(each)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _file(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename


def _is_own(entry: TracebackType) -> bool:
    return _file(entry).startswith(_OWN)


def _is_library(entry: TracebackType) -> bool:
    return _file(entry).startswith((_OWN, "<")) or any(folder in _file(entry) for folder in _LIBRARIES)
