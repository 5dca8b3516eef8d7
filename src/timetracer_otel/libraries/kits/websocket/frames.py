"""Frames of WebSocket connections: bytes become frames, and frames bytes. RFC 6455 section 5, RFC 7692."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "FrameParser",
    "TooLongError",
    "forgets",
    "frame_bytes",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FIRST_CONTROL: Final = 0x8

_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40
_MASKED: Final = 0x80
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender leaves out at the end of a compressed message (RFC 7692 section 7.2.1)."""


class TooLongError(ValueError):
    """A compressed frame has more bytes than may be kept."""


class Frame(NamedTuple):
    """One frame, with its content as its sender meant it: neither masked nor compressed."""

    opcode: int
    final: bool
    """Whether it is the last one of its message."""
    data: bytes

    @property
    def is_control(self) -> bool:
        """Whether it is a close, a ping or a pong."""
        return self.opcode >= _FIRST_CONTROL


class FrameParser:
    """Makes frames of what one side sends, as it comes. Not safe for two threads at once.

    Args:
        forgets: Whether that side begins each compressed message anew (``…_no_context_takeover``).
        most_bytes: How long the content of a compressed frame may be.
    """

    def __init__(self, *, forgets: bool = False, most_bytes: int = 1 << 30) -> None:
        self._data = bytearray()
        self._forgets = forgets
        self._most_bytes = most_bytes
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._is_compressed = False
        """Whether the message that is under way is."""

    def feed(self, data: bytes) -> list[Frame]:
        """Some more bytes have come.

        Returns:
            The frames that are whole by now.

        Raises:
            TooLongError: What came is compressed, and too long.
            ValueError: What came is compressed, and damaged.
        """
        self._data += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        data = self._data
        if len(data) < 2:
            return None
        first, second = data[0], data[1]
        length, position = second & ~_MASKED, 2
        if length == _TWO_BYTES:
            position = 4
            if len(data) < position:
                return None
            (length,) = struct.unpack_from("!H", data, 2)
        elif length == _EIGHT_BYTES:
            position = 10
            if len(data) < position:
                return None
            (length,) = struct.unpack_from("!Q", data, 2)
        mask = bytes(data[position : position + 4]) if second & _MASKED else b""
        position += 4 if second & _MASKED else 0
        if len(data) < position + length:
            return None
        content = bytes(data[position : position + length])
        del data[: position + length]
        if mask:
            content = _unmasked(content, mask)
        opcode, final = first & 0x0F, bool(first & _FINAL)
        if opcode < _FIRST_CONTROL:
            if opcode != CONTINUATION:
                self._is_compressed = bool(first & _COMPRESSED)
            if self._is_compressed:
                content = self._inflated(content, final)
        return Frame(opcode, final, content)

    def _inflated(self, content: bytes, final: bool) -> bytes:
        try:
            made = self._inflater.decompress(content + (_TAIL if final else b""), self._most_bytes)
        except zlib.error as error:
            raise ValueError(f"a compressed frame is damaged: {error}") from error
        if self._inflater.unconsumed_tail:
            raise TooLongError(f"a compressed frame has more than {self._most_bytes} bytes")
        if final and (self._forgets or self._inflater.eof):
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return made


def frame_bytes(frame: Frame) -> bytes:
    """A frame as a server sends it: not masked, and not compressed."""
    length = len(frame.data)
    first = frame.opcode | (_FINAL if frame.final else 0)
    if length < _TWO_BYTES:
        head = struct.pack("!BB", first, length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, _TWO_BYTES, length)
    else:
        head = struct.pack("!BBQ", first, _EIGHT_BYTES, length)
    return head + frame.data


def forgets(extensions: Sequence[bytes], side: bytes) -> bool:
    """Whether a side begins each compressed message anew, by the header lines that were agreed upon.

    Args:
        extensions: The values of the server's ``Sec-WebSocket-Extensions``.
        side: ``client`` or ``server``.
    """
    return any(side + b"_no_context_takeover" in value for value in extensions)


def _unmasked(content: bytes, mask: bytes) -> bytes:
    """RFC 6455 section 5.3, for all bytes at once."""
    length = len(content)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(content, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
