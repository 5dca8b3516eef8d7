"""httpx (0.27 and newer) and httpx2: the calls of their network transports, sync and async.

The seam is the transport's own request method. Redirects, auth, cookies and decoding happen above it, and run for
real in a replay. Transports that answer within the process (mock, ASGI, WSGI) use no network and are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.base.patching import Patch
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.httpx.internals import ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_httpx", "enable_httpx", "plugin"]

_LIB = "httpx"
_MODULES = ("httpx", "httpx2")
_RELIED_UPON = {module: [f"{module}:{name}" for name in RELIED_UPON] for module in _MODULES}


def _patches(module: ModuleType) -> Sequence[Patch]:
    from timetracer_otel.libraries.httpx.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=_MODULES,
    patches=_patches,
    check=lambda module: missing_names(_RELIED_UPON[module.__name__]),
    entry_points={module: [[f"{module}:{name}" for name in names] for names in ENTRY_POINTS] for module in _MODULES},
    rests=True,
    knows={"httpx": "0.27 to 0.28", "httpx2": "2.3 to 2.16"},
    instrumentors=(
        "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor",
        "opentelemetry.instrumentation.httpx:HTTPX2ClientInstrumentor",
    ),
)


def enable_httpx() -> None:
    """Let sessions record and replay httpx (and httpx2) calls, also of clients that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own httpx instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: Neither httpx nor httpx2 is installed.
    """
    plugin.enable()


def disable_httpx() -> None:
    """Undo `enable_httpx`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
