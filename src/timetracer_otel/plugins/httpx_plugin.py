"""The plugin of httpx under the name that the public contract promises."""

from timetracer_otel.libraries.httpx import disable_httpx, enable_httpx, plugin

__all__ = ["disable_httpx", "enable_httpx", "plugin"]
