"""What urllib3 does not promise in its manual, and this plugin relies upon (1.26 and 2.0 to 2.8).

A pool's ``urlopen`` takes a connection, asks a proxy for a tunnel where one is needed (``_prepare_proxy``), and makes
one attempt by ``_make_request``. Since 2.0 that gives urllib3's own response, whose body it has read where the app
asked for that (``preload_content``); before, it gave the one of `http.client`.

A connection opens its socket by ``_new_conn``. For TLS its ``connect`` makes a context by ``create_urllib3_context``,
unless it was given one, and shakes hands by ``ssl_wrap_socket``; both are names of ``urllib3.connection``. It reads
answers by the `http.client` class in its ``response_class``.
"""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import NoneType
from typing import Any

from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.proxy import connection_requires_http_tunnel
from urllib3.util.ssl_match_hostname import CertificateError
from urllib3.util.url import _encode_target, parse_url

from timetracer_otel.base.otel_context import current_context, span_around
from timetracer_otel.calls.guarded import AppStep, OurStep
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import noting
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.libraries.kits.http1.stand_in_sockets import StandIn, put_in

__all__ = [
    "LIB",
    "Connected",
    "answers_by_http2",
    "asked_of",
    "connecting",
    "connects_in_vain",
    "count",
    "has_shaken_hands",
    "http2_response",
    "is_http2",
    "is_of_certificate",
    "lend_response_class",
    "let_reach_proxy",
    "needs_tunnel",
    "new_connection",
    "own_span_id",
    "reached_proxy",
    "set_verified",
    "stood_in",
    "url_of",
    "verified_of",
    "warn_of",
]

LIB = "urllib3"
_OTEL_SCOPE = "opentelemetry.instrumentation.urllib3"
_PORTS = {"http": 80, "https": 443}


def own_span_id() -> int:
    """Id of the span that OpenTelemetry's instrumentation of urllib3 has made, where that is the current one;
    otherwise 0.
    """
    if _OTEL_SCOPE not in sys.modules:
        # Nobody has loaded it, so it has made none.
        return 0
    span = span_around(current_context())
    scope = getattr(span, "instrumentation_scope", None)
    if span is None or getattr(scope, "name", None) != _OTEL_SCOPE:
        return 0
    return span.get_span_context().span_id


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


def is_of_certificate(error: BaseException) -> bool:
    """Whether an error says that a certificate is of another host. No pool warns of that server."""
    return any(isinstance(each, CertificateError) for each in (error, *error.args))


def set_verified(connection: Any, verified: list[bool | None]) -> None:
    """Let a connection know what `verified_of` gave."""
    connection.is_verified, connection.proxy_is_verified = verified


class _Unverified:
    """A connection as a pool looks at it before it warns: it is open, and nothing of it was verified."""

    is_closed = False
    is_verified = False
    sock = True

    def __init__(self, host: str, proxy_is_verified: bool | None) -> None:
        self.host = host
        self.proxy_is_verified = proxy_is_verified


def warn_of(pool: Any, verified: list[bool | None]) -> AppStep | None:
    """The step by which a pool warns of a server that was not verified; None where it does not."""
    if any(verified) or not isinstance(pool, HTTPSConnectionPool):
        return None
    return AppStep(HTTPSConnectionPool._validate_conn, pool, _Unverified(pool.host, verified[1]))


def count(pool: Any) -> None:
    """Let a pool count a request that it makes, as ``_make_request`` does it."""
    pool.num_requests += 1


def lent(connection: Any, **functions: Any) -> Callable[[], None]:
    """Let a connection have other functions than those of its class; gives what undoes that."""
    own = vars(connection)
    before = {name: own[name] for name in functions if name in own}
    own.update(functions)

    def undo() -> None:
        for name in functions:
            own.pop(name, None)
        own.update(before)

    return undo


def lend_response_class(connection: Any, begun: Callable[[http.client.HTTPResponse], None]) -> Callable[[], None]:
    """Have a function called when a connection's next response has read its head; gives what undoes that.

    urllib3 reads a body at once where the app asked for that, so nobody could note it later. The response is of the
    class that it is of otherwise.
    """
    if not isinstance(connection, http.client.HTTPConnection):
        return _nothing

    def made(response: Any, *_: Any) -> None:
        if isinstance(response, http.client.HTTPResponse):
            begin = response.begin
            ours: Any = response
            ours.begin = noting(f"{LIB}.begin", begin, after=partial(_began, ours, begun))

    return lent(connection, response_class=noting(f"{LIB}.response", connection.response_class, after=made))


def _began(response: Any, begun: Callable[[http.client.HTTPResponse], None], _: Any) -> None:
    del response.begin
    begun(response)


def _nothing() -> None:
    pass


