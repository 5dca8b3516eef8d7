"""`http.client` of Python's standard library, and what stands on it: ``urllib.request``, ``xmlrpc.client``, httplib2.

The seam is the connection (``HTTPConnection``), one event for each request: redirects, cookies, auth and decoding run
for real in a replay, and so does `http.client` itself, over a connection that reaches no server. What urllib3 asks
through it is that library's call. The plugin has the name of OpenTelemetry's instrumentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Undoable
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.registry import Connector
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.urllib.private_names import ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_urllib", "enable_urllib", "plugin"]

_LIB = "urllib"


def _patches(module: ModuleType) -> Sequence[Undoable]:
    from timetracer_otel.libraries.urllib.seams import patches

    return patches(module)


def _connectors(_: ModuleType) -> Sequence[Connector]:
    # A connection that is kept alive connects no more. Those of urllib3, and so of boto3, are none of this plugin's:
    # where urllib3 has no plugin that is switched on, they are refused when they are used again.
    def address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        from timetracer_otel.libraries.kits.http1.stand_in_sockets import StandIn
        from timetracer_otel.libraries.urllib.internals import address_of, is_of_urllib3

        connection = args[0]
        socket = getattr(connection, "sock", None)
        is_open = socket is not None and not isinstance(socket, StandIn)
        return address_of(connection) if is_open and is_of_urllib3(type(connection)) else None

    return [Connector("HTTPConnection.putrequest", address, is_open=True)]


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=("http.client",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"http.client": ENTRY_POINTS},
    # Not "http" as a whole: that is Python's own server as well, on whose stack an app may connect.
    packages=("http.client", "urllib"),
    connectors={"http.client": _connectors},
    rests=True,
    knows={"Python": "3.10 to 3.14"},
    instrumentors=("opentelemetry.instrumentation.urllib:URLLibInstrumentor",),
)


def enable_urllib() -> None:
    """Let sessions record and replay the requests of `http.client`, and so of ``urllib.request``, also over
    connections that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own urllib instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.
    """
    plugin.enable()


def disable_urllib() -> None:
    """Undo `enable_urllib`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
