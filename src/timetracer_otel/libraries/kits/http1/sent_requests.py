"""HTTP/1.1 requests as bytes of a connection (RFC 9112), for clients whose seam is where these bytes are sent."""

from __future__ import annotations

import re
from typing import Any

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyLimits
from timetracer_otel.libraries.kits.http1.file_bodies import WireTap

__all__ = ["SentRequest"]

_EMPTY_LINE = b"\r\n\r\n"
_LINE_END = re.compile(r"\r\n(?![ \t])")
"""A line that begins with a space or a tab goes on with the one before."""
_BODY_EXPECTED = frozenset({"PATCH", "POST", "PUT"})


class SentRequest:
    """A request, by the bytes of it that were sent up to now.

    Args:
        method: Of the request.
        target: What stands behind the method.
        headers: Names and values, in order.
        limits: Of the body; what lies beyond is counted, not kept.

    Attributes:
        body: Its body. A chunk framing is no part of it.
    """

    __slots__ = ("_length", "_room", "_whole", "body", "headers", "method", "target")

    def __init__(self, method: str, target: str, headers: list[tuple[bytes, bytes]], limits: BodyLimits) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        chunked, length = _framing(headers)
        if length is None and not chunked and method.upper() not in _BODY_EXPECTED:
            length = 0
        self.body = WireTap(limits, None, chunked, length)
        self._room = limits
        self._length = None if chunked else length
        self._whole: bytes | None = None

    @classmethod
    def begun(cls, data: Any, limits: BodyLimits) -> SentRequest | None:
        """The request whose first bytes these are: they begin with its whole head. None where they do not."""
        try:
            head, mark, rest = bytes(memoryview(data)).partition(_EMPTY_LINE)
        except TypeError:
            return None
        first, *lines = _LINE_END.split(head.decode("latin-1"))
        words = first.split(" ")
        if not mark or len(words) < 3 or not words[-1].startswith("HTTP/1."):
            return None
        headers: list[tuple[bytes, bytes]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                return None
            headers.append((name.encode("latin-1"), value.strip(" \t").encode("latin-1")))
        made = cls(words[0], " ".join(words[1:-1]), headers, limits)
        if rest:
            made.feed(rest)
        return made

    def feed(self, data: Any) -> None:
        """The next bytes of the body, as they are sent."""
        piece = data if type(data) is bytes else bytes(memoryview(data))
        if len(piece) == self._length and not self.body.size_bytes:
            # The app has it as a whole: it is kept in any case.
            self._room.hold(len(piece))
            self._whole = piece
            self.body.finish(BodyEnd.COMPLETE)
        else:
            self.body.feed(piece)

    def as_sent(self) -> tuple[bytes, BodyEnd, int | None]:
        """The body: its bytes, how it ended, and its length where it was too long to be kept."""
        return self.body.as_sent() if self._whole is None else (self._whole, BodyEnd.COMPLETE, None)

    @property
    def is_whole(self) -> bool:
        """Whether the whole request was sent, as far as its head tells."""
        return self.body.end is not None

    def finish(self) -> None:
        """Nothing more is sent: the response is asked for. A body whose length nothing told ends here."""
        if self.body.ends_by_closing:
            self.body.finish(BodyEnd.COMPLETE)


def _framing(headers: list[tuple[bytes, bytes]]) -> tuple[bool, int | None]:
    """Whether a body comes in chunks, and otherwise how long it is; None where nothing tells that."""
    length = None
    for name, value in headers:
        lower = name.lower()
        if lower == b"transfer-encoding" and value.lower().endswith(b"chunked"):
            return True, None
        if lower == b"content-length" and value.isdigit():
            length = int(value)
    return False, length
