"""The plugin of asyncpg under the name that the public contract promises."""

from timetracer_otel.libraries.asyncpg import disable_asyncpg, enable_asyncpg, plugin

__all__ = ["disable_asyncpg", "enable_asyncpg", "plugin"]
