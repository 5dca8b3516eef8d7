"""What a connection of `http.client` has as its socket in a replay, and the request that each connection makes."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.kits.http1.recorded_connections import RecordedConnection

__all__ = ["LIB", "StandIn", "connection_above", "exchanges", "over", "put_in", "take_out"]

LIB = "urllib"

connection_above: CallAbove[Any] = CallAbove("urllib")
"""The connection that is really connecting or sending now. Example: it asks its proxy for a tunnel meanwhile."""

exchanges: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""By connection: the request that a session records or answers, until its response is there."""


class StandIn(ReplayObject, socket.socket):
    """Stands for the socket of a connection in a replay. It has no file descriptor.

    Used outside of a replay, it has the connection connect for real.

    Args:
        connection: The connection.
        held: What the connection had before: it is open, and is given back behind the answer.
    """

    _lib = LIB

    def __init__(self, connection: Any, held: Any) -> None:
        # As `socket.socket` does it, which would open a socket besides.
        self._io_refs = 0
        self._closed = False
        self._connection = ref(connection)
        self._timeout = getattr(connection, "timeout", None)
        self.held = held
        self.sends_to: Callable[[bytes], None] | None = None
        """What notes the bytes of the request; None where no replay answers now."""
        self.answer: tuple[Iterator[bytes], Callable[[Exception], Exception]] | None = None

    def sendall(self, data: Any, *_: Any) -> None:
        """Give the bytes to what notes them."""
        if self.sends_to is None:
            connection = self._connection()
            if connection is None:
                raise_for_app(OSError(f"the connection of {self!r} is gone"))
            connection.sock = None
            connection.connect()
            made: Any = connection.sock
            made.sendall(data)
            return
        try:
            piece = bytes(memoryview(data))
        except TypeError as error:
            # http.client tries this first, and takes it for an iterable then.
            raise_for_app(error)
        self.sends_to(piece)

    def send(self, data: Any, *_: Any) -> int:
        """The same; all is sent at once."""
        self.sendall(data)
        return len(data)

    def makefile(self, *_: Any, **__: Any) -> Any:
        """The file from which the response is read."""
        answer, self.answer = self.answer, None
        return io.BufferedReader(RecordedConnection(*answer)) if answer is not None else io.BytesIO()

    def settimeout(self, value: float | None) -> None:
        """Keep the timeout."""
        self._timeout = None if value is None else float(value)

    def gettimeout(self) -> Any:
        """The timeout, in seconds."""
        return float(self._timeout) if isinstance(self._timeout, (int, float)) else socket.getdefaulttimeout()

    def setblocking(self, flag: bool) -> None:
        """Keep a timeout that means the same."""
        self._timeout = None if flag else 0.0

    def setsockopt(self, *_: Any) -> None:
        """Nothing: there is no connection that it could change."""

    def getpeername(self) -> Any:
        """Host and port of the connection; the host is not looked up."""
        connection = self._connection()
        return None if connection is None else (connection.host, connection.port)

    def shutdown(self, how: int) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Close it, and what the connection had before."""
        held, self.held = self.held, None
        if held is not None:
            held.close()
        super().close()


def put_in(connection: Any) -> StandIn:
    """Let a connection have a stand-in for its socket; gives that."""
    found = connection.sock
    if isinstance(found, StandIn):
        return found
    connection.sock = made = StandIn(connection, found)
    return made


def take_out(connection: Any) -> None:
    """Let a connection have what it had before `put_in`, which may be no socket."""
    found = connection.sock
    if isinstance(found, StandIn):
        connection.sock, found.held = found.held, None
        found.sends_to = found.answer = None


def over(connection: Any) -> None:
    """The exchange of a connection is over. One that has a socket of its own gets it back; another one keeps what
    stands for it, as it would stay open for the next request.
    """
    exchanges.pop(connection, None)
    found = connection.sock
    if isinstance(found, StandIn):
        found.sends_to = found.answer = None
        if found.held is not None:
            take_out(connection)
