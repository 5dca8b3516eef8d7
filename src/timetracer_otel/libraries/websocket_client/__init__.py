"""websocket-client (1.8 and newer): `WebSocket`, `create_connection`, and `WebSocketApp`.

The seam is where a connection is opened, and the bytes that go over its socket. The opening handshake, redirects,
pings and their clock, closing and its timeouts are the library's own, and run for real in a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.base.patching import Undoable
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.websocket_client.private_names import ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_websocket_client", "enable_websocket_client", "plugin"]


def _patches(module: ModuleType) -> Sequence[Undoable]:
    from timetracer_otel.libraries.websocket_client.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name="websocket_client",
    group="ws",
    modules=("websocket._core",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    entry_points={"websocket._core": ENTRY_POINTS},
    packages=("websocket",),
    rests=True,
    knows={"websocket-client": "1.8 and 1.9"},
)


def enable_websocket_client() -> None:
    """Let sessions record and replay the connections that websocket-client opens in them.

    OpenTelemetry does not instrument websocket-client. In a session, where a real tracer provider is set, each
    opening handshake gets a client span of ours.

    Raises:
        PluginNotFoundError: websocket-client is not installed.
    """
    plugin.enable()


def disable_websocket_client() -> None:
    """Undo `enable_websocket_client`."""
    plugin.disable()
