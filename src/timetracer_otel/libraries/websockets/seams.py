"""Where websockets is patched: how a client opens a connection, what comes over it, and what an app does on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded, guarded_async
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.websocket.call import (
    SocketSite,
    belongs,
    conversation_of,
    lines_of,
    outcome,
    span_of,
)
from timetracer_otel.libraries.kits.websocket.exchange import SocketExchange
from timetracer_otel.libraries.kits.websocket.far_end import FarEnd
from timetracer_otel.libraries.kits.websocket.sockets import NotedSocket, is_replayed, replay_socket
from timetracer_otel.libraries.kits.websocket.streams import NotedTransport, replay_transport
from timetracer_otel.libraries.websockets import internals
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_LIB = "websockets"
_WAITING = ("recv",)
_TALKING = ("send", "ping", "pong", "close")

_opening: CallAbove[SocketSite] = CallAbove("websockets")
"""The blocking connection that is being opened."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of one of the two clients."""
    connection = module.ClientConnection
    found: list[Undoable]
    if internals.connects_by_function(module):
        guard = guarded
        found = [
            Rebound(module.connect, _connect_by_function(module.connect)),
            Patch(connection, "__init__", _connection_made),
            Patch(connection, "handshake", _blocking_handshake),
        ]
    elif not hasattr(connection, "data_received"):
        guard = guarded
        found = [
            Patch(module.reconnect, "open_connection", _open_blocking),
            Patch(module.reconnect, "open_socket", _open_socket),
            Patch(module.reconnect, "enable_tls", _enable_tls),
            Patch(connection, "__init__", _connection_made),
            Patch(connection, "handshake", _blocking_handshake),
        ]
    else:
        guard = guarded_async
        opens = next(name for name in internals.NEW_STREAM if hasattr(module.connect, name))
        found = [
            Patch(module.connect, opens, _open_stream),
            Patch(connection, "data_received", _data_received),
            Patch(connection, "eof_received", _eof_received),
            Patch(connection, "connection_lost", _connection_lost),
            Patch(connection, "handshake", partial(_told, guarded_async, False)),
        ]
    found += [Patch(connection, name, partial(_told, guard, name in _WAITING)) for name in (*_WAITING, *_TALKING)]
    return found


def _told(guard: Any, waits: bool, original: Function) -> Function:
    """An app waits for a message, or says something."""

    def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Noted | None:
        return outcome(_LIB, connection, session, waits=waits)

    return guard(_LIB, original, begin, outside=True)  # type: ignore[no-any-return]


# Connections of asyncio.


def _open_stream(original: Function) -> Function:
    def begin(session: BaseSession, connecter: Any, *args: Any, **kwargs: Any) -> Flow:
        made: list[Any] = []

        def headers() -> Any:
            made.append(internals.connection_of(connecter))
            return lines_of(internals.handshake_lines(connecter, made[0].protocol))

        live = AppStep(original, connecter, *args, **kwargs)
        site = SocketSite(_LIB, internals.uri_of(connecter), headers, live, _noted_stream)
        site.is_awaited = True
        return _stream(site, session, connecter, made)

    return guarded_async(_LIB, original, begin)


def _stream(site: SocketSite, session: BaseSession, connecter: Any, made: list[Any]) -> Flow:
    with span_of(_LIB, site):
        value = yield from flow(site, session)
    if not isinstance(value, FarEnd):
        if conversation_of(value) is None:
            belongs(value, None)
        return value
    connection = made[0] if made else internals.connection_of(connecter)
    belongs(connection, value)
    connection.connection_made(replay_transport(value, connection))
    return connection


def _noted_stream(connection: Any, exchange: SocketExchange) -> Any:
    belongs(connection, exchange)
    connection.transport = NotedTransport(connection.transport, exchange)
    return connection


def _data_received(original: Function) -> Function:
    return noting("websockets.receive", original, before=_note_data)


def _note_data(connection: Any, data: bytes) -> None:
    exchange = conversation_of(connection)
    if isinstance(exchange, SocketExchange):
        exchange.noting(exchange.receives, bytes(data))


