"""The names of websockets that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from timetracer_otel.calls.refusals import EntryPoint

__all__ = ["BEFORE_17", "ENTRY_POINTS", "RELIED_UPON"]

_ASYNC: Final = "websockets.asyncio.client"
_BLOCKING: Final = "websockets.sync.client"

RELIED_UPON: Final[Mapping[str, Sequence[str]]] = {
    _ASYNC: (
        f"{_ASYNC}:ClientConnection.connection_lost",
        f"{_ASYNC}:ClientConnection.connection_made",
        f"{_ASYNC}:ClientConnection.data_received",
        f"{_ASYNC}:ClientConnection.eof_received",
        f"{_ASYNC}:ClientConnection.handshake",
        f"{_ASYNC}:ClientProtocol.connect",
        f"{_ASYNC}:parse_uri",
    ),
    _BLOCKING: (
        f"{_BLOCKING}:ClientConnection.__init__",
        f"{_BLOCKING}:ClientConnection.handshake",
        f"{_BLOCKING}:reconnect.enable_tls",
        f"{_BLOCKING}:reconnect.open_connection",
        f"{_BLOCKING}:reconnect.open_socket",
    ),
}
"""By module."""
BEFORE_17: Final[Sequence[str]] = (
    f"{_BLOCKING}:ClientConnection.__init__",
    f"{_BLOCKING}:ClientConnection.handshake",
    *(f"{_BLOCKING}:connect({name})" for name in ("uri", "sock", "ssl", "additional_headers", "user_agent_header")),
)
"""Of the blocking client before 17, which is a function."""

ENTRY_POINTS: Final[Mapping[str, Sequence[EntryPoint]]] = {
    _ASYNC: [(f"{_ASYNC}:connect.__await__ __aenter__ __aiter__",)],
    _BLOCKING: [(f"{_BLOCKING}:reconnect.connect", f"{_BLOCKING}:ClientConnection.handshake")],
}
"""Where calls are refused in a replay if the plugin cannot see them."""
