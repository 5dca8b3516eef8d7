"""redis-py (5 to 8): the commands of its connections, sync and asyncio, single servers, sentinels and clusters.

The seam lies beneath the clients: what a connection sends, and what its parser reads. Response callbacks, retries,
redirections, transactions, scripts and subscriptions run for real in replay. Handshakes and health checks belong
to the call that needed them and are not recorded.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.redis.internals import ENTRY_POINTS, RELIED_UPON, is_in_process
from timetracer_otel.libraries.redis.secrets import FORM

__all__ = ["disable_redis", "enable_redis", "plugin"]

_LIB = "redis"


def _patches(module: ModuleType) -> list[Any]:
    from timetracer_otel.libraries.redis.seams import patches

    return patches(module, plugin.activate, plugin.deactivate)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="redis",
    modules=("redis",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"redis": ENTRY_POINTS},
    concerns=lambda client: not is_in_process(client),
    form=FORM,
    rests=True,
    knows={"redis": "5.0 to 8.1"},
    instrumentors=("opentelemetry.instrumentation.redis:RedisInstrumentor",),
)


def enable_redis() -> None:
    """Let sessions record and replay Redis commands, also of clients that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own redis instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: redis-py is not installed.
    """
    plugin.enable()


def disable_redis() -> None:
    """Undo `enable_redis`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
