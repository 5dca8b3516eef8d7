"""aiohttp (3.12 and newer): the calls of its client, one by one.

The seam is a client middleware of ours, innermost in every call of every session: once for each hop and each try,
beneath redirects, cookies, digest auth and the user's own middlewares, which all run for real in a replay. A second
seam is at the connection: a recording notes what aiohttp's parser is given, and a replay gives it to the same parser.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.base.patching import Patch
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.libraries.aiohttp.private_names import ENTRY_POINTS, missing

__all__ = ["disable_aiohttp", "enable_aiohttp", "plugin"]

_LIB = "aiohttp"


def _patches(module: ModuleType) -> Sequence[Patch]:
    from timetracer_otel.libraries.aiohttp.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=("aiohttp",),
    patches=_patches,
    check=missing,
    entry_points={"aiohttp": ENTRY_POINTS},
    rests=True,
    knows={"aiohttp": "3.12 to 3.14"},
    instrumentors=("opentelemetry.instrumentation.aiohttp_client:AioHttpClientInstrumentor",),
)


def enable_aiohttp() -> None:
    """Let sessions record and replay aiohttp client calls, also of client sessions that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own aiohttp-client instrumentation on,
    that is switched on too; it sees client sessions made from then on. Harmless when repeated, in any order with
    that instrumentation.

    Raises:
        PluginNotFoundError: aiohttp is not installed.
    """
    plugin.enable()


def disable_aiohttp() -> None:
    """Undo `enable_aiohttp`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
