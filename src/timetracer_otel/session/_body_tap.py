"""Noting a body on its way, for calls that go out and for requests that come in."""

from __future__ import annotations

import time
from collections.abc import Callable

from timetracer_otel import _faults
from timetracer_otel.cassette import record_error
from timetracer_otel.constants import BodyEnd
from timetracer_otel.types import BodySnapshot, RecordedError

__all__ = ["BodyTap"]


class BodyTap:
    """Notes a body as somebody reads it, and how it ended. Never raises, never reads by itself.

    Args:
        limit_bytes: What lies beyond is counted, not kept.
        on_end: Called once, when the body has ended in whatever way.
    """

    __slots__ = ("_limit_bytes", "_on_end", "chunks", "end", "ended_s", "error", "size_bytes", "times_s")

    def __init__(self, limit_bytes: int, on_end: Callable[[], None] | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._on_end = on_end
        self.chunks: list[bytes] = []
        self.times_s: list[float] = []
        self.size_bytes = 0
        self.end: BodyEnd | None = None
        self.error: RecordedError | None = None
        self.ended_s: float | None = None

    def chunk(self, data: bytes, at_s: float | None = None) -> None:
        """The next piece, as it is handed on; ``at_s`` is when it came, where that is not now."""
        self.size_bytes += len(data)
        if self.size_bytes <= self._limit_bytes:
            # Beyond the limit not even times are kept: a stream may go on for days.
            self.times_s.append(time.perf_counter() if at_s is None else at_s)
            self.chunks.append(data)

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
            _faults.contain("body_end", fault)

    def restart(self) -> None:
        """What was seen so far does not count: it is read again from its beginning."""
        self.chunks, self.times_s, self.size_bytes = [], [], 0
        self.end = self.error = self.ended_s = None

    def failed(self, error: BaseException) -> None:
        """Reading raised, or was cancelled."""
        if isinstance(error, GeneratorExit):
            self.finish(BodyEnd.CLOSED)
        else:
            self.finish(BodyEnd.FAILED if isinstance(error, Exception) else BodyEnd.CANCELLED, error)

    def snapshot(self, started_s: float) -> BodySnapshot:
        """What was seen so far.

        Args:
            started_s: When the call began; chunk times count from there.
        """
        whole = self.size_bytes <= self._limit_bytes
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
