"""HTTP/1.1 responses as they arrive (RFC 9112), for a client that parses them itself: noted, and put together again.

Two facts decide what the app's next read gives: what arrived together, and how much the app had read before that. So
both are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import BodySnapshot, HeaderPairs

__all__ = ["CHUNK_END", "LAST_CHUNK", "ArrivalTap", "Head", "framed", "head_bytes", "informational_bytes"]

Head = tuple[tuple[int, int], int, str, HeaderPairs]
"""HTTP version, status, reason and header lines of a response, as the client's parser found them."""

CHUNK_END: Final = 0
"""In frames: the end of a chunk has arrived."""
LAST_CHUNK: Final = -1
"""In frames: the empty chunk that ends the body has arrived."""

_EMPTY_LINE: Final = b"\r\n\r\n"
_NONE: Any = ()
_SIZE, _DATA, _BEHIND, _DONE = range(4)


class ArrivalTap(BodyTap):
    """Notes a body as it comes off the connection, one chunk for each arrival.

    Args:
        limits: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended in whatever way.
    """

    # The defaults stand in the class: most bodies come as one piece, and set few of them.
    _chunked = False
    _length: int | None = None
    _dechunker: _Dechunker | None = None
    _provisional: BaseException | None = None
    head: Head | None = None
    informational: Sequence[int] = ()
    end_cursor = 0
    at_return = 0
    """How many arrivals there were when the app got the response."""
    ended_at_return = False
    raised = False
    """Whether what ended the body was raised by one reading, rather than kept for all to come."""
    waited = False
    """Whether a reading of the app waited for more when the app closed the response."""
    _whole: tuple[float, bytes] | None = None
    """The one arrival of a response that came at once, with its head, until its body is asked for."""

    _head: Sequence[tuple[float, bytes]] | None = ()
    """What has arrived before the head was parsed; None since then."""
    # These have nothing in them where there are no bytes of a body: until then, an object needs no lists.
    chunks: list[bytes] = _NONE
    times_s: list[float] = _NONE
    cursors: list[int] = _NONE
    """For each arrival, how many (decoded) bytes the app had read before it."""
    frames: list[Sequence[int]] = _NONE

    def __init__(self, limits: BodyLimits, on_end: Callable[[], None] | None = None) -> None:
        # What `BodyTap` does besides is to make lists.
        self._limits = limits
        if on_end is not None:
            self._on_end = on_end

    def came_at_once(self, at_s: float, data: bytes, head: Head) -> bool:
        """The whole response, not chunked, has come as one piece. Its body is found when it is asked for.

        False where it may be too long. Then nothing is noted.
        """
        limits, size = self._limits, len(data)
        # The same as `BodyLimits.take`, without a function call.
        left_bytes = limits.left_bytes - size - PIECE_BYTES
        if size > limits.body_bytes or left_bytes < 0:
            return False
        limits.left_bytes = left_bytes
        self.head = head
        self._whole, self._head = (at_s, data), None
        self.end, self.ended_s = BodyEnd.COMPLETE, at_s
        if self._on_end is not None:
            self._on_end()
        return True

    def settle(self) -> None:
        """Find the body of a response that came at once."""
        whole, head = self._whole, self.head
        if whole is None or head is None:
            return
        at_s, data = whole
        body = data[_head_length(data) :]
        length = next((int(value) for name, value in head[3] if name.lower() == b"content-length"), len(body))
        if body and length:
            self.chunks, self.times_s, self.size_bytes = [body[:length]], [at_s], min(len(body), length)
            self.cursors, self.frames = [0], [()]
        self._whole = None

    def arrived(self, data: bytes, cursor: int, at_s: float | None = None) -> None:
        """The next bytes off the connection. ``at_s`` is when they came, where that is not now."""
        if self._head is not None:
            self._head = [*self._head, (time.perf_counter() if at_s is None else at_s, data)]
        elif self.end is None:
            self._provisional = None
            self._body(data, cursor, None)

    def head_arrived(self, head: Head, chunked: bool, length: int | None) -> None:
        """The response's head has been parsed: what has arrived behind it belongs to the body."""
        self.head = head
        self.chunks, self.times_s, self.cursors, self.frames = [], [], [], []
        arrivals, self._head = self._head or (), None
        if chunked:
            self._chunked = True
        else:
            self._length = length
        if len(arrivals) == 1:
            at_s, data = arrivals[0]
            self._body(data[_head_length(data) :], 0, at_s)
            return
        data = b"".join([piece for _, piece in arrivals])
        skip = _head_length(data)
        for at_s, piece in arrivals:
            if skip >= len(piece):
                skip -= len(piece)
                continue
            self._body(piece[skip:], 0, at_s)
            skip = 0

    def is_informational(self, status: int) -> None:
        """An informational response has been parsed."""
        self.informational = [*self.informational, status]

    def on_end(self, call: Callable[[], None]) -> None:
        """Have a function called when the body ends."""
        self._on_end = call

    def interrupted(self, error: BaseException) -> None:
        """The app's reading raised. The body has ended with this error only if it is closed before more comes."""
        if self.end is None:
            self._provisional = error

    def ended(self, end: BodyEnd, cursor: int, error: BaseException | None = None, *, waited: bool = False) -> None:
        """Nothing more comes, or the app has closed the response; ``waited`` says that it was reading meanwhile."""
        if self.end is not None:
            return
        self.end_cursor = cursor
        if end is BodyEnd.CLOSED and self._provisional is not None:
            self.raised = True
            self.failed(self._provisional)
        else:
            self.waited = waited and end is BodyEnd.CLOSED
            self.finish(end, error)
        self._provisional = None

    def snapshot(self, started_s: float) -> BodySnapshot:
        """As in `BodyTap`; a reading that raised, and that nothing followed, has ended the body."""
        self.settle()
        if self.end is None and self._provisional is not None:
            self.raised = True
            self.failed(self._provisional)
        return super().snapshot(started_s)

    def facts(self) -> dict[str, Any]:
        """What a replay must know besides the snapshot; empty where the whole body came with the head."""
        self.settle()
        facts: dict[str, Any] = {}
        if self.informational:
            facts["informational"] = list(self.informational)
        if self._chunked:
            facts["frames"] = list(map(list, self.frames))
        if not self.ended_at_return:
            facts["at_return"] = self.at_return
            facts["cursors"] = self.cursors
            facts["end_cursor"] = self.end_cursor
        if self.raised:
            facts["raised"] = True
        if self.waited:
            facts["waited"] = True
        return facts

    def _body(self, data: bytes, cursor: int, at_s: float | None) -> None:
        frames: Sequence[int] = ()
        if self._chunked:
            if self._dechunker is None:
                self._dechunker = _Dechunker()
            data, frames = self._dechunker.feed(data)
            if not frames:
                return
        elif self._length is not None and self.size_bytes + len(data) > self._length:
            data = data[: self._length - self.size_bytes]
        if not data and not frames:
            return
        self.chunk(data, at_s)
        if not self.over:
            self.cursors.append(cursor)
            self.frames.append(frames)

    def _let_go(self) -> None:
        super()._let_go()
        self.cursors, self.frames = [], []


