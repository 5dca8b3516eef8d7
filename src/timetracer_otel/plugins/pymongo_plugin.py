"""The plugin of pymongo under the name that the public contract promises."""

from timetracer_otel.libraries.pymongo import disable_pymongo, enable_pymongo, plugin

__all__ = ["disable_pymongo", "enable_pymongo", "plugin"]
