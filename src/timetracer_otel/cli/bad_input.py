"""Bad input: what a command says before it exits with code 2."""

from __future__ import annotations

__all__ = ["CommandError", "one_line"]


class CommandError(Exception):
    """Bad input; the text names the argument or file and the cure, in one line."""


def one_line(text: str) -> str:
    """The text without line breaks and other control characters, so that one fault is one line."""
    return "".join(char if char.isprintable() else " " for char in text.strip())
