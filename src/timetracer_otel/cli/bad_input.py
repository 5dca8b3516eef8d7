"""`CommandError`, for input that a command refuses: one line on standard error, and exit code 2.

Below it are the words for what other parts find wrong. They name commands, options and files, and nothing of Python.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette
    from timetracer_otel.exceptions import CassetteError, CassetteNotFoundError

__all__ = ["CommandError", "ambiguous", "not_found", "not_written", "number", "of_system", "one_line", "whole_number"]

_MOST_NAMED = 8
"""How many cassettes an error names that an id may mean."""


class CommandError(Exception):
    """The user's input cannot be used. The text names the argument or file and the cure, in one line."""


def one_line(text: str) -> str:
    """The text with a space for each line break, and control characters escaped, so that one error is one line."""
    return printable(" ".join(text.split()))


def not_found(fault: CassetteNotFoundError) -> str:
    """What to say of a file or folder that is not there: the nearest name, or how to see what is there."""
    from difflib import get_close_matches

    path = Path(fault.path or "")
    try:
        # By what stands before the suffix, which most names share.
        there = {each.name.partition(".")[0]: each for each in sorted(path.parent.iterdir())}
    except OSError:
        there = {}
    near = get_close_matches(path.name.partition(".")[0], there, 1, cutoff=0.7)
    cure = f"Did you mean {there[near[0]]}?" if near else "To see what there is: timetracer-otel list"
    return f"{path}: there is no such file or folder. {cure}"


def not_written(flag: str, path: str, fault: CassetteError) -> str:
    """What to say where what an option names cannot be written."""
    cause = fault.__cause__
    if not isinstance(cause, OSError):
        return f"{flag}: {fault}"
    return f"{flag}: cannot write {path}: {cause.strerror or cause}. Name another one."


def of_system(fault: OSError) -> str:
    """What to say where the system refuses."""
    reason = fault.strerror or str(fault)
    if fault.filename is None:
        return f"{reason}."
    return f"{os.fsdecode(fault.filename)}: {reason}. Name another file, or change its permissions."


def whole_number(text: str) -> int:
    """A whole number, for ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: a whole number") from None


def number(text: str) -> float:
    """A number, for ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: a number") from None


def ambiguous(text: str, found: Sequence[StoredCassette]) -> str:
    """What to say where several cassettes have an id that begins as a text does."""
    named = [
        f"{row.session_id[:8]} ({' '.join(part for part in (row.method, row.request_path) if part) or row.service})"
        for row in found[:_MOST_NAMED]
    ]
    more = f" and {len(found) - len(named)} more" if len(found) > len(named) else ""
    return f"{text}: {len(found)} cassettes have an id that begins so: {', '.join(named)}{more}. Name one of these."
