"""The recorded bytes of one response, as a client on `http.client` reads them from a connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["RecordedConnection", "head_of"]


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
        reply: The extras of its event, with ``version`` and ``reason``. An imported call has ``http_version`` and
            ``reason_phrase`` in their place, which are bytes.
    """
    version = b"HTTP/1.0" if reply.get("version") == 10 or reply.get("http_version") == b"HTTP/1.0" else b"HTTP/1.1"
    reason = (reply.get("reason") or "").encode("latin-1") if "reason" in reply else reply.get("reason_phrase", b"")
    lines = [b"%b %d %b" % (version, status, reason)]
    lines += [name + b": " + value for name, value in headers]
    lines += [b"", b""]
    return b"\r\n".join(lines)
