"""urllib3 (1.26 and 2.x): the attempts of its pools, one by one.

The seam is ``HTTPConnectionPool._make_request``, once for each attempt: retries, redirects, pooling and decoding run
for real in a replay, and so does the attempt, over what stands for its socket. What a library above urllib3 asks
through it is that library's call, where it has a plugin (requests).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.base.patching import Patch
from timetracer_otel.calls import hooks
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.urllib3.private_names import ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_urllib3", "enable_urllib3", "plugin"]

_LIB = "urllib3"


def _patches(module: ModuleType) -> Sequence[Patch]:
    from timetracer_otel.libraries.urllib3.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=("urllib3.connectionpool",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"urllib3.connectionpool": ENTRY_POINTS},
    packages=("urllib3",),
    captures=lambda: not hooks.carries_telemetry(),
    rests=True,
    knows={"urllib3": "1.26 to 2.8", "Python": "3.10 to 3.14"},
    instrumentors=("opentelemetry.instrumentation.urllib3:URLLib3Instrumentor",),
)


def enable_urllib3() -> None:
    """Let sessions record and replay calls of urllib3, also of its pools that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own urllib3 instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: urllib3 is not installed.
    """
    plugin.enable()


def disable_urllib3() -> None:
    """Undo `enable_urllib3`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