class Connected(BaseException):
    """A connection of a replay has got as far as it can without a server: what follows is the handshake of TLS."""


connecting: CallAbove[Any] = CallAbove("urllib3-connecting")
"""The connection that connects in a replay now."""


def stood_in(connection: Any) -> tuple[StandIn, Callable[[], None]]:
    """What stands for a connection's socket in a replay, and what undoes the change of the connection.

    One that is not connected runs its own ``connect`` when the pool asks for that, up to the handshake of TLS: what
    urllib3 warns of there, and a context that it makes, are real. A ``connect`` of the user's may do anything, and is
    not called.
    """
    if connection.sock is not None:
        return put_in(LIB, connection), _nothing
    made = StandIn(LIB, connection, None)
    return made, lent(connection, connect=_Connecting(connection, made).connect)


class _Connecting(ReplayObject):
    """Connects in a replay."""

    _lib = LIB
    __slots__ = ("_connect", "_connection", "_made")

    def __init__(self, connection: Any, made: StandIn) -> None:
        self._connection = connection
        self._connect = connection.connect if _connects_by_urllib3(connection) else None
        self._made = made

    def connect(self) -> None:
        """As urllib3 does it."""
        connection, made = self._connection, self._made
        answer = made.answer
        made.settimeout(connection.timeout)
        for option in getattr(connection, "socket_options", None) or ():
            made.setsockopt(*option)
        if self._connect is not None:
            made.answer = iter((_TUNNEL,)), _as_it_is
            _connect(connection, self._connect, lambda: made)
        made.answer = answer
        connection.sock = made
        if getattr(connection, "proxy", None) is not None:
            let_reach_proxy(connection)


def _connects_by_urllib3(connection: Any) -> bool:
    """Whether the ``connect`` of a connection is urllib3's."""
    is_lent = "connect" in vars(connection)
    return not is_lent and type(connection).connect.__module__.startswith("urllib3.")


def _connect(connection: Any, connect: Callable[[], None], new_socket: Callable[[], Any]) -> None:
    undo = lent(connection, _new_conn=new_socket)
    try:
        with connecting.making(connection):
            outside(connect)
    except Connected:
        pass
    finally:
        undo()


def connects_in_vain(pool: Any, connection: Any, error: BaseException) -> OurStep | None:
    """The step by which a connection does what it did before this error: it warns, makes a context, and remembers
    that it did not learn which protocols the server has. None where none of this is done.
    """
    without_server = isinstance(error, (NewConnectionError, ConnectTimeoutError))
    if without_server and isinstance(connection.sock, StandIn):
        # The server had closed the connection that was kept, which nobody can see in a replay.
        connection.close()
    if pool.scheme != "https" or pool.proxy is not None or connection.sock is not None:
        return None
    return OurStep(_in_vain, connection, without_server) if _connects_by_urllib3(connection) else None


def _in_vain(connection: Any, without_server: bool) -> None:
    made = StandIn(LIB, connection, None)
    new_socket: Callable[[], Any] = partial(raise_for_app, Connected()) if without_server else lambda: made
    try:
        _connect(connection, connection.connect, new_socket)
    finally:
        connection.sock = None


def answers_by_http2(connection: Any, response: Any) -> Callable[[], None]:
    """Let a connection answer a request by HTTP/2 with this response; gives what undoes that."""
    answer = _Http2Answer(response)
    return lent(connection, connect=answer.connect, request=answer.request, getresponse=answer.getresponse)


class _Http2Answer(ReplayObject):
    """What a connection does in a replay whose answer came by HTTP/2."""

    _lib = LIB
    __slots__ = ("_response",)

    def __init__(self, response: Any) -> None:
        self._response = response

    def connect(self) -> None:
        """Nothing: nobody is asked."""

    def request(self, *_: Any, **__: Any) -> None:
        """Nothing is sent."""

    def getresponse(self) -> Any:
        """The response."""
        return self._response


def is_http2(response: Any) -> bool:
    """Whether a response came by HTTP/2: urllib3 has read it as a whole."""
    return type(response).__module__.startswith("urllib3.http2")


def http2_response(status: int, headers: Any, target: str, data: bytes) -> Any:
    """A response that came by HTTP/2."""
    from urllib3._collections import HTTPHeaderDict
    from urllib3.http2.connection import HTTP2Response

    lines = HTTPHeaderDict()
    for name, value in headers:
        lines.add(name.decode("ascii"), value.decode("ascii"))
    return HTTP2Response(status, lines, target, data)


_TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""What a proxy has said in any case of which the app got an answer through its tunnel."""


def _as_it_is(error: Exception) -> Exception:
    return error


def new_connection(pool: Any) -> Any:
    """A connection of a pool that is not connected."""
    return pool._new_conn()
