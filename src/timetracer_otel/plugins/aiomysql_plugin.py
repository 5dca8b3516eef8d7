"""The plugin of aiomysql under the name that the public contract promises."""

from timetracer_otel.libraries.aiomysql import disable_aiomysql, enable_aiomysql, plugin

__all__ = ["disable_aiomysql", "enable_aiomysql", "plugin"]
