"""The plugin of Redis under the name that the public contract promises."""

from timetracer_otel.libraries.redis import disable_redis, enable_redis, plugin

__all__ = ["disable_redis", "enable_redis", "plugin"]
