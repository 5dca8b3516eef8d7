"""The plugin of websocket-client under the name that the public contract promises."""

from timetracer_otel.libraries.websocket_client import disable_websocket_client, enable_websocket_client, plugin

__all__ = ["disable_websocket_client", "enable_websocket_client", "plugin"]
