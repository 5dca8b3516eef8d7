"""asyncpg, used by an app itself: what each connection that it opens asks its server.

The seam is the protocol beneath asyncpg's connections. In a replay a connection is asyncpg's own object over a
stand-in for its transport, which speaks PostgreSQL's protocol: codecs, records, cursors, transactions, notices and
pools run for real. See ``docs/asyncpg.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.asyncpg.internals import RELIED_UPON
from timetracer_otel.libraries.kits.dbapi.secrets import STATEMENT

__all__ = ["disable_asyncpg", "enable_asyncpg", "plugin"]

_LIB = "asyncpg"


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.asyncpg.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=("asyncpg",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=STATEMENT,
    rests=True,
    knows={"asyncpg": "0.29 to 0.32"},
    instrumentors=("opentelemetry.instrumentation.asyncpg:AsyncPGInstrumentor",),
)


def enable_asyncpg() -> None:
    """Let sessions record and replay what connections of asyncpg ask their server, of those opened from now on.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own asyncpg instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: asyncpg is not installed.
    """
    plugin.enable()


def disable_asyncpg() -> None:
    """Undo `enable_asyncpg`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
