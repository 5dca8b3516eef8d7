"""`CommandError`, for input that a command refuses: one line on standard error, and exit code 2."""

from __future__ import annotations

from timetracer_otel.base.printable import printable

__all__ = ["CommandError", "one_line"]


class CommandError(Exception):
    """The user's input cannot be used. The text names the argument or file and the cure, in one line."""


def one_line(text: str) -> str:
    """The text with a space for each line break, and control characters escaped, so that one error is one line."""
    return printable(" ".join(text.split()))
