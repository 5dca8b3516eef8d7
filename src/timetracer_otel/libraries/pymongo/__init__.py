"""pymongo (4.13 and later) and what stands on it, such as Motor: commands of blocking and asyncio clients.

The seam is where one message goes out over a connection, and where one comes in. Cursors, sessions, transactions,
retries, GridFS and decoding run for real in a replay. So does the choice of a server, among those that the recorded
client knew. See ``docs/pymongo.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.pymongo.private_names import RELIED_UPON
from timetracer_otel.libraries.pymongo.secrets import FORM

__all__ = ["disable_motor", "disable_pymongo", "enable_motor", "enable_pymongo", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.pymongo.seams import patches

    return patches(module)


plugin: LibraryPlugin = LibraryPlugin(
    name="pymongo",
    group="nosql",
    modules=("pymongo",),
    packages=("pymongo", "motor"),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=FORM,
    rests=True,
    knows={"pymongo": "4.13 to 4.20"},
    instrumentors=("opentelemetry.instrumentation.pymongo:PymongoInstrumentor",),
)


def enable_pymongo() -> None:
    """Let sessions record and replay the commands of MongoDB clients, also of clients that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own pymongo instrumentation on, that is
    switched on too. It sees the clients that are made from then on. Harmless when repeated, in any order with that
    instrumentation.

    Raises:
        PluginNotFoundError: pymongo is not installed.
    """
    plugin.enable()


def disable_pymongo() -> None:
    """Undo `enable_pymongo`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()


enable_motor = enable_pymongo
"""The same: Motor makes its calls by pymongo. The name is that of timetracer 1.6."""
disable_motor = disable_pymongo
"""The same as `disable_pymongo`."""