class _Dechunker:
    """Takes the framing off a chunked body.

    It stops at the first line that is no size of a chunk: there the client raises its own error.
    """

    __slots__ = ("_at", "_left", "_rest")

    def __init__(self) -> None:
        self._at = _SIZE
        self._left = 0
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, list[int]]:
        data = self._rest + data
        pieces: list[bytes] = []
        frames: list[int] = []
        at = 0
        while at < len(data) and self._at != _DONE:
            if self._at == _DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
                frames.append(len(piece))
                if not self._left:
                    self._at = _BEHIND
                continue
            end = data.find(b"\n", at) + 1
            if not end:
                break
            line = data[at:end].strip()
            at = end
            if self._at == _BEHIND:
                frames.append(CHUNK_END)
                self._at = _SIZE
            else:
                self._size_line(line, frames)
        self._rest = data[at:] if self._at != _DONE else b""
        return b"".join(pieces), frames

    def _size_line(self, line: bytes, frames: list[int]) -> None:
        try:
            self._left = int(line.split(b";", 1)[0], 16)
        except ValueError:
            self._at = _DONE
            return
        self._at = _DATA if self._left else _DONE
        if not self._left:
            frames.append(LAST_CHUNK)


def _head_length(data: bytes) -> int:
    """Where the body begins: behind the first head that is no informational one."""
    at = data.find(_EMPTY_LINE) + len(_EMPTY_LINE)
    if data.startswith(b"HTTP/1.") and data[9:10] != b"1" and data.find(b"\n\n", 0, at) < 0 <= at - len(_EMPTY_LINE):
        return at
    at = 0
    while True:
        ends = [(found + len(mark)) for mark in (_EMPTY_LINE, b"\n\n") if (found := data.find(mark, at)) >= 0]
        if not ends:
            return len(data)
        end = min(ends)
        status = data[at:end].split(None, 2)[1:2]
        at = end
        if not (status and status[0][:1] == b"1" and status[0] != b"101"):
            return at


def head_bytes(version: Sequence[int], status: int, reason: str, headers: HeaderPairs) -> bytes:
    """Status line and headers."""
    first = b"HTTP/%d.%d %d %b\r\n" % (version[0], version[1], status, reason.encode("utf-8", "surrogateescape"))
    return first + b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n"


def informational_bytes(status: int) -> bytes:
    """An informational response."""
    return b"HTTP/1.1 %d Informational\r\n\r\n" % status


def framed(pieces: Sequence[bytes], frames: Sequence[Sequence[int]]) -> list[bytes]:
    """The pieces of a chunked body with the framing that each arrived in.

    A piece of another size than its frames say (redaction changed it) becomes a chunk of its own.
    """
    fitting = [
        list(ops) if sum(op for op in ops if op > 0) == len(piece) else [len(piece), CHUNK_END, *_ends(ops)]
        for piece, ops in zip(pieces, frames, strict=True)
    ]
    sizes = iter(_chunk_sizes(fitting))
    framed_pieces: list[bytes] = []
    within = False
    for piece, ops in zip(pieces, fitting, strict=True):
        out: list[bytes] = []
        at = 0
        for op in ops:
            if op == LAST_CHUNK:
                out.append(b"0\r\n\r\n")
            elif op == CHUNK_END:
                out.append(b"\r\n" if within else b"")
                within = False
            else:
                if not within:
                    out.append(b"%x\r\n" % next(sizes))
                    within = True
                out.append(piece[at : at + op])
                at += op
        framed_pieces.append(b"".join(out))
    return framed_pieces


def _ends(ops: Sequence[int]) -> list[int]:
    return [op for op in ops if op == LAST_CHUNK]


def _chunk_sizes(frames: Sequence[Sequence[int]]) -> list[int]:
    sizes: list[int] = []
    size = 0
    for op in (op for ops in frames for op in ops):
        if op > 0:
            size += op
        elif op == CHUNK_END and size:
            sizes.append(size)
            size = 0
    if size:
        # The end of this chunk never came: its size line announces one byte more than there is.
        sizes.append(size + 1)
    return sizes
