"""Where pymysql is patched, and what it calls things."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Undoable
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.libraries.kits.mysql.call import ServerTarget
from timetracer_otel.libraries.kits.mysql.in_python import PythonDriver, PythonSeams
from timetracer_otel.libraries.kits.mysql.wire import Wire
from timetracer_otel.libraries.pymysql import internals

__all__ = ["patches"]

_LIB = "pymysql"


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``pymysql``."""
    connections: Any = importlib.import_module(f"{module.__name__}.connections")
    cursors: Any = importlib.import_module(f"{module.__name__}.cursors")
    driver = PythonDriver(
        lib=_LIB,
        target_of=lambda connection: _target_of(module, connection),
        facts_of=internals.facts_of,
        connect_over=_connect_over,
        result_for=lambda _: connections.MySQLResult(None),
        close=internals.close,
        usual_decoders=set(module.converters.conversions.values()),
    )
    return PythonSeams(driver, connections.Connection, cursors.Cursor, connections.MySQLResult).patches()


def _target_of(module: Any, connection: Any) -> ServerTarget:
    return ServerTarget(
        _LIB,
        module,
        connection.host,
        connection.port,
        connection.unix_socket,
        connection.db,
        lambda of: bool(of.open),
    )


def _connect_over(original: Function, connection: Any, wire: Wire) -> AppStep:
    wire.greet()
    return AppStep(original, connection, wire)
