"""What a connection of `http.client` has as its socket in a replay."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.http1.recorded_connections import RecordedConnection
from timetracer_otel.session import ReplaySession

__all__ = ["StandIn", "given_back", "put_in", "take_out"]


class StandIn(ReplayObject, socket.socket):
    """Stands for the socket of a connection in a replay. It reaches nobody.

    Its timeout and its options are kept, as a socket keeps them. Used outside of a replay, it has the connection
    connect for real.

    Args:
        lib: The plugin.
        connection: The connection.
        held: What the connection had before: it is open, and is given back behind the answer.
    """

    def __init__(self, lib: str, connection: Any, held: Any) -> None:
        # As `socket.socket` does it, which would open a socket besides.
        self._io_refs = 0
        self._closed = False
        self._lib = lib
        self._connection = ref(connection)
        timeout = getattr(connection, "timeout", None)
        # Those of `http.client` have an object for the timeout that is the default when they connect.
        is_default = timeout is not None and not isinstance(timeout, (int, float))
        self._timeout = socket.getdefaulttimeout() if is_default else timeout
        self._options: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._ends: list[int] = []
        self.held = held
        self.sends_to: Callable[[bytes], object] | None = None
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
        """Keep the timeout. What is given back behind the answer has it, too."""
        self._timeout = None if value is None else float(value)
        if self.held is not None:
            self.held.settimeout(value)

    def gettimeout(self) -> float | None:
        """The timeout, in seconds."""
        return None if self._timeout is None else float(self._timeout)

    def setblocking(self, flag: bool) -> None:
        """Keep a timeout that means the same."""
        self.settimeout(None if flag else 0.0)

    def setsockopt(self, *option: Any) -> None:
        """Keep an option."""
        self._options[option[:2]] = option

    def getsockopt(self, *option: Any) -> Any:
        """An option as a socket has it that is not connected."""
        with socket.socket() as unconnected:
            for kept in self._options.values():
                unconnected.setsockopt(*kept)
            return unconnected.getsockopt(*option)

    def getpeername(self) -> Any:
        """Host and port of the connection; the host is not looked up."""
        connection = self._connection()
        return None if connection is None else (connection.host, connection.port)

    def fileno(self) -> int:
        """A descriptor on which nothing arrives, for who asks whether the server has closed the connection.

        Outside of a replay it has: then the connection is made anew.
        """
        if self._closed:
            return -1
        ends = self._ends
        if not ends:
            ends += os.pipe()
        if len(ends) == 2 and not isinstance(get_current_session(), ReplaySession):
            os.close(ends.pop())
        return ends[0]

    def shutdown(self, how: int) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Close it, and what the connection had before."""
        held, self.held = self.held, None
        if held is not None:
            held.close()
        while self._ends:
            os.close(self._ends.pop())
        super().close()

    def __del__(self) -> None:
        while self._ends:
            os.close(self._ends.pop())


def put_in(lib: str, connection: Any) -> StandIn:
    """Let a connection have a stand-in for its socket; gives that."""
    found = connection.sock
    if isinstance(found, StandIn):
        return found
    connection.sock = made = StandIn(lib, connection, found)
    return made


def take_out(connection: Any) -> None:
    """Let a connection have what it had before `put_in`, which may be no socket."""
    found = connection.sock
    if isinstance(found, StandIn):
        connection.sock, found.held = found.held, None
        found.sends_to = found.answer = None


def given_back(connection: Any) -> None:
    """A connection that had a socket of its own gets it back; another one keeps what stands for it, as it would stay
    open for the next request.
    """
    found = connection.sock
    if isinstance(found, StandIn):
        found.sends_to = found.answer = None
        if found.held is not None:
            take_out(connection)