def _eof_received(original: Function) -> Function:
    return noting("websockets.receive", original, before=_note_end)


def _note_end(connection: Any) -> None:
    exchange = conversation_of(connection)
    if isinstance(exchange, SocketExchange):
        exchange.noting(exchange.ends)


def _connection_lost(original: Function) -> Function:
    return noting("websockets.receive", original, before=_note_loss)


def _note_loss(connection: Any, error: Exception | None) -> None:
    exchange = conversation_of(connection)
    if isinstance(exchange, SocketExchange):
        if error is not None:
            exchange.noting(exchange.loses, error)
        exchange.noting(exchange.finish)


# Blocking connections.


def _open_blocking(original: Function) -> Function:
    def begin(session: BaseSession, connecter: Any, *args: Any, **kwargs: Any) -> Flow:
        def headers() -> Any:
            return lines_of(internals.handshake_lines(connecter, internals.protocol_of(connecter)))

        live = AppStep(original, connecter, *args, **kwargs)
        site = SocketSite(_LIB, internals.uri_of(connecter), headers, live, lambda value, _: value)
        site.lend = partial(_opening.lend, site)
        return _blocking(site, session, lambda _: live)

    return guarded(_LIB, original, begin)


def _connect_by_function(original: Function) -> Function:
    """The blocking client before 17."""

    def begin(session: BaseSession, uri: str, **options: Any) -> Flow:
        connecter = internals.Connecter.of(uri, options)

        def headers() -> Any:
            return lines_of(internals.handshake_lines(connecter, internals.protocol_of(connecter)))

        site = SocketSite(_LIB, uri, headers, AppStep(original, uri, **options), lambda value, _: value)
        site.lend = partial(_opening.lend, site)

        def again(far_end: FarEnd) -> AppStep:
            parsed = connecter.ws_uri
            sock = replay_socket(far_end, (parsed.host, parsed.port))
            return AppStep(original, uri, **internals.on_socket(uri, options, sock))

        return _blocking(site, session, again)

    return guarded(_LIB, original, begin)


def _blocking(site: SocketSite, session: BaseSession, again: Callable[[FarEnd], AppStep]) -> Flow:
    """Open a connection.

    Args:
        site: The opening.
        session: The current session.
        again: How the library opens a connection to a socket of ours.
    """
    with span_of(_LIB, site):
        value = yield from flow(site, session)
        if isinstance(value, FarEnd):
            value = yield from _opening.around(site, again(value))
    if conversation_of(value) is None:
        belongs(value, None)
    return value


def _open_socket(original: Function) -> Function:
    def begin(session: BaseSession | None, connecter: Any, *args: Any, **kwargs: Any) -> Flow | None:
        site = _opening.get()
        if site is None or site.far_end is None:
            return None
        uri = connecter.ws_uri
        return Done(replay_socket(site.far_end, (uri.host, uri.port)))

    return guarded(_LIB, original, begin, outside=True)


def _enable_tls(original: Function) -> Function:
    def begin(session: BaseSession | None, connecter: Any, sock: Any, *args: Any, **kwargs: Any) -> Flow | None:
        return Done(sock) if is_replayed(sock) else None

    return guarded(_LIB, original, begin, outside=True)


def _connection_made(original: Function) -> Function:
    """A connection is made, which begins to read from its socket at once, in a thread of its own."""

    def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> AppStep | None:
        site = _opening.get()
        if site is None:
            return None
        if site.far_end is not None:
            belongs(connection, site.far_end)
        elif site.exchange is not None:
            belongs(connection, site.exchange)
            sock, *others = args
            return AppStep(original, connection, NotedSocket(sock, site.exchange), *others, **kwargs)
        return None

    return guarded(_LIB, original, begin, outside=True)


def _blocking_handshake(original: Function) -> Function:
    def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Noted | None:
        return outcome(_LIB, connection, None, waits=False)

    return guarded(_LIB, original, begin, outside=True)
