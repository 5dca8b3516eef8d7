"""The plugin of aio-pika under the name that the public contract promises."""

from timetracer_otel.libraries.aio_pika import disable_aio_pika, enable_aio_pika, plugin

__all__ = ["disable_aio_pika", "enable_aio_pika", "plugin"]
