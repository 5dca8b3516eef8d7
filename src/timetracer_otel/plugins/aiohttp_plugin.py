"""The plugin of aiohttp under the name that the public contract promises."""

from timetracer_otel.libraries.aiohttp import disable_aiohttp, enable_aiohttp, plugin

__all__ = ["disable_aiohttp", "enable_aiohttp", "plugin"]
