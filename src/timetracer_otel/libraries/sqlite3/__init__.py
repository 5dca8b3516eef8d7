"""sqlite3, used by an app itself: the statements of each connection that it opens.

The seam is ``sqlite3.connect``: it gives a connection of a class that is derived of sqlite3's, whose cursors are
recorded. In a replay that connection reaches no file. See ``docs/sqlite3.md``. Cursors, answers and errors are those
of the kit (``libraries/kits/dbapi``); this folder states what only sqlite3 has.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.libraries.sqlite3.internals import RELIED_UPON

__all__ = ["disable_sqlite3", "enable_sqlite3", "plugin"]

_LIB = "sqlite3"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.sqlite3.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("sqlite3",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    knows={"Python": "3.10 to 3.14"},
    rests=True,
    instrumentors=("opentelemetry.instrumentation.sqlite3:SQLite3Instrumentor",),
)


def enable_sqlite3() -> None:
    """Let sessions record and replay what connections of sqlite3 execute, of those that are opened from now on.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own sqlite3 instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: This Python was built without sqlite3.
    """
    plugin.enable()


def disable_sqlite3() -> None:
    """Undo `enable_sqlite3`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
