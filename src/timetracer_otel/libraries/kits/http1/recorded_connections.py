"""The recorded bytes of one response, as a client on `http.client` reads them from a connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from email import errors
from email.message import Message
from typing import Any

__all__ = ["RecordedConnection", "head_of", "malformed_lines"]


class RecordedConnection(io.RawIOBase):
    """The bytes of one response, as a connection.

    Args:
        pieces: The bytes. What they raise ends the connection.
        judged: Gives what the reader gets for an exception of the pieces: that, or a miss for a fault of ours.
    """

    def __init__(self, pieces: Iterator[bytes], judged: Callable[[Exception], Exception]) -> None:
        super().__init__()
        self._pieces = pieces
        self._judged = judged
        self._rest = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """The next bytes of the present piece; a new piece is asked for where that is at its end."""
        if self._error is not None:
            raise self._error
        if not self._rest:
            try:
                self._rest = memoryview(next(filter(None, self._pieces), b""))
            except Exception as error:
                self._error = self._judged(error)
                raise self._error  # noqa: B904
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def makefile(self, _: str) -> io.BufferedReader:
        """The file that http.client reads: this stands for the socket, too."""
        return io.BufferedReader(self)


def head_of(status: int, headers: Any, reply: dict[str, Any]) -> bytes:
    """The head of a recorded response.

    Args:
        status: Of the response.
        headers: Its exact lines.
        reply: The extras of its event, with ``version`` and ``reason``, and ``malformed`` where it has such lines. An
            imported call has ``http_version`` and ``reason_phrase`` in the place of the first two, which are bytes.
    """
    version = b"HTTP/1.0" if reply.get("version") == 10 or reply.get("http_version") == b"HTTP/1.0" else b"HTTP/1.1"
    reason = (reply.get("reason") or "").encode("latin-1") if "reason" in reply else reply.get("reason_phrase", b"")
    lines = [b"%b %d %b" % (version, status, reason)]
    before, behind = reply.get("malformed") or ((), ())
    lines += map(_malformed_line, before)
    lines += [name + b": " + value for name, value in headers]
    lines += [*map(_malformed_line, behind), b"", b""]
    return b"\r\n".join(lines)


def malformed_lines(message: Message) -> list[list[Any]]:
    """The lines of a parsed head that are no headers: those before the headers, and those behind them.

    A parser in Python's ``email`` skips a line without a name, and does not keep its text. At a line without a colon
    it stops: that line and all behind it are the rest. What looks like a header there is given by name, so that it is
    redacted as one.
    """
    before: list[Any] = []
    behind: list[Any] = []
    for defect in message.defects:
        if isinstance(defect, errors.FirstHeaderLineIsContinuationDefect):
            before.append(str(getattr(defect, "line", "")).rstrip("\r\n"))
        elif isinstance(defect, errors.InvalidHeaderDefect):
            behind.append(":")
    rest = None if message.is_multipart() else message.get_payload()
    if isinstance(rest, str):
        for line in filter(None, rest.splitlines()):
            name, colon, value = line.partition(":")
            behind.append({name: value} if colon else line)
    return [before, behind]


def _malformed_line(line: Any) -> bytes:
    text = line if isinstance(line, str) else ":".join(next(iter(line.items())))
    return text.encode("latin-1", "replace")
