"""The time that it really is, also while a replay gives the app the time of its recording (setting ``clock``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

__all__ = ["read_from", "time_ns", "time_s", "utc_now"]

_read_ns: Callable[[], int] = time.time_ns


def read_from(source: Callable[[], int]) -> None:
    """Set the function that gives the time, in nanoseconds since the epoch: what replaces Python's own keeps it."""
    global _read_ns
    _read_ns = source


def time_ns() -> int:
    """As `time.time_ns`."""
    return _read_ns()


def time_s() -> float:
    """As `time.time`."""
    return _read_ns() / 1e9


def utc_now() -> datetime:
    """As ``datetime.now(timezone.utc)``."""
    return datetime.fromtimestamp(_read_ns() // 1000 / 1e6, timezone.utc)
