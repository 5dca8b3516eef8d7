"""HTTP/1.1 bodies as bytes of a connection (RFC 9112 sections 6 and 7).

They are for clients that read a connection as a file, such as those on `http.client`. A recording takes the chunk
framing off what it notes; a replay puts it on again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from http.client import IncompleteRead
from itertools import repeat
from typing import Any

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import BodySnapshot

__all__ = ["TeedFile", "WireTap", "wire_pieces"]

_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_LONGEST_LINE_BYTES = 65536
"""Behind so many bytes `http.client` and urllib3 take no line for one."""


class _At(Enum):
    SIZE = "at a chunk's size"
    DATA = "within a chunk"
    BEHIND = "at the line end behind a chunk"
    TRAILER = "behind the last chunk"
    BROKEN = "behind a size that is none"


class WireTap(BodyTap):
    """Notes a body by the bytes that its reader takes off the wire.

    Args:
        limits: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended in whatever way.
        chunked: Whether the bytes carry chunk framing, which is not part of the body.
        length: How many bytes the body has; None where only its end tells.
    """

    # The defaults stand in the class: most bodies come as one piece, and set few of them.
    bad_line: bytes | None = None
    ran_out = False
    _chunked = False
    _length: int | None = None
    _at = _At.SIZE
    _line = b""
    _size = 0
    _left = 0
    _joins: list[bool] | None = None
    """Of a chunked body: for each piece, whether it belongs to the same chunk as the one before."""

    def __init__(
        self, limits: BodyLimits, on_end: Callable[[], None] | None, chunked: bool, length: int | None
    ) -> None:
        # As `BodyTap` does it, without a function call.
        self._limits = limits
        if on_end is not None:
            self._on_end = on_end
        self.chunks, self.times_s = [], []
        if chunked:
            self._chunked = True
            self._joins = []
        elif length is not None:
            self._length = length
            if length == 0:
                self.finish(BodyEnd.COMPLETE)

    def feed(self, data: bytes, line_ended: bool = False) -> None:
        """The next bytes, as the reader got them.

        Args:
            data: The bytes.
            line_ended: They were asked for as a line, so that what stands there counts as one.
        """
        if not self._chunked:
            # As `chunk` does it, without a function call.
            limits, size, length, now_s = self._limits, len(data), self._length, time.perf_counter()
            self.size_bytes = size_bytes = self.size_bytes + size
            left_bytes = limits.left_bytes - size - PIECE_BYTES
            if self.over or size_bytes > limits.body_bytes or left_bytes < 0:
                self._leave_out(size)
            else:
                limits.left_bytes = left_bytes
                self.times_s.append(now_s)
                self.chunks.append(data)
            if length is not None and size_bytes >= length:
                if self._on_end is None and self.end is None:
                    self.end, self.ended_s = BodyEnd.COMPLETE, now_s
                else:
                    self.finish(BodyEnd.COMPLETE)
            return
        position = 0
        while position < len(data):
            if self._at is _At.DATA:
                position += self._feed_chunk(data[position : position + self._left])
            elif self._at is _At.BROKEN:
                return
            else:
                end = data.find(b"\n", position) + 1
                self._line += data[position : end or len(data)]
                position = end or len(data)
                if end or line_ended:
                    self._end_line()

    def on_end(self, call: Callable[[], None]) -> None:
        """Have a function called when the body ends."""
        self._on_end = call

    def end_of_file(self) -> None:
        """The reader was told that nothing more will come."""
        if self.end is not None:
            return
        if self.ends_by_closing or self._at is _At.TRAILER:
            self.finish(BodyEnd.COMPLETE)
            return
        missing = self._left if self._chunked else (self._length or 0) - self.size_bytes
        self.ran_out = True
        self.finish(BodyEnd.FAILED, IncompleteRead(b"", missing or None))

    def dropped(self) -> None:
        """The reader closed the connection's file."""
        self.finish(BodyEnd.COMPLETE if self._at is _At.TRAILER else BodyEnd.CLOSED)

    @property
    def ends_by_closing(self) -> bool:
        """Whether neither a length nor chunks tell where the body ends."""
        return self._length is None and not self._chunked

    @property
    def open_chunk(self) -> list[int] | None:
        """Announced and received size of the chunk in which the body broke off."""
        return [self._size, self._size - self._left] if self._at is _At.DATA else None

    def snapshot(self, started_s: float) -> BodySnapshot:
        """As in `BodyTap`, with the pieces of one chunk put together."""
        body = super().snapshot(started_s)
        if self._joins is None or not any(self._joins):
            return body
        merged: list[tuple[float, int]] = []
        for (at_ms, size), joins in zip(body.chunks, self._joins, strict=False):
            if joins:
                first_ms, before = merged.pop()
                merged.append((first_ms, before + size))
            else:
                merged.append((at_ms, size))
        return replace(body, chunks=tuple(merged))

    def _let_go(self) -> None:
        super()._let_go()
        if self._joins is not None:
            self._joins = []

    def _feed_chunk(self, piece: bytes) -> int:
        # A reader may take a chunk in several pieces: it stays one chunk.
        joins = self._left < self._size
        self.chunk(piece)
        if not self.over and self._joins is not None:
            self._joins.append(joins)
        self._left -= len(piece)
        if not self._left:
            self._at = _At.BEHIND
        return len(piece)

    def _end_line(self) -> None:
        line, self._line = self._line, b""
        if self._at is _At.TRAILER:
            if not line.strip():
                self.finish(BodyEnd.COMPLETE)
        elif self._at is _At.BEHIND:
            self._at = _At.SIZE
        else:
            digits = line.split(b";", 1)[0].strip()
            if not digits or not _DIGITS.issuperset(digits) or len(line) > _LONGEST_LINE_BYTES:
                self._at, self.bad_line = _At.BROKEN, line
                self.finish(BodyEnd.FAILED, ValueError(f"a chunk's size is {line[:100]!r}"))
                return
            self._size = self._left = int(digits, 16)
            self._at = _At.DATA if self._size else _At.TRAILER


