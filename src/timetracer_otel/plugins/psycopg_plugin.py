"""The plugin of psycopg under the name that the public contract promises."""

from timetracer_otel.libraries.psycopg import disable_psycopg, enable_psycopg, plugin

__all__ = ["disable_psycopg", "enable_psycopg", "plugin"]
