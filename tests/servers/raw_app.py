"""Endpoints below ``/raw/`` that break HTTP/1.1, each in one way."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

from tests.servers._wire import Exchange

__all__ = ["HANDLERS"]

_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_CHUNKED = _PLAIN + b"Transfer-Encoding: chunked\r\n\r\n"


def _sends(*parts: bytes) -> Callable[[Exchange], Awaitable[None]]:
    async def handler(x: Exchange) -> None:
        await x.body()
        await x.send(*parts)
        x.keep_alive = False

    return handler


def _resets_after(*parts: bytes) -> Callable[[Exchange], Awaitable[None]]:
    async def handler(x: Exchange) -> None:
        await x.body()
        if parts:
            await x.send(*parts)
            # A reset throws away what the client has not read yet: wait until it has.
            await x.state.gate("reset")
        connection: socket.socket = x.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        x.keep_alive = False

    return handler


HANDLERS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "garbage": _sends(b"\x00\xffthis is not HTTP at all\r\n\r\n"),
    "status-line": _sends(b"HTTP/1.1 two hundred\r\n\r\n"),
    "no-answer": _sends(),
    "mid-headers": _sends(_PLAIN + b"X-Cut: of"),
    "short-body": _sends(_PLAIN + b"Content-Length: 100\r\n\r\n", b"only this"),
    "cut-chunk": _sends(_CHUNKED + b"5\r\nhello\r\n10\r\nhalf"),
    "bad-chunk": _sends(_CHUNKED + b"5\r\nhello\r\nxyz\r\n"),
    "bad-length": _sends(_PLAIN + b"Content-Length: many\r\n\r\nbody"),
    "two-lengths": _sends(_PLAIN + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nbody"),
    "reset": _resets_after(),
    "reset-mid-body": _resets_after(_CHUNKED + b"5\r\nhello\r\n"),
}
