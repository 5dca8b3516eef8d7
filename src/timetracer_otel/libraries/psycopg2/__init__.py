"""psycopg2, used by an app itself: the statements of each connection that it opens.

The seam is ``psycopg2.connect``: it gives a connection of a class that is derived of psycopg2's, or of the app's own,
and whose cursors are derived likewise. In a replay the connection is a real one, too: the other end of its socket is
ours. See ``docs/psycopg2.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.libraries.psycopg2.internals import RELIED_UPON, traced_cursor

__all__ = ["disable_psycopg2", "enable_psycopg2", "plugin"]

_LIB = "psycopg2"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.psycopg2.seams import patches

    return patches(module)


def _captures() -> bool:
    from timetracer_otel.libraries.psycopg2.cursor import NotedCursor, notes_of

    cursor = traced_cursor()
    return cursor is None or (isinstance(cursor, NotedCursor) and notes_of(cursor) is not None)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("psycopg2",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    captures=_captures,
    form=STATEMENT,
    knows={"psycopg2": "2.9"},
    instrumentors=("opentelemetry.instrumentation.psycopg2:Psycopg2Instrumentor",),
)


def enable_psycopg2() -> None:
    """Let sessions record and replay what connections of psycopg2 execute, of those that are opened from now on.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own psycopg2 instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: psycopg2 is not installed.
    """
    plugin.enable()


def disable_psycopg2() -> None:
    """Undo `enable_psycopg2`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
