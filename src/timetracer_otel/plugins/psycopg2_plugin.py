"""The plugin of psycopg2 under the name that the public contract promises."""

from timetracer_otel.libraries.psycopg2 import disable_psycopg2, enable_psycopg2, plugin

__all__ = ["disable_psycopg2", "enable_psycopg2", "plugin"]
