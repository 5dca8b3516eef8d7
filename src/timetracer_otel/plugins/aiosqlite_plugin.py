"""The plugin of aiosqlite under the name that the public contract promises."""

from timetracer_otel.libraries.aiosqlite import disable_aiosqlite, enable_aiosqlite, plugin

__all__ = ["disable_aiosqlite", "enable_aiosqlite", "plugin"]
