"""pymysql, used by an app itself: the statements of each connection.

The seams are those of all MySQL drivers (``libraries/kits/mysql``). In a replay a connection is pymysql's own object
over a stand-in for its socket, and its cursors run for real. See ``docs/mysql.md``.
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
from timetracer_otel.libraries.pymysql.internals import RELIED_UPON

__all__ = ["disable_pymysql", "enable_pymysql", "plugin"]

_LIB = "pymysql"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.pymysql.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("pymysql",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"pymysql": "1.1"},
    instrumentors=("opentelemetry.instrumentation.pymysql:PyMySQLInstrumentor",),
)


def enable_pymysql() -> None:
    """Let sessions record and replay what connections of pymysql execute.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own pymysql instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: pymysql is not installed.
    """
    if importlib.util.find_spec(_LIB) is None:
        raise PluginNotFoundError(_LIB)
    plugin.enable()


def disable_pymysql() -> None:
    """Undo `enable_pymysql`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
