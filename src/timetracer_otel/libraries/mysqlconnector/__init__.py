"""mysql-connector-python (``mysql.connector``), used by an app itself: the statements of each connection.

The seams are those of MySQL's connections in both of its implementations, beneath its cursors. In a replay a
connection is the driver's own object over a stand-in for its handle in C, and its cursors run for real. See
``docs/mysql.md``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.exceptions import PluginNotFoundError
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.libraries.mysqlconnector.internals import LIB, MODULE, RELIED_UPON, WITH_ASYNCIO

__all__ = ["disable_mysqlconnector", "enable_mysqlconnector", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.mysqlconnector.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=LIB,
    group="db",
    modules=(MODULE, WITH_ASYNCIO),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"mysql-connector-python": "26.10"},
    instrumentors=("opentelemetry.instrumentation.mysql:MySQLInstrumentor",),
    newer_than_declared=True,
)


def enable_mysqlconnector() -> None:
    """Let sessions record and replay what connections of mysql-connector-python execute.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own mysql instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: mysql-connector-python is not installed.
    """
    if importlib.util.find_spec("mysql") is None or importlib.util.find_spec(MODULE) is None:
        raise PluginNotFoundError(LIB)
    plugin.enable()


def disable_mysqlconnector() -> None:
    """Undo `enable_mysqlconnector`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
