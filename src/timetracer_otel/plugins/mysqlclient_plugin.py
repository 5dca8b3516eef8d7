"""The plugin of mysqlclient under the name that the public contract promises."""

from timetracer_otel.libraries.mysqlclient import disable_mysqlclient, enable_mysqlclient, plugin

__all__ = ["disable_mysqlclient", "enable_mysqlclient", "plugin"]
