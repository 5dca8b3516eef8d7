"""`LogBuffer`: the log records of one recording, bounded in number and in size."""

from __future__ import annotations

from typing import Final, NamedTuple

from timetracer_otel.types import LogEntry

__all__ = ["LogBuffer", "LoggedRecord"]

_LONGEST: Final = 8_192
"""Characters that are kept of a message, and of an error with it."""
_MOST_CHARACTERS: Final = 1 << 20
"""Characters that are kept of all records of a recording."""


class LoggedRecord(NamedTuple):
    """A log record as it was made."""

    at_s: float
    """`time.perf_counter` then."""
    level: str
    severity: int
    logger: str
    message: str
    error: str | None
    span_id: int
    """0 without a span."""


class LogBuffer:
    """Safe from any thread. The limits are kept without a lock, and may be a little off while several threads log.

    Args:
        most: How many records are kept.
    """

    __slots__ = ("_left", "_left_characters", "_records")

    def __init__(self, most: int) -> None:
        self._left = most
        self._left_characters = _MOST_CHARACTERS
        self._records: list[LoggedRecord] = []

    def take(self, record: LoggedRecord) -> bool:
        """Keep a record; False where there is no room."""
        size = min(len(record.message), _LONGEST) + min(len(record.error or ""), _LONGEST)
        if self._left <= 0 or self._left_characters < size:
            return False
        self._left -= 1
        self._left_characters -= size
        # What is cut is cut here: a long message must not stay in memory.
        error = record.error
        self._records.append(record._replace(message=_cut(record.message), error=error and _cut(error)))
        return True

    def entries(self, session_started_s: float) -> list[LogEntry]:
        """The records up to now, in order of time, not redacted.

        Args:
            session_started_s: `time.perf_counter` when the recording began.
        """
        return [
            LogEntry(
                (record.at_s - session_started_s) * 1000,
                record.level,
                record.severity,
                record.logger,
                record.message,
                record.error,
                f"{record.span_id:016x}" if record.span_id else None,
            )
            for record in sorted(self._records, key=lambda record: record.at_s)
        ]

    def clear(self) -> None:
        """Forget the records: they are written, or not wanted."""
        self._records = []


def _cut(text: str) -> str:
    # A text without UTF-8 has no place in a cassette.
    kept = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return kept if kept.isascii() else kept.encode("utf-8", "backslashreplace").decode()
