"""Where aiomysql is patched, and what it calls things."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.guarded import AppStep, Done, guarded_async
from timetracer_otel.libraries.aiomysql import internals
from timetracer_otel.libraries.kits.mysql.call import ServerTarget
from timetracer_otel.libraries.kits.mysql.in_python import PythonDriver, PythonSeams
from timetracer_otel.libraries.kits.mysql.wire import Wire
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_LIB = "aiomysql"


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``aiomysql``."""
    connections: Any = importlib.import_module(f"{module.__name__}.connection")
    cursors: Any = importlib.import_module(f"{module.__name__}.cursors")
    driver = PythonDriver(
        lib=_LIB,
        target_of=lambda connection: _target_of(module, connection),
        facts_of=internals.facts_of,
        connect="_connect",
        connect_over=_connect_over,
        opened=internals.was,
        result_for=lambda _: connections.MySQLResult(None),
        close=lambda connection: connection.close(),
        usual_decoders=set(connections.decoders.values()),
        is_async=True,
    )
    return [
        *PythonSeams(driver, connections.Connection, cursors.Cursor, connections.MySQLResult).patches(),
        Patch(connections, "_open_unix_connection", _opening_stream),
    ]


def _target_of(module: Any, connection: Any) -> ServerTarget:
    return ServerTarget(
        _LIB,
        module,
        connection.host,
        connection.port,
        connection.unix_socket,
        connection.db,
        lambda of: not of.closed,
        is_async=True,
    )


def _connect_over(original: Function, connection: Any, wire: Wire) -> AppStep:
    wire.greet()
    internals.leads_to(connection, wire)
    return AppStep(original, connection)


def _opening_stream(original: Function) -> Function:
    """A connection opens its stream."""

    def begin(_: BaseSession | None, path: Any = None, **__: Any) -> Done | None:
        # Both ends of it are one object.
        return Done((path.wire, path.wire)) if isinstance(path, internals.WirePath) else None

    return guarded_async(_LIB, original, begin)
