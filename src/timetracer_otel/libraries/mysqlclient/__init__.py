"""mysqlclient, used by an app itself: the statements of each connection.

The seams are those of all MySQL drivers (``libraries/kits/mysql``), but for what a connection in C does: it keeps the
result that the cursor then asks it for. In a replay a connection is of a class that is derived of the driver's or the
app's, and reaches no C library. See ``docs/mysql.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.registry import Connector
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.libraries.mysqlclient.internals import MODULE, RELIED_UPON

__all__ = ["disable_mysqlclient", "enable_mysqlclient", "plugin"]

_LIB = "mysqlclient"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.mysqlclient.seams import patches

    return patches(module)


def _connectors(_: ModuleType) -> Sequence[Connector]:
    from timetracer_otel.libraries.mysqlclient.seams import CONNECTORS

    return CONNECTORS


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=(MODULE,),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    connectors={"MySQLdb.connections": _connectors},
    knows={"mysqlclient": "2.2 to 2.3"},
    instrumentors=("opentelemetry.instrumentation.mysqlclient:MySQLClientInstrumentor",),
)


def enable_mysqlclient() -> None:
    """Let sessions record and replay what connections of mysqlclient execute.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own mysqlclient instrumentation on, that
    is switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: mysqlclient is not installed.
    """
    plugin.enable()


def disable_mysqlclient() -> None:
    """Undo `enable_mysqlclient`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
