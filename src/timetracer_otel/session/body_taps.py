"""Noting a body while it is read or sent, for calls that go out and for requests that come in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.cassette import record_error
from timetracer_otel.constants import BodyEnd
from timetracer_otel.types import BodySnapshot, RecordedError

__all__ = ["PIECE_BYTES", "BodyLimits", "BodyTap"]

PIECE_BYTES = 100
"""Memory that a piece of a body takes besides its bytes, in CPython: an object, its time, and a place in two
lists."""

_UNBOUNDED = 1 << 62
_FULL = -_UNBOUNDED
"""The room that is left after there was too little once. It is so low that room given back makes no difference."""


class BodyLimits:
    """How much a recording keeps of its bodies: of each, and of all together.

    Safe from any thread. The sum is kept without a lock, and may be a little off while several threads note at once.

    Args:
        body_bytes: Longest body that is kept.
        session_bytes: Memory for all bodies together; each piece counts as its bytes and `PIECE_BYTES`.
    """

    __slots__ = ("body_bytes", "left_bytes", "refused")

    def __init__(self, body_bytes: int = _UNBOUNDED, session_bytes: int = _UNBOUNDED) -> None:
        self.body_bytes: int = body_bytes
        self.left_bytes: int = session_bytes
        """Memory that is left for all bodies. Below zero once a body had no room. From then on none has any, so that
        the recording is complete up to one place."""
        self.refused: int = 0
        """How many bodies were not kept because the memory for all bodies was used up."""

    @property
    def full(self) -> bool:
        """Whether a body had no room."""
        return self.left_bytes < 0

    def take(self, size_bytes: int) -> bool:
        """Take room for something. False where there is none: it must not be kept."""
        if size_bytes > self.left_bytes:
            self.left_bytes = _FULL
            self.refused += 1
            return False
        self.left_bytes -= size_bytes
        return True

    def hold(self, size_bytes: int) -> None:
        """Take room for something that is kept in any case. Where there was too little, nothing else gets any."""
        if size_bytes > self.left_bytes:
            self.left_bytes = _FULL
        else:
            self.left_bytes -= size_bytes


def _note_nothing(_: bytes) -> None:
    """Stands for `BodyTap.chunk` after a fault."""


class BodyTap:
    """Notes a body while the app reads or sends it, and how the body ended. Never reads by itself.

    Whoever calls it stands between the app and its stream, and calls it by `noting`, or in a ``try`` with `give_up`:
    after a fault, the app's stream goes on without it.

    Args:
        limits: A body beyond these is counted, and not kept.
        on_end: Called once, when the body has ended in whatever way.
    """

    size_bytes: int = 0
    over: bool = False
    """Whether the body was too long; then nothing of it is kept."""
    end: BodyEnd | None = None
    error: RecordedError | None = None
    ended_s: float | None = None
    _on_end: Callable[[], None] | None = None
    faulted: bool = False
    """Whether a fault of ours ended the noting: what was noted may be only a part."""

    def __init__(self, limits: BodyLimits, on_end: Callable[[], None] | None = None) -> None:
        self._limits = limits
        self._on_end = on_end
        self.chunks: list[bytes] = []
        self.times_s: list[float] = []

    def chunk(self, data: bytes, at_s: float | None = None) -> None:
        """Note the next piece. ``at_s`` is when it came, where that is not now."""
        limits, size = self._limits, len(data)
        self.size_bytes = size_bytes = self.size_bytes + size
        # The same as `BodyLimits.take`, without a function call for each piece.
        left_bytes = limits.left_bytes - size - PIECE_BYTES
        if self.over or size_bytes > limits.body_bytes or left_bytes < 0:
            self._leave_out(size)
            return
        limits.left_bytes = left_bytes
        self.times_s.append(time.perf_counter() if at_s is None else at_s)
        self.chunks.append(data)

    def _leave_out(self, size: int) -> None:
        # Beyond the limit not even the times are kept, since a stream may go on for days.
        if not self.over:
            if self.size_bytes <= self._limits.body_bytes:
                self._limits.take(size + PIECE_BYTES)
            self._let_go()

    def _let_go(self) -> None:
        """Drop a body that is too long. Its memory is free for other bodies."""
        self.over = True
        self._limits.left_bytes += sum(map(len, self.chunks)) + PIECE_BYTES * len(self.chunks)
        self.chunks, self.times_s = [], []

    def finish(self, end: BodyEnd, error: BaseException | None = None) -> None:
        """Note that the body has ended. Only the first end counts."""
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

    def give_up(self, fault: Exception) -> Callable[[bytes], None]:
        """Contain a fault of ours, and end the noting with it. Gives a function that does nothing, to be called for
        the pieces that are left.
        """
        self.faulted = True
        try:
            self.finish(BodyEnd.CUT)
        except Exception as another:
            faults.contain("body_end", another)
        faults.contain("body", fault)
        return _note_nothing

    def noting(self, note: Callable[..., Any], *facts: Any) -> None:
        """Call a function that notes something of this body. Where it raises, the tap gives up: from then on, it
        notes nothing.
        """
        if not self.faulted:
            try:
                note(*facts)
            except Exception as fault:
                self.give_up(fault)

    def restart(self) -> None:
        """Forget what was noted: the body is read again from its beginning."""
        self._let_go()
        self.over, self.size_bytes = False, 0
        self.end = self.error = self.ended_s = None

    def failed(self, error: BaseException) -> None:
        """Note that reading raised, or was cancelled."""
        if isinstance(error, GeneratorExit):
            self.finish(BodyEnd.CLOSED)
        else:
            self.finish(BodyEnd.FAILED if isinstance(error, Exception) else BodyEnd.CANCELLED, error)

    def as_sent(self) -> tuple[bytes, BodyEnd, int | None]:
        """A body that the app sent: its bytes, how it ended, and its length where it was too long to be kept."""
        if self.over:
            return b"", BodyEnd.CUT, self.size_bytes
        return b"".join(self.chunks), self.end or BodyEnd.CUT, None

    def snapshot(self, started_s: float) -> BodySnapshot:
        """The body as it was noted up to now.

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
                [((at - started_s) * 1000, len(chunk)) for at, chunk in zip(self.times_s, self.chunks, strict=False)]
            )
            if whole
            else (),
            end=self.end or BodyEnd.CUT,
            error=self.error,
            end_ms=(self.ended_s - started_s) * 1000 if self.ended_s is not None else None,
        )
