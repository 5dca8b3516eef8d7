"""pika (1.3 and later): what apps send to a broker of AMQP 0-9-1, by all of its adapters, and what comes back.

The seam is where a connection sends a method, and where a frame comes in. Channels, callbacks, confirmations and
errors of pika stand above it, and run for real in a replay. See ``docs/messaging.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.kits.amqp.form import FORM
from timetracer_otel.libraries.pika.private_names import RELIED_UPON

__all__ = ["disable_pika", "enable_pika", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.pika.seams import patches

    return patches()


plugin: LibraryPlugin = LibraryPlugin(
    name="pika",
    group="messaging",
    modules=("pika",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=FORM,
    knows={"pika": "1.3 to 1.4"},
    instrumentors=("opentelemetry.instrumentation.pika:PikaInstrumentor",),
)


def enable_pika() -> None:
    """Let sessions record and replay what pika's channels send, also those of connections that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own pika instrumentation on, that is
    switched on too. It sees the channels that are opened from then on. Harmless when repeated, in any order with that
    instrumentation.

    Raises:
        PluginNotFoundError: pika is not installed.
    """
    plugin.enable()


def disable_pika() -> None:
    """Undo `enable_pika`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
