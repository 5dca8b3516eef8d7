"""aiosqlite, used by an app itself: the statements of each connection that it opens.

aiosqlite has a thread for each connection, which calls sqlite3. So the plugin of sqlite3 notes and answers, and this
one takes the session of the task that waits to that thread. See ``docs/sqlite3.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.aiosqlite.internals import RELIED_UPON
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT

__all__ = ["disable_aiosqlite", "enable_aiosqlite", "plugin"]

_LIB = "aiosqlite"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.aiosqlite.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("aiosqlite.core",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    knows={"aiosqlite": "0.20 to 0.22"},
    stands_on=("sqlite3",),
    rests=True,
)


def enable_aiosqlite() -> None:
    """Let sessions record and replay what connections of aiosqlite execute, of those that are opened from now on.

    It switches the plugin of sqlite3 on as well, which aiosqlite stands on, and OpenTelemetry's instrumentation of
    sqlite3 where a real tracer provider is set: there is none for aiosqlite. Harmless when repeated.

    Raises:
        PluginNotFoundError: aiosqlite is not installed.
    """
    plugin.enable()


def disable_aiosqlite() -> None:
    """Undo `enable_aiosqlite`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
