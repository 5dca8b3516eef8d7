"""The plugin of sqlite3 under the name that the public contract promises."""

from timetracer_otel.libraries.sqlite3 import disable_sqlite3, enable_sqlite3, plugin

__all__ = ["disable_sqlite3", "enable_sqlite3", "plugin"]
