"""websockets (15 and newer): its clients for asyncio, and its blocking ones.

The seam is where a client opens its connection, and the bytes that go over it. The opening handshake, redirects,
extensions, pings and their clock, closing and its timeouts are the library's own, and run for real in a replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType

from timetracer_otel.base.patching import Undoable
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.websockets.private_names import BEFORE_17, ENTRY_POINTS, RELIED_UPON

__all__ = ["disable_websockets", "enable_websockets", "plugin"]


def _patches(module: ModuleType) -> Sequence[Undoable]:
    from timetracer_otel.libraries.websockets.seams import patches

    return patches(module)


def _missing(module: ModuleType) -> Iterable[str]:
    from timetracer_otel.libraries.websockets.internals import connects_by_function

    return missing_names(BEFORE_17 if connects_by_function(module) else RELIED_UPON[module.__name__])


plugin: LibraryPlugin = LibraryPlugin(
    name="websockets",
    group="ws",
    modules=tuple(RELIED_UPON),
    patches=_patches,
    check=_missing,
    entry_points=ENTRY_POINTS,
    rests=True,
    knows={"websockets": "15 to 17.4"},
)


def enable_websockets() -> None:
    """Let sessions record and replay the connections that clients of websockets open in them.

    OpenTelemetry does not instrument websockets. In a session, where a real tracer provider is set, each opening
    handshake gets a client span of ours.

    Raises:
        PluginNotFoundError: websockets is not installed.
    """
    plugin.enable()


def disable_websockets() -> None:
    """Undo `enable_websockets`."""
    plugin.disable()
