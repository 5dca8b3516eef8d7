"""The plugin of websockets under the name that the public contract promises."""

from timetracer_otel.libraries.websockets import disable_websockets, enable_websockets, plugin

__all__ = ["disable_websockets", "enable_websockets", "plugin"]
