"""Noting a body on its way, for calls that go out and for requests that come in."""

from __future__ import annotations

import time
from collections.abc import Callable

from timetracer_otel.base import faults
from timetracer_otel.cassette import record_error
from timetracer_otel.constants import BodyEnd
from timetracer_otel.types import BodySnapshot, RecordedError

__all__ = ["PIECE_BYTES", "BodyLimits", "BodyTap"]

PIECE_BYTES = 100
"""What a piece of a body costs beside its bytes: an object, its time, and their places in two lists (CPython)."""

_UNBOUNDED = 1 << 62
_FULL = -_UNBOUNDED
"""Room that is left when there was too little once; what is given back later makes no difference."""


class BodyLimits:
    """How much a recording keeps of its bodies: of each, and of all together.

    Safe from any thread; while several threads note at once, the sum may be a little off.

    Args:
        body_bytes: Longest body that is kept.
        session_bytes: What all may take together, pieces counted at `PIECE_BYTES` each.
    """

    __slots__ = ("body_bytes", "left_bytes", "refused")

    def __init__(self, body_bytes: int = _UNBOUNDED, session_bytes: int = _UNBOUNDED) -> None:
        self.body_bytes = body_bytes
        self.left_bytes = session_bytes
        """Room among all; below zero where something had none. From then on nothing has: what is missing begins at
        one place."""
        self.refused = 0
        """How many bodies were not kept for want of room among all."""

    @property
    def full(self) -> bool:
        """Whether something had no room."""
        return self.left_bytes < 0

    def take(self, size_bytes: int) -> bool:
        """Take room for something that is kept; False where there is none, and it must not be kept."""
        if size_bytes > self.left_bytes:
            self.left_bytes = _FULL
            self.refused += 1
            return False
        self.left_bytes -= size_bytes
        return True

    def hold(self, size_bytes: int) -> None:
        """Take room for what is kept in any case; where there was too little, nothing else has any."""
        if size_bytes > self.left_bytes:
            self.left_bytes = _FULL
        else:
            self.left_bytes -= size_bytes


class BodyTap:
    """Notes a body as somebody reads it, and how it ended. Never raises, never reads by itself.

    Args:
        limits: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended in whatever way.
    """

    size_bytes = 0
    over = False
    """Whether it was too long to be kept; then nothing of it is."""
    end: BodyEnd | None = None
    error: RecordedError | None = None
    ended_s: float | None = None

    def __init__(self, limits: BodyLimits, on_end: Callable[[], None] | None = None) -> None:
        self._limits = limits
        self._on_end = on_end
        self.chunks: list[bytes] = []
        self.times_s: list[float] = []

    def chunk(self, data: bytes, at_s: float | None = None) -> None:
        """The next piece, as it is handed on; ``at_s`` is when it came, where that is not now."""
        limits, size = self._limits, len(data)
        self.size_bytes = size_bytes = self.size_bytes + size
        # As `BodyLimits.take`: a piece that has room takes it without a function more.
        left_bytes = limits.left_bytes - size - PIECE_BYTES
        if self.over or size_bytes > limits.body_bytes or left_bytes < 0:
            self._leave_out(size)
            return
        limits.left_bytes = left_bytes
        self.times_s.append(time.perf_counter() if at_s is None else at_s)
        self.chunks.append(data)

    def _leave_out(self, size: int) -> None:
        # Beyond the limit not even times are kept: a stream may go on for days.
        if not self.over:
            if self.size_bytes <= self._limits.body_bytes:
                self._limits.take(size + PIECE_BYTES)
            self._let_go()

    def _let_go(self) -> None:
        """It is too long: what was kept of it makes room for others."""
        self.over = True
        self._limits.left_bytes += sum(map(len, self.chunks)) + PIECE_BYTES * len(self.chunks)
        self.chunks, self.times_s = [], []

    def finish(self, end: BodyEnd, error: BaseException | None = None) -> None:
        """The body has ended; the first word counts."""
        if self.end is not None:
            return
        self.end = end
        self.ended_s = time.perf_counter()
        try:
            if error is not None:
                self.error = record_error(error)
            if self._on_end is not None:
                self._on_end()
        except Exception as fault:
            faults.contain("body_end", fault)

    def restart(self) -> None:
        """What was seen so far does not count: it is read again from its beginning."""
        self._let_go()
        self.over, self.size_bytes = False, 0
        self.end = self.error = self.ended_s = None

    def failed(self, error: BaseException) -> None:
        """Reading raised, or was cancelled."""
        if isinstance(error, GeneratorExit):
            self.finish(BodyEnd.CLOSED)
        else:
            self.finish(BodyEnd.FAILED if isinstance(error, Exception) else BodyEnd.CANCELLED, error)

    def as_sent(self) -> tuple[bytes, BodyEnd, int | None]:
        """A body that the app sends: what was noted of it, how it ended, its length where it was too long to keep."""
        if self.over:
            return b"", BodyEnd.CUT, self.size_bytes
        return b"".join(self.chunks), self.end or BodyEnd.CUT, None

    def snapshot(self, started_s: float) -> BodySnapshot:
        """What was seen so far.

        Args:
            started_s: When the call began; chunk times count from there.
        """
        whole = not self.over
        return BodySnapshot(
            captured=whole,
            encoding="bytes",
            data=b"".join(self.chunks) if whole else None,
            truncated=not whole,
            size_bytes=self.size_bytes,
            chunks=tuple(
                ((at - started_s) * 1000, len(chunk)) for at, chunk in zip(self.times_s, self.chunks, strict=False)
            )
            if whole
            else (),
            end=self.end or BodyEnd.CUT,
            error=self.error,
            end_ms=(self.ended_s - started_s) * 1000 if self.ended_s is not None else None,
        )
