"""Where asyncmy is patched, and what it calls things. Its cursors and results are classes in C, which are derived."""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Flow, guarded, only, raising
from timetracer_otel.libraries.asyncmy import internals
from timetracer_otel.libraries.kits.dbapi.direct import held_by
from timetracer_otel.libraries.kits.mysql.call import MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.in_python import PythonDriver, PythonSeams, RowNoted
from timetracer_otel.libraries.kits.mysql.wire import Wire
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_LIB = "asyncmy"
_PREPARING = ("_acquire_cached_statement", "prepare")
"""By which statements go another way, in releases that have it."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``asyncmy``."""
    connections: Any = importlib.import_module(f"{module.__name__}.connection")
    cursors: Any = importlib.import_module(f"{module.__name__}.cursors")
    driver = PythonDriver(
        lib=_LIB,
        target_of=lambda connection: _target_of(module, connection),
        facts_of=internals.facts_of,
        connect_over=_connect_over,
        opened=internals.was,
        result_for=lambda connection: seams.recorded_result(connection),
        close=lambda connection: connection.close(),
        decoders="_decoders",
        usual_decoders=set(importlib.import_module(f"{module.__name__}.converters").conversions.values()),
        is_async=True,
    )
    seams = _Seams(driver, connections.Connection, cursors.Cursor, connections.MySQLResult)
    return seams.patches()


def _target_of(module: Any, connection: Any) -> ServerTarget:
    return ServerTarget(_LIB, module, *internals.place(connection), lambda of: bool(of.connected), is_async=True)


def _connect_over(original: Function, connection: Any, wire: Wire) -> AppStep:
    internals.leads_to(connection, wire)
    return AppStep(original, connection)


class _Seams(PythonSeams):
    """The seams of asyncmy.

    Args:
        driver: What it is called.
        connection: Its class of connections.
        cursor: Its class of cursors.
        result: Its class of results.
    """

    def __init__(self, driver: PythonDriver, connection: type[Any], cursor: type[Any], result: type[Any]) -> None:
        super().__init__(driver, connection, cursor, None)
        replaced = {"_read_rowdata_packet_unbuffered": self.row, "_finish_unbuffered_query": self.finish}
        names: dict[str, Any] = {name: make(getattr(result, name)) for name, make in replaced.items()}
        self._recorded_result: Any = type(result.__name__, (result,), names)

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection = self._connection
        return [
            *(patch for patch in super().patches() if getattr(patch, "owner", None) is not self._cursor),
            Patch(connection, "cursor", self.cursor),
            *(Patch(connection, name, self.preparing) for name in _PREPARING if hasattr(connection, name)),
        ]

    def recorded_result(self, connection: Any) -> Any:
        """An empty result, whose rows may come from a recording."""
        made = self._recorded_result(connection)
        made.connection = None
        return made

    def note_rows(self, held: MySQLHeld, result: Any) -> None:
        """Nothing: the cursor is asked for the rows, and notes them."""

    def cursor(self, original: Function) -> Function:
        """The app asks for a cursor: it gets one of a class that is derived of the one it asked for."""

        def begin(_: BaseSession, connection: Any, cursor: Any = None) -> Flow | AppStep | None:
            asked = internals.class_asked(connection, cursor)
            if not isinstance(asked, type) or not issubclass(asked, self._cursor):
                return None
            return AppStep(original, connection, self.derived(asked))

        return guarded(_LIB, original, begin)

    @lru_cache(maxsize=256)  # noqa: B019 - the seams live as long as the process
    def derived(self, asked: Any) -> type[Any]:
        """The class of cursors for one that an app asks for."""
        made: dict[str, Any] = {
            "execute": self.asked(False, asked.execute),
            "executemany": self.asked(True, asked.executemany),
        }
        if hasattr(asked, "read_next"):
            made["read_next"] = self.reading(asked.read_next)
        names = {"__module__": asked.__module__, "__qualname__": asked.__qualname__, "__slots__": ()}
        return type(asked.__name__, (asked,), {**names, **made})

    def reading(self, original: Function) -> Function:
        """A cursor reads a row."""

        def begin(_: BaseSession | None, cursor: Any) -> Any:
            held, result = held_by(cursor.connection), internals.result_of(cursor)
            is_open = isinstance(held, MySQLHeld) and held.open is not None and held.open[0] is result
            return RowNoted(held, result) if is_open and isinstance(held, MySQLHeld) else None

        return self.guarded(original, begin)

    def preparing(self, original: Function) -> Function:
        """A statement is prepared on the server."""

        def begin(session: BaseSession | None, *_: Any, **__: Any) -> Flow | None:
            refusal = pass_or_refuse(
                _LIB,
                "asyncmy has a statement prepared on the server, whose rows cannot be seen",
                "open the connection with stmt_cache_size=0.",
                session,
            )
            return only(raising(refusal)) if refusal is not None else None

        return self.guarded(original, begin)
