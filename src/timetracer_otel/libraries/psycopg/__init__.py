"""psycopg (3), used by an app itself: the statements of each connection that it opens.

The seams are the generators that blocking and asyncio connections of psycopg have in common, beneath OpenTelemetry's
span. In a replay a connection is psycopg's own object over a stand-in for libpq's connection: cursors, row factories
and transactions run for real. See ``docs/psycopg.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT
from timetracer_otel.libraries.psycopg.internals import RELIED_UPON

__all__ = ["disable_psycopg", "enable_psycopg", "plugin"]

_LIB = "psycopg"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.psycopg.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("psycopg",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"psycopg": "3.1 to 3.3"},
    instrumentors=("opentelemetry.instrumentation.psycopg:PsycopgInstrumentor",),
)


def enable_psycopg() -> None:
    """Let sessions record and replay what connections of psycopg execute, of those that are opened from now on.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own psycopg instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: psycopg is not installed.
    """
    plugin.enable()


def disable_psycopg() -> None:
    """Undo `enable_psycopg`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
