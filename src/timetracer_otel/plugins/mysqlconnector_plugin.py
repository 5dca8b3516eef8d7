"""The plugin of mysqlconnector under the name that the public contract promises."""

from timetracer_otel.libraries.mysqlconnector import disable_mysqlconnector, enable_mysqlconnector, plugin

__all__ = ["disable_mysqlconnector", "enable_mysqlconnector", "plugin"]
