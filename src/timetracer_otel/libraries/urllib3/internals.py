"""What urllib3 does not promise in its manual, and this plugin relies upon (1.26 and 2.0 to 2.8).

A pool's ``urlopen`` takes a connection, asks a proxy for a tunnel where one is needed (``_prepare_proxy``), and makes
one attempt by ``_make_request``. Since 2.0 that gives urllib3's own response, whose body it has read where the app
asked for that (``preload_content``); before, it gave the one of `http.client`.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from types import NoneType
from typing import Any

from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.url import _encode_target, parse_url

from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.libraries.kits.http1.stand_in_sockets import StandIn, put_in

__all__ = [
    "LIB",
    "asked_of",
    "count",
    "has_shaken_hands",
    "lend_response_class",
    "let_reach_proxy",
    "needs_tunnel",
    "new_connection",
    "reached_proxy",
    "set_verified",
    "stood_in",
    "url_of",
    "verified_of",
    "warn_of",
]

LIB = "urllib3"
_PORTS = {"http": 80, "https": 443}


def url_of(pool: Any, target: str) -> str:
    """The URL of an attempt, from what stands behind its method on the wire."""
    if not target.startswith("/"):
        # A proxy is asked for the whole URL, and ``*`` is one of OPTIONS.
        return target if "://" in target else f"{_origin(pool)}/{target}"
    return _origin(pool) + target


def _origin(pool: Any) -> str:
    scheme, host, port = pool.scheme, pool.host, pool.port
    if host is not None and ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{scheme}://{host}" if port in (None, _PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def asked_of(
    pool: Any, method: str, url: str, body: Any = None, headers: Any = None, *_: Any, **__: Any
) -> dict[str, Any]:
    """What ``urlopen`` is asked for, in the words of the attempts that it makes through a tunnel."""
    target = _encode_target(url) if url.startswith("/") else parse_url(url)._replace(fragment=None).url
    options = {"body": body, "headers": pool.headers if headers is None else headers}
    return {"method": method, "target": target, "options": options}


def needs_tunnel(pool: Any) -> bool:
    """Whether a new connection of a pool needs a tunnel through its proxy."""
    return pool.proxy is not None and connection_requires_http_tunnel(pool.proxy, pool.proxy_config, pool.scheme)


def reached_proxy(connection: Any) -> bool:
    """Whether a connection had its proxy. If not, urllib3 (2.0 and newer) makes a `ProxyError` of an error."""
    return getattr(connection, "_has_connected_to_proxy", False) is True


def let_reach_proxy(connection: Any) -> None:
    """Say so of a connection that is not connected."""
    connection._has_connected_to_proxy = True


def verified_of(pool: Any, connection: Any) -> list[bool | None] | None:
    """Whether the certificates of the server and of its proxy were verified; None where neither has any."""
    if pool.scheme != "https" and pool.proxy is None:
        return None
    return [getattr(connection, "is_verified", None), getattr(connection, "proxy_is_verified", None)]


def has_shaken_hands(connection: Any) -> bool:
    """Whether a connection got as far as TLS: its socket is another one then. Before that, no pool looks at it."""
    return type(getattr(connection, "sock", None)) not in (NoneType, socket.socket)


def set_verified(connection: Any, verified: list[bool | None]) -> None:
    """Let a connection know what `verified_of` gave."""
    connection.is_verified, connection.proxy_is_verified = verified


class _Unverified:
    """A connection as a pool looks at it before it warns: it is open, and nothing of it was verified."""

    is_closed = False
    is_verified = False
    proxy_is_verified = False
    sock = True

    def __init__(self, host: str) -> None:
        self.host = host


def warn_of(pool: Any, verified: list[bool | None]) -> AppStep | None:
    """The step by which a pool warns of a server that was not verified; None where it does not."""
    if any(verified) or not isinstance(pool, HTTPSConnectionPool):
        return None
    return AppStep(HTTPSConnectionPool._validate_conn, pool, _Unverified(pool.host))


def count(pool: Any) -> None:
    """Let a pool count a request that it makes, as ``_make_request`` does it."""
    pool.num_requests += 1


def lend_response_class(connection: Any, begun: Callable[[http.client.HTTPResponse], None]) -> Callable[[], None]:
    """Have a function called when a connection's next response has read its head; gives what undoes that.

    urllib3 reads a body at once where the app asked for that, so nobody could note it later. The response is of the
    class that it is of otherwise.
    """
    if not isinstance(connection, http.client.HTTPConnection):
        return _nothing
    own = vars(connection).get("response_class")
    make: Any = connection.response_class

    def made(*args: Any, **options: Any) -> Any:
        response = make(*args, **options)
        begin = response.begin

        def began() -> None:
            del response.begin
            begin()
            begun(response)

        response.begin = began
        return response

    def undo() -> None:
        if own is None:
            del connection.response_class
        else:
            connection.response_class = own

    connection.response_class = made  # type: ignore[assignment]
    return undo


def _nothing() -> None:
    pass


def stood_in(connection: Any) -> StandIn:
    """Let a connection have a stand-in for its socket, as if it had connected; gives that."""
    is_new = connection.sock is None
    made = put_in(LIB, connection)
    if is_new:
        for option in getattr(connection, "socket_options", None) or ():
            made.setsockopt(*option)
        if getattr(connection, "proxy", None) is not None:
            let_reach_proxy(connection)
    return made


def new_connection(pool: Any) -> Any:
    """A connection of a pool that is not connected."""
    return pool._new_conn()
