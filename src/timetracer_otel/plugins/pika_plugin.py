"""The plugin of pika under the name that the public contract promises."""

from timetracer_otel.libraries.pika import disable_pika, enable_pika, plugin

__all__ = ["disable_pika", "enable_pika", "plugin"]