class TeedFile:
    """A connection's buffered file whose reads are noted; everything else is the file's own.

    Its methods are guards (see `calls.guarded`): a fault of ours does not keep what the file gave from its reader.
    """

    __slots__ = ("_file", "_tap")

    def __init__(self, file: Any, tap: WireTap) -> None:
        self._file = file
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int | None = -1, /) -> bytes:
        """As the file has it, noted."""
        tap = self._tap
        try:
            data: bytes = self._file.read(size)
        except BaseException as error:
            tap.noting(tap.failed, error)
            raise
        if not tap.faulted:
            try:
                if data:
                    tap.feed(data)
                # A buffered file gives less than it was asked for only at its end.
                if tap.end is None and (size is None or size < 0 or len(data) < size):
                    tap.end_of_file()
            except Exception as fault:
                tap.give_up(fault)
        return data

    def read1(self, size: int = -1, /) -> bytes:
        """As the file has it, noted."""
        data: bytes = self._noting(self._file.read1, size)
        self._took(data, not data and size != 0)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """As the file has it, noted."""
        count: int = self._noting(self._file.readinto, buffer)
        self._tap.noting(_feed_from, self._tap, buffer, count)
        return count

    def readline(self, size: int | None = -1, /) -> bytes:
        """As the file has it, noted as a line."""
        line: bytes = self._noting(self._file.readline, size)
        self._took(line, not line and size != 0, is_line=True)
        return line

    def close(self) -> None:
        """Close the file: the body ends here."""
        try:
            self._file.close()
        finally:
            if self._tap.end is None:
                self._tap.noting(self._tap.dropped)

    def _noting(self, read: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return read(argument)
        except BaseException as error:
            self._tap.noting(self._tap.failed, error)
            raise

    def _took(self, data: bytes, at_end: bool, is_line: bool = False) -> None:
        if data:
            self._tap.noting(self._tap.feed, data, is_line)
        if at_end:
            self._tap.noting(self._tap.end_of_file)


def _feed_from(tap: WireTap, buffer: Any, count: int) -> None:
    view = memoryview(buffer).cast("B")
    if count:
        tap.feed(bytes(view[:count]))
    if count < len(view):
        tap.end_of_file()


def wire_pieces(recorded: RecordedBody, reply: dict[str, Any], chunked: bool) -> Iterator[bytes]:
    """A recorded body as its connection gave it, at the recorded pace where that is asked for.

    Args:
        recorded: The body.
        reply: The extras of its event: ``bad_line``, ``ran_out`` and ``open_chunk`` of its `WireTap`.
        chunked: Whether it is framed in chunks.

    Raises:
        Exception: What ended the body, after its last piece.
    """
    chunks = recorded.chunks()
    announced, received = reply.get("open_chunk") or (0, 0)
    sizes = [len(chunk) for chunk in chunks]
    if received and sizes:
        sizes[-1] = announced
    last = len(chunks) - 1
    waits = recorded.waits_s() if recorded.timed else repeat(0.0)
    for number, (wait_s, chunk) in enumerate(zip(waits, chunks, strict=False)):
        if wait_s:
            time.sleep(wait_s)
        if chunked:
            yield b"%x\r\n%b%b" % (sizes[number], chunk, b"" if received and number == last else b"\r\n")
        else:
            yield chunk
    wait_s = recorded.last_wait_s()
    if wait_s:
        time.sleep(wait_s)
    if chunked:
        if recorded.body.end is BodyEnd.COMPLETE:
            yield b"0\r\n\r\n"
        elif reply.get("bad_line") is not None:
            yield reply["bad_line"]
        elif announced and not received:
            yield b"%x\r\n" % announced
    if reply.get("ran_out") or reply.get("bad_line") is not None:
        return
    error = recorded.end_error()
    if error is not None:
        raise error
