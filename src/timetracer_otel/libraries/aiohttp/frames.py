"""WebSockets of aiohttp: their frames on the connection that the handshake has opened."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from aiohttp.client_proto import ResponseHandler

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import ASK, AppStep, Flow, Noted, guarded, guarded_async
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.http1.arriving import Head as Parsed
from timetracer_otel.libraries.kits.websocket.call import belongs, conversation_of, outcome
from timetracer_otel.libraries.kits.websocket.exchange import OPENED, Head, SocketExchange
from timetracer_otel.libraries.kits.websocket.streams import NotedTransport
from timetracer_otel.session import BaseSession

__all__ = ["begun", "frame_patches", "is_through", "let_through"]

_LIB = "aiohttp"
_WAITING = "receive"
_TALKING = ("send_frame", "send_str", "send_bytes", "ping", "pong", "close")


def begun(response: Any, head: Parsed | None, recording: Recording) -> SocketExchange | None:
    """Note the frames on the connection of a response from now on; None where it has none any more."""
    connection = response.connection
    if head is None or connection is None or connection.protocol is None:
        return None
    exchange = SocketExchange(recording.session.limits, began_s=recording.started_s, recording=recording)
    exchange.head = Head(b"", list(head[3]))
    exchange.opens(exchange.head)
    protocol = connection.protocol
    protocol.transport = NotedTransport(protocol.transport, exchange)
    belongs(response, exchange)
    return exchange


def is_through(response: Any) -> None:
    """Let the frames of a response pass: it was no call of the session's."""
    if response.status == OPENED and conversation_of(response) is None:
        belongs(response, None)


def let_through(steps: Flow) -> Flow:
    """The steps of a call that is none of the session's."""
    response = yield from steps
    is_through(response)
    return response


def frame_patches(module: ModuleType) -> list[Patch]:
    """The patches by which the frames are noted, and by which an app hears why there are none."""
    socket = module.ClientWebSocketResponse
    return [
        Patch(ResponseHandler, "set_parser", _set_parser),
        Patch(ResponseHandler, "connection_lost", _connection_lost),
        Patch(socket, _WAITING, partial(_told, True)),
        *(Patch(socket, name, partial(_told, False)) for name in _TALKING),
    ]


def _told(waits: bool, original: Function) -> Function:
    """An app waits for a message, or says something."""

    def begin(session: BaseSession | None, socket: Any, *args: Any, **kwargs: Any) -> Noted | None:
        return outcome(_LIB, socket._response, session, waits=waits)

    return guarded_async(_LIB, original, begin, outside=True)


def _set_parser(original: Function) -> Function:
    """A connection gets the parser of frames."""

    def begin(session: BaseSession | None, handler: Any, parser: Any, *args: Any, **kwargs: Any) -> AppStep:
        noted = _NotedFrames(parser, handler.transport.exchange)
        return AppStep(original, handler, noted, *args, **kwargs)

    return guarded(_LIB, original, begin, outside=True, quick=_has_frames)


def _has_frames(handler: Any) -> Any:
    return ASK if type(handler.transport) is NotedTransport else None


def _connection_lost(original: Function) -> Function:
    return noting("aiohttp.frames", original, before=_note_loss)


def _note_loss(handler: Any, error: BaseException | None) -> None:
    transport = handler.transport
    if type(transport) is NotedTransport:
        exchange = transport.exchange
        if error is None:
            exchange.noting(exchange.ends)
        else:
            exchange.noting(exchange.loses, error)


class _NotedFrames:
    """A parser of frames whose input is noted; everything else is the parser's own."""

    def __init__(self, parser: Any, exchange: SocketExchange) -> None:
        self._parser = parser
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes, *args: Any) -> Any:
        self._exchange.noting(self._exchange.receives, bytes(data))
        return self._parser.feed_data(data, *args)

    def feed_eof(self) -> Any:
        return self._parser.feed_eof()
