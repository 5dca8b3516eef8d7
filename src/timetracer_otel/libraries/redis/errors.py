"""Errors of redis-py as values, and back."""

from __future__ import annotations

import asyncio
from typing import Final

from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.types import RecordedError

__all__ = ["rebuilt_error", "recorded_error"]

_CONTEXT: Final = "timetracer_context"
"""Stands among the attributes of a recorded error for the error below it (``__context__``)."""


def recorded_error(error: BaseException) -> RecordedError:
    """An error as a value, with the error of the connection in whose handling the library raised it."""
    recorded = record_error(error)
    below = error.__context__
    if error.__cause__ is None and not error.__suppress_context__ and isinstance(below, _BELOW):
        recorded.attributes[_CONTEXT] = record_error(below)
    return recorded


_BELOW = (OSError, EOFError, asyncio.TimeoutError)
"""What the library raises its own errors on top of."""


def rebuilt_error(error: RecordedError) -> BaseException:
    """A recorded error as the app caught it.

    Raises:
        CassetteError: It cannot be rebuilt.
    """
    return _completed(rebuild_error(error, {"redis"}))


def _completed(error: BaseException) -> BaseException:
    """A rebuilt error with the error below it, and with what redis-py 8 gives each of its errors."""
    from redis import exceptions

    below = vars(error).pop(_CONTEXT, None)
    if isinstance(below, BaseException):
        error.__context__ = below
    kinds = getattr(exceptions, "ExceptionType", None)
    part: BaseException | None = error
    while kinds is not None and isinstance(part, exceptions.RedisError):
        if not hasattr(part, "error_type"):
            own = type(part).__mro__
            kind = next((_KINDS[cls.__name__] for cls in own if cls.__name__ in _KINDS), "server")
            part.error_type = kinds(kind)
        if not hasattr(part, "status_code"):
            part.status_code = None
        part = part.__cause__
    return error


_KINDS = {
    "AuthenticationError": "auth",
    "AuthorizationError": "auth",
    "NoPermissionError": "auth",
    "ExternalAuthProviderError": "auth",
    "ClusterDownError": "server",
    "MasterDownError": "server",
    "ConnectionError": "network",
    "TimeoutError": "network",
}
"""Classes that are not of the kind ``server``, and those of that kind that descend from one; the nearest counts."""
