"""aiokafka (0.13 and later): what apps send to a Kafka cluster, and what becomes of it.

The seam is where a producer is given a message, and what else it is asked. Serializers run for real in a replay, and
partitioners do not. See ``docs/messaging.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.aiokafka.private_names import RELIED_UPON
from timetracer_otel.libraries.kits.kafka.form import FORM

__all__ = ["disable_aiokafka", "enable_aiokafka", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.aiokafka.seams import patches

    return patches()


plugin: LibraryPlugin = LibraryPlugin(
    name="aiokafka",
    group="messaging",
    modules=("aiokafka",),
    patches=_patches,
    check=lambda _: missing_names(RELIED_UPON),
    form=FORM,
    knows={"aiokafka": "0.13 to 0.14"},
    instrumentors=("opentelemetry.instrumentation.aiokafka:AIOKafkaInstrumentor",),
)


def enable_aiokafka() -> None:
    """Let sessions record and replay what aiokafka's producers send, also those that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own aiokafka instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: aiokafka is not installed.
    """
    plugin.enable()


def disable_aiokafka() -> None:
    """Undo `enable_aiokafka`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
