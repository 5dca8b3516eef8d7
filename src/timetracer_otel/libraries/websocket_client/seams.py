"""Where websocket-client is patched: how it opens a connection, and what an app does on one."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, guarded
from timetracer_otel.calls.nesting import CallAbove
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
from timetracer_otel.libraries.kits.websocket.sockets import NotedSocket, replay_socket
from timetracer_otel.libraries.websocket_client import internals
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_LIB = "websocket_client"

_connecting: CallAbove[tuple[Any, dict[str, Any]]] = CallAbove("websocket_client")
"""What an app connects, and by which options."""


def patches(module: ModuleType) -> list[Patch]:
    """The patches of websocket-client."""
    kind = module.WebSocket
    return [
        Patch(kind, "connect", _connect),
        Patch(module, "connect", _open),
        Patch(kind, "recv_frame", partial(_told, True)),
        Patch(kind, "send_frame", partial(_told, False)),
        Patch(kind, "close", partial(_told, False)),
    ]


def _told(waits: bool, original: Function) -> Function:
    """An app waits for a message, or says something."""

    def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Noted | None:
        return None if connection.sock is None else outcome(_LIB, connection, session, waits=waits)

    return guarded(_LIB, original, begin, outside=True)


def _connect(original: Function) -> Function:
    """An app connects. What opens the connection is to know by which options, and for what."""

    def begin(session: BaseSession, connection: Any, *args: Any, **options: Any) -> Flow:
        return _connected(connection, options, AppStep(original, connection, *args, **options))

    return guarded(_LIB, original, begin)


def _connected(connection: Any, options: dict[str, Any], live: AppStep) -> Flow:
    try:
        return (yield from _connecting.around((connection, options), live))
    except Exception:
        conversation = conversation_of(connection)
        if isinstance(conversation, FarEnd) and conversation.miss is not None:
            raise conversation.miss from None
        raise


def _open(original: Function) -> Function:
    """A connection is opened: the first one, and one more for each redirect."""

    def begin(session: BaseSession, url: str, *args: Any, **kwargs: Any) -> Flow | None:
        above = _connecting.get()
        if above is None:
            return None
        connection, options = above

        def headers() -> Any:
            return lines_of(internals.handshake_lines(url, options))

        site = SocketSite(_LIB, url, headers, AppStep(original, url, *args, **kwargs), partial(_noted, connection))
        timeout_s = connection.sock_opt.timeout
        return _opened(site, session, connection, timeout_s)

    return guarded(_LIB, original, begin)


def _opened(site: SocketSite, session: BaseSession, connection: Any, timeout_s: float | None) -> Flow:
    belongs(connection, None)
    with span_of(_LIB, site):
        value = yield from flow(site, session)
    if not isinstance(value, FarEnd):
        return value
    target = internals.target_of(site.url)
    belongs(connection, value)
    return replay_socket(value, (target.host, target.port), timeout_s), target


def _noted(connection: Any, opened: Any, exchange: SocketExchange) -> Any:
    sock, target = opened
    belongs(connection, exchange)
    return NotedSocket(sock, exchange), target
