"""requests (2.31 and newer): the calls of its adapters, one by one.

The seam is ``HTTPAdapter.send``, once for each hop: redirects, cookies, auth, hooks and decoding run for real in a
replay. Retries that are mounted on an adapter happen beneath the seam, within one event.

An adapter of the user's may have a ``send`` of its own. What comes of its calls tells where they are recorded:

- one that hands its calls on to an ``HTTPAdapter`` is recorded there;
- one that asks a server through urllib3 itself is recorded where it is;
- one that answers within the process is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.base.patching import Patch
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.requests.private_names import ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_requests", "enable_requests", "plugin"]

_LIB = "requests"


def _patches(module: ModuleType) -> Sequence[Patch]:
    from timetracer_otel.libraries.requests.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=("requests",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"requests": ENTRY_POINTS},
    rests=True,
    knows={"requests": "2.31 to 2.34", "urllib3": "1.26 to 2.8", "Python": "3.10 to 3.14"},
    instrumentors=("opentelemetry.instrumentation.requests:RequestsInstrumentor",),
)


def enable_requests() -> None:
    """Let sessions record and replay calls of requests, also of its sessions that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own requests instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: requests is not installed.
    """
    plugin.enable()


def disable_requests() -> None:
    """Undo `enable_requests`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
