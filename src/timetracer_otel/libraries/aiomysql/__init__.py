"""aiomysql, used by an app itself: the statements of each connection.

The seams are those of all MySQL drivers (``libraries/kits/mysql``). In a replay a connection is aiomysql's own
object over a stand-in for its stream, and its cursors run for real. See ``docs/mysql.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.aiomysql.internals import RELIED_UPON
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT

__all__ = ["disable_aiomysql", "enable_aiomysql", "plugin"]

_LIB = "aiomysql"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.aiomysql.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("aiomysql",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"aiomysql": "0.2 to 0.3"},
)


def enable_aiomysql() -> None:
    """Let sessions record and replay what connections of aiomysql execute.

    OpenTelemetry has no instrumentation of it. Harmless when repeated.

    Raises:
        PluginNotFoundError: aiomysql is not installed.
    """
    plugin.enable()


def disable_aiomysql() -> None:
    """Undo `enable_aiomysql`."""
    plugin.disable()
