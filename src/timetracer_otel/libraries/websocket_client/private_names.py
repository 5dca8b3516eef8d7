"""The names of websocket-client that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["ENTRY_POINTS", "RELIED_UPON"]

RELIED_UPON: Final = (
    "websocket._core:WebSocket.close",
    "websocket._core:WebSocket.connect",
    "websocket._core:WebSocket.recv_frame",
    "websocket._core:WebSocket.send_frame",
    "websocket._core:connect(socket)",
    "websocket._handshake:_get_handshake_headers(options)",
    "websocket._url:parse_url",
)

ENTRY_POINTS: Final = (("websocket._core:WebSocket.connect",),)
"""Where calls are refused in a replay if the plugin cannot see them."""
