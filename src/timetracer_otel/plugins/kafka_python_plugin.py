"""The plugin of kafka-python under the name that the public contract promises."""

from timetracer_otel.libraries.kafka_python import disable_kafka_python, enable_kafka_python, plugin

__all__ = ["disable_kafka_python", "enable_kafka_python", "plugin"]
