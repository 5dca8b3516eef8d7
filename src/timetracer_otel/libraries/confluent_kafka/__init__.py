"""confluent-kafka (2.13.2 and later): what apps send to a Kafka cluster, and what becomes of it.

The seam is the methods of its classes, which are written in C: they are replaced in place. In a replay, producers and
consumers are its own, and know of no broker. See ``docs/messaging.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.libraries.confluent_kafka.private_names import RELIED_UPON
from timetracer_otel.libraries.kits.kafka.form import FORM

__all__ = ["disable_confluent_kafka", "enable_confluent_kafka", "plugin"]


def _patches(module: ModuleType) -> Sequence[Any]:
    from timetracer_otel.libraries.confluent_kafka.seams import patches

    return patches()


def _missing(module: ModuleType) -> Sequence[str]:
    from timetracer_otel.libraries.confluent_kafka.internals import unusable

    return missing_names(RELIED_UPON) or unusable(module)


plugin: LibraryPlugin = LibraryPlugin(
    name="confluent_kafka",
    group="messaging",
    modules=("confluent_kafka",),
    patches=_patches,
    check=_missing,
    form=FORM,
    knows={"confluent-kafka": "2.13.2 to 2.16"},
    instrumentors=("opentelemetry.instrumentation.confluent_kafka:ConfluentKafkaInstrumentor",),
)


def enable_confluent_kafka() -> None:
    """Let sessions record and replay what confluent-kafka's producers send, also those that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own instrumentation of confluent-kafka
    on, that is switched on too. It sees producers of classes that the app takes from the module from then on.

    Raises:
        PluginNotFoundError: confluent-kafka is not installed.
    """
    plugin.enable()


def disable_confluent_kafka() -> None:
    """Undo `enable_confluent_kafka`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
    seams = sys.modules.get(f"{__name__}.seams")
    if seams is not None and not plugin.is_on:
        seams.notes.end()
