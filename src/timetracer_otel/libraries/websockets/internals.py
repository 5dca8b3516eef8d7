"""What websockets does not promise in its manual, and we rely upon (seen in 15 to 17)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.uri import parse_uri

__all__ = ["NEW_STREAM", "connection_of", "handshake_lines", "protocol_of", "uri_of"]

NEW_STREAM = ("open_tcp_connection", "create_connection")
"""The method of ``connect`` that opens a connection of asyncio, by its name from 17 on, and before."""


def uri_of(connecter: Any) -> str:
    """Where what connects is about to connect. It follows redirects."""
    return str(connecter.uri)


def connection_of(connecter: Any) -> Any:
    """A connection of asyncio that is connected with nobody yet."""
    make = connecter.factory if hasattr(connecter, "factory") else connecter.protocol_factory
    return make(parse_uri(connecter.uri))


def protocol_of(connecter: Any) -> Any:
    """The protocol of a blocking connection that is not made."""
    return ClientProtocol(connecter.ws_uri, **connecter.protocol_kwargs)


def handshake_lines(connecter: Any, protocol: Any) -> Sequence[tuple[str, str]]:
    """The header lines of the opening handshake, as ``handshake`` makes them."""
    headers = Headers(protocol.connect().headers)
    if connecter.additional_headers is not None:
        headers.update(connecter.additional_headers)
    if connecter.user_agent_header is not None:
        headers.setdefault("User-Agent", connecter.user_agent_header)
    return list(headers.raw_items())
