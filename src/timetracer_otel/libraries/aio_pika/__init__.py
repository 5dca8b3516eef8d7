"""aio-pika (9.6 and later) and aiormq, on which it stands: what apps send to a broker of AMQP 0-9-1, and what comes
back.

The seam is where a channel of aiormq sends a method, and where it reads a frame. Exchanges, queues, confirmations,
robust connections and errors stand above it, and run for real in a replay. See ``docs/messaging.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.aio_pika.private_names import RELIED_UPON
from timetracer_otel.libraries.kits.amqp.form import FORM

__all__ = ["disable_aio_pika", "enable_aio_pika", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.aio_pika.seams import patches

    return patches()


plugin: LibraryPlugin = LibraryPlugin(
    name="aio_pika",
    group="messaging",
    modules=("aiormq",),
    packages=("aio_pika", "aiormq"),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=FORM,
    rests=True,
    knows={"aiormq": "6.9 to 7.2"},
    instrumentors=("opentelemetry.instrumentation.aio_pika:AioPikaInstrumentor",),
)


def enable_aio_pika() -> None:
    """Let sessions record and replay what channels of aio-pika and aiormq send, also those that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own aio-pika instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: aiormq is not installed.
    """
    plugin.enable()


def disable_aio_pika() -> None:
    """Undo `enable_aio_pika`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
