"""Where aiosqlite queues a call for the thread of a connection: it takes the waiting task's session along."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import OWN_KEYS, SUPPRESSED, current_context
from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.guarded import AppStep, Flow, guarded_async
from timetracer_otel.libraries.aiosqlite.internals import connection_of, opening_by
from timetracer_otel.libraries.kits.dbapi.owners import HELD, disowned, opening, through
from timetracer_otel.session import BaseSession
from timetracer_otel.threads import carrying

__all__ = ["patches"]

_LIB = "aiosqlite"


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``aiosqlite.core``."""
    return [
        Patch(module.Connection, "_execute", _execute),
        # Whose a connection is, is told outside sessions, too.
        Staying(Patch(module.Connection, "_connect", _connect)),
    ]


class _Queued:
    """A call that a connection's thread makes, in the session of the task that waits for it.

    Args:
        function: What is called.
        lends: Said to the code beneath for the time of the call (see `CallAbove.lend`).
    """

    __slots__ = ("_context", "_function", "_lends")

    def __init__(self, function: Callable[..., Any], *lends: Callable[[], Callable[[], Any]]) -> None:
        self._function = function
        self._lends = lends
        self._context = carrying.carried()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        ends: list[Callable[[], Any]] = []
        try:
            ends.append(partial(otel_context.detach, otel_context.attach(self._in_thread())))
            ends += [lend() for lend in self._lends]
        except Exception as fault:
            faults.contain("aiosqlite.thread", fault)
        try:
            return self._function(*args, **kwargs)
        finally:
            for end in reversed(ends):
                end()

    def _in_thread(self) -> Context:
        """The context of the thread, in the session of the task. It may have been started in another one."""
        others = {
            key: value
            for key, value in current_context().items()
            if not key.startswith(OWN_KEYS) and key not in SUPPRESSED
        }
        return Context({**others, **(self._context or {})})


def _execute(original: Function) -> Function:
    def begin(_: BaseSession | None, connection: Any, function: Any, /, *args: Any, **kwargs: Any) -> AppStep | None:
        if getattr(connection, HELD, None) is None:
            disowned(connection_of(connection))
            return None
        return AppStep(original, connection, _Queued(function), *args, **kwargs)

    return guarded_async(_LIB, original, begin, outside=True)


def _connect(original: Function) -> Function:
    def begin(_: BaseSession | None, connection: Any) -> Flow:
        above = opening.get()
        lend = partial(through.lend, _LIB) if above is None else partial(opening.lend, above)
        with opening_by(connection, lambda opens: _Queued(opens, lend)):
            opened = yield AppStep(original, connection)
        if above is None:
            setattr(connection, HELD, _LIB)
        return opened

    return guarded_async(_LIB, original, begin, outside=True)
