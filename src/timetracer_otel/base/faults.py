"""Faults of this library itself: contained, counted, logged once. Imports nothing of ours.

Law 6 of the design: in record mode an exception of ours never reaches the app. Every ``except`` that keeps such an
exception from the app calls `contain`.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from timetracer_otel.base.printable import lines_of

__all__ = ["contain", "fault_counts", "forget", "logger", "raise_faults", "say", "warn_once"]

logger = logging.getLogger("timetracer_otel")

is_anothers: Callable[[BaseException], bool] = lambda error: False  # noqa: E731 - a function of another room
"""Whether something that was raised is another's, and no fault of ours: an object of the app's raised it while we
looked at it. Set by the room that knows, which stands above this one."""

raise_faults = False
"""Set by our own test suite: `contain` then raises the fault, so that no test passes in spite of one."""

without_secrets: Callable[[str], str] = str
"""Gives a traceback as it may be logged. Set by the room that finds secrets, which stands above this one."""

_counts: Counter[str] = Counter()
_warned: set[str] = set()
_lock = threading.RLock()
"""Reentrant, since a signal handler may interrupt a count and have a fault of its own to count."""


def contain(where: str, error: BaseException, warning: str | None = None) -> None:
    """Count a fault of ours, and log it with its traceback the first time it happens there.

    What is another's is left alone: the app meets it where its library asks the same object.

    Args:
        where: A short constant name of the place (``"httpx.capture"``), the key of the count.
        error: What went wrong; raised again where `raise_faults` is set.
        warning: What the log says instead, once, where a user can do something about it.
    """
    with suppress(Exception):
        if is_anothers(error):
            return
    if raise_faults:
        with _lock:
            _counts[where] += 1
        raise error
    # Nobody stands behind this function: a handler of the app's that raises ends here.
    with suppress(Exception):
        _count_and_say(where, error, warning)


def _count_and_say(where: str, error: BaseException, warning: str | None) -> None:
    with _lock:
        _counts[where] += 1
        first = _counts[where] == 1
    if warning is not None:
        warn_once(warning, warning)
    elif first:
        logger.error(
            "timetracer-otel: fault in %s; the app goes on, this recording may lack something. "
            "Further faults there are counted, not logged.\n%s",
            where,
            _traceback(error),
        )


def _traceback(error: BaseException) -> str:
    """The traceback of a fault. A handler of the app's would write it as it is, with all that its texts quote."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    try:
        return without_secrets(text)
    except Exception as another:
        return f"{type(error).__name__}, whose traceback cannot be shown ({type(another).__name__})"


def warn_once(key: str, message: str) -> None:
    """Log a warning the first time this key is seen in the process."""
    with _lock:
        if key in _warned:
            return
        _warned.add(key)
    logger.warning("timetracer-otel: %s", message)


def say(level: int, text: str) -> None:
    """Tell something that the user asked for: by the app's logging, or on stderr where the app set up no logging."""
    logger.log(level, "timetracer-otel: %s", text)
    if level < logging.WARNING and logger.isEnabledFor(level) and not _is_read() and sys.stderr is not None:
        sys.stderr.write(f"timetracer-otel: {lines_of(text)}\n")


class _LastResort(logging.Handler):
    """Writes warnings to stderr where nobody would read them otherwise.

    Python does so by itself (`logging.lastResort`) only where there is no handler at all. OpenTelemetry's logging
    instrumentation puts a handler on the root logger that writes nothing, but sends records to a backend.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if not _is_read() and sys.stderr is not None:
            sys.stderr.write(f"{lines_of(self.format(record))}\n")


_last_resort = _LastResort(logging.WARNING)
logger.addHandler(_last_resort)


def _is_read() -> bool:
    """Whether the app has set up logging: some handler is neither ours, nor OpenTelemetry's, nor one for nothing."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            sends = type(handler).__module__.startswith("opentelemetry.")
            if handler is not _last_resort and not sends and not isinstance(handler, logging.NullHandler):
                return True
        current = current.parent if current.propagate else None
    return False


def fault_counts() -> dict[str, int]:
    """How often each place had a fault in this process."""
    with _lock:
        return dict(_counts)


def forget() -> None:
    """Begin at zero, in a forked child: the counts are the parent's, and a thread of the parent may hold the lock."""
    global _lock
    _lock = threading.RLock()
    _counts.clear()
