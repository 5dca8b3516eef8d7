"""Errors of urllib3 and of libraries above it as values, and back.

They hold requests, pools and connections, which are no values. A recorded error has *stand-ins* in their places; a
replay puts its own request, and objects of the pool that is asked, in the places of the stand-ins.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import RecordedError

__all__ = ["HeldErrors", "is_of_network", "with_stand_ins"]

_STAND_IN = "timetracer.stand_in"
_CONTEXT = "timetracer.context"


class HeldErrors:
    """Errors of some packages, which hold live objects.

    Args:
        family: The packages, urllib3 among them.
        held: Gives classes of live objects besides pools and connections, with a name for each.
    """

    def __init__(self, family: Sequence[str], held: Callable[[], Sequence[tuple[str, type]]] = tuple) -> None:
        self._family = tuple(family)
        self._held = held

    def recorded(self, error: BaseException) -> RecordedError:
        """An error as a value; live objects in it are stood in for."""
        recorded = record_error(error, substitute=self._substitute)
        context = error.__context__
        if context is not None and context is not _inner(error) and not error.__suppress_context__:
            recorded.attributes[_CONTEXT] = record_error(context, substitute=self._substitute)
        return recorded

    def rebuilt(self, error: RecordedError, restore: Callable[[RecordedError], RecordedError]) -> BaseException:
        """A recorded error as it was raised, with the error that was being handled then (``__context__``).

        Raises:
            CassetteError: It cannot be rebuilt.
        """
        error = restore(error)
        context = error.attributes.pop(_CONTEXT, None)
        exc = rebuild_error(error, self._family)
        _set_contexts(exc)
        if context is not None:
            try:
                exc.__context__ = rebuild_error(context, self._family)
            except CassetteError:
                exc.__context__ = None
        return exc

    def _substitute(self, item: Any) -> Any:
        kinds = [("connection", http.client.HTTPConnection), *self._held()]
        # Where urllib3 is not loaded, nothing holds its pools.
        pools = sys.modules.get("urllib3.connectionpool")
        if pools is not None:
            kinds.append(("pool", pools.ConnectionPool))
        for kind, cls in kinds:
            if isinstance(item, cls):
                return {_STAND_IN: kind, "text": repr(item)}
        return None


def with_stand_ins(error: RecordedError, live: Callable[[str], Any]) -> RecordedError:
    """A recorded error with live objects in the places of those that were stood in for.

    Args:
        error: What `HeldErrors.recorded` gave.
        live: Gives a ``pool``, a ``connection``, or what else the errors hold.
    """

    def put(item: Any) -> Any:
        if type(item) is dict and _STAND_IN in item:
            return live(item[_STAND_IN])
        if type(item) is RecordedError:
            return with_stand_ins(item, live)
        if type(item) in (list, tuple):
            return type(item)(map(put, item))
        return item

    return replace(
        error,
        args=tuple(map(put, error.args)),
        attributes={name: put(item) for name, item in error.attributes.items()},
        cause=with_stand_ins(error.cause, live) if error.cause is not None else None,
    )


def is_of_network(error: BaseException) -> bool:
    """Whether a urllib3 error lies in or behind an error: somebody tried to reach a server."""
    from urllib3.exceptions import HTTPError

    seen: list[Any] = [error]
    for item in seen:
        if isinstance(item, HTTPError):
            return True
        if isinstance(item, BaseException) and len(seen) < 50:
            seen += [*item.args, item.__cause__, item.__context__]
    return False


def _set_contexts(exc: BaseException) -> None:
    """Set the context of an error to the one that it holds: both libraries raise it while they handle that one."""
    inner = _inner(exc)
    for error in (inner, exc.__cause__):
        if error is not None:
            _set_contexts(error)
    if exc.__cause__ is None and inner is not None:
        exc.__context__ = inner


def _inner(exc: BaseException) -> BaseException | None:
    held = (*exc.args, getattr(exc, "reason", None))
    return next((item for item in held if isinstance(item, BaseException)), None)
