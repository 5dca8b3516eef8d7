"""The plugin of pymysql under the name that the public contract promises."""

from timetracer_otel.libraries.pymysql import disable_pymysql, enable_pymysql, plugin

__all__ = ["disable_pymysql", "enable_pymysql", "plugin"]
