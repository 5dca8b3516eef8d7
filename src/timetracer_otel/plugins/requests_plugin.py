"""The plugin of requests under the name that the public contract promises."""

from timetracer_otel.libraries.requests import disable_requests, enable_requests, plugin

__all__ = ["disable_requests", "enable_requests", "plugin"]
