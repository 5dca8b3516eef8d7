"""The plugin of asyncmy under the name that the public contract promises."""

from timetracer_otel.libraries.asyncmy import disable_asyncmy, enable_asyncmy, plugin

__all__ = ["disable_asyncmy", "enable_asyncmy", "plugin"]
