"""The plugin of confluent-kafka under the name that the public contract promises."""

from timetracer_otel.libraries.confluent_kafka import disable_confluent_kafka, enable_confluent_kafka, plugin

__all__ = ["disable_confluent_kafka", "enable_confluent_kafka", "plugin"]
