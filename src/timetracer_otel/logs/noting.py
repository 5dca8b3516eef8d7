"""Notes what loggers give to their handlers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from logging import LogRecord
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.base.holds import Holds
from timetracer_otel.base.otel_context import current_context, span_around
from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.current import get_current_session
from timetracer_otel.session import TraceSession
from timetracer_otel.session.log_buffer import LoggedRecord

__all__ = ["hold", "release"]

_OURS: Final = ("timetracer_otel", "opentelemetry")
"""Loggers that tell of recording and tracing, and not of the app."""
_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})
"""Types of arguments whose text is made by none of the app's code."""

_lock = threading.RLock()
_holds = Holds()


def hold() -> None:
    """Note log records of recordings from now on, until `release`. May be repeated, and is counted."""
    with _lock:
        _holds.add()
        _seams.install()


def release() -> None:
    """Undo one `hold`; harmless where there was none."""
    with _lock:
        _holds.remove()
        if not _holds:
            _seams.remove()


def _noting(original: Function) -> Function:
    # The name is the original's: it stands in tracebacks of handlers.
    def callHandlers(self: Any, record: Any) -> Any:  # noqa: N802
        # First the handlers: what one of them formats need not be formatted again.
        result = original(self, record)
        try:
            _note(record)
        except Exception as fault:
            faults.contain("logs", fault)
        return result

    return callHandlers


def _note(record: LogRecord) -> None:
    session = get_current_session()
    if not isinstance(session, TraceSession) or not session.config.log_records:
        return
    if record.name.partition(".")[0] in _OURS:
        return
    span = span_around(current_context())
    session.log_made(
        LoggedRecord(
            time.perf_counter(),
            str(record.levelname),
            record.levelno,
            record.name,
            _message_of(record),
            _error_of(record),
            span.get_span_context().span_id if span is not None else 0,
        )
    )


def _message_of(record: LogRecord) -> str:
    """The message. An argument's own text is never made by us: to make it may run code of the app. Example: that of a
    query of an ORM asks the database.
    """
    formatted = vars(record).get("message")
    if type(formatted) is str:
        return formatted
    template = record.msg if type(record.msg) is str else f"({type(record.msg).__qualname__})"
    args = record.args
    values: Iterable[Any] = args.values() if type(args) is dict else args or ()
    if not args or not all(type(value) in _PLAIN for value in values):
        return template
    try:
        return template % args
    except (TypeError, ValueError, KeyError):
        # Python's own handlers complain of such a record, and go on.
        return template


def _error_of(record: LogRecord) -> str | None:
    """The traceback that a handler has formatted, or class and text of the exception."""
    if record.exc_text:
        return record.exc_text
    error = record.exc_info[1] if type(record.exc_info) is tuple else None
    if error is None:
        return None
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}: {error}"


def _missing(module: ModuleType) -> Iterable[str]:
    if not callable(getattr(getattr(module, "Logger", None), "callHandlers", None)):
        yield "logging:Logger.callHandlers"


_seams = Seams(
    "logs",
    ("logging",),
    lambda module: [Patch(module.Logger, "callHandlers", _noting)],
    check=_missing,
    said="The app's log records are not recorded.",
)
