"""What websockets does not promise in its manual, and we rely upon (seen in 15 to 17)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import enable_client_permessage_deflate
from websockets.http11 import USER_AGENT
from websockets.uri import parse_uri

__all__ = [
    "NEW_STREAM",
    "Connecter",
    "connection_of",
    "connects_by_function",
    "handshake_lines",
    "on_socket",
    "protocol_of",
    "uri_of",
]

NEW_STREAM = ("open_tcp_connection", "create_connection")
"""The method of ``connect`` that opens a connection of asyncio, by its name from 17 on, and before."""


_OF_PROTOCOL: Final = ("origin", "extensions", "subprotocols", "max_size", "logger")
_OF_SOCKET: Final = (
    *("sock", "ssl", "ssl_context", "server_hostname", "unix", "path", "proxy", "proxy_ssl", "proxy_server_hostname"),
    *("timeout", "source_address", "all_errors"),
)


def connects_by_function(module: ModuleType) -> bool:
    """Whether this is the blocking client before 17: ``connect`` is a function that does everything."""
    connection = getattr(module, "ClientConnection", None)
    return not hasattr(module, "reconnect") and not hasattr(connection, "data_received")


class Connecter(NamedTuple):
    """What a call of that function says, in the form of what connects in newer releases."""

    uri: str
    additional_headers: Any
    user_agent_header: str | None
    protocol_kwargs: dict[str, Any]

    @classmethod
    def of(cls, uri: str, options: dict[str, Any]) -> Connecter:
        """What a call says.

        Args:
            uri: Where it connects.
            options: Its arguments by name.
        """
        given: dict[str, Any] = {name: options[name] for name in _OF_PROTOCOL if name in options}
        if options.get("compression", "deflate") == "deflate":
            given["extensions"] = enable_client_permessage_deflate(given.get("extensions"))
        headers, agent = options.get("additional_headers"), options.get("user_agent_header", USER_AGENT)
        return cls(uri, headers, agent, given)

    @property
    def ws_uri(self) -> Any:
        """The same, parsed."""
        return parse_uri(self.uri)


class _NoTls:
    """Stands in the place of an ``SSLContext`` where there is no network."""

    @staticmethod
    def wrap_socket(sock: Any, **_: Any) -> Any:
        """The socket as it is."""
        return sock


def on_socket(uri: str, options: dict[str, Any], sock: Any) -> dict[str, Any]:
    """The arguments of a call by which it uses a socket of ours, without TLS, and with neither proxy nor path."""
    kept = {name: value for name, value in options.items() if name not in _OF_SOCKET}
    return {**kept, "sock": sock, **({"ssl": _NoTls()} if parse_uri(uri).secure else {})}


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
