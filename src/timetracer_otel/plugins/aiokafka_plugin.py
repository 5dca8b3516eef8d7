"""The plugin of aiokafka under the name that the public contract promises."""

from timetracer_otel.libraries.aiokafka import disable_aiokafka, enable_aiokafka, plugin

__all__ = ["disable_aiokafka", "enable_aiokafka", "plugin"]
