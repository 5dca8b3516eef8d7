"""Text made safe for terminals: the one place that does it.

What a cassette holds may come from a stranger, and so may a file's name. An escape sequence in it would move the
cursor or clear the screen, a control character of C1 does the same on some terminals, and marks of direction make a
text look like another one.
"""

from __future__ import annotations

__all__ = ["for_terminal", "lines_of", "printable"]


def printable(text: str) -> str:
    """Text with control characters, direction marks and lone surrogates escaped, on one line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def lines_of(text: str) -> str:
    """`printable` for a text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def for_terminal(text: str) -> str:
    """A document of several lines with the same characters escaped as JSON does it, so that JSON stays JSON."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _json_escape(char: str) -> str:
    pair = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))
