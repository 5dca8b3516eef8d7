"""Connections of asyncio: their bytes are noted, or come from the other end of a replay."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from wrapt import ObjectProxy

from timetracer_otel.calls.guarded_objects import ReplayObject, judged
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.websocket.exchange import SocketExchange
from timetracer_otel.libraries.kits.websocket.far_end import FarEnd, Lost

__all__ = ["NotedTransport", "replay_transport"]


def replay_transport(far_end: FarEnd, protocol: Any, extra: dict[str, Any] | None = None) -> asyncio.Transport:
    """A transport without a network.

    Args:
        far_end: Takes what the client sends.
        protocol: Gets what comes.
        extra: What is known of the connection.
    """
    return _ReplayTransport(far_end, protocol, extra)


_CLOSED: Final = object()
"""That the client has closed the connection."""


class NotedTransport(ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """A transport whose output is noted; everything else is the transport's own."""

    def __init__(self, transport: Any, exchange: SocketExchange) -> None:
        super().__init__(transport)
        self._self_exchange = exchange

    @property
    def exchange(self) -> SocketExchange:
        """Where it is noted."""
        return self._self_exchange

    def write(self, data: Any) -> None:
        """Note bytes, and write them."""
        exchange = self._self_exchange
        exchange.noting(lambda: exchange.sends(bytes(data)))
        self.__wrapped__.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """The same for several pieces."""
        pieces = list(list_of_data)
        exchange = self._self_exchange
        exchange.noting(lambda: exchange.sends(b"".join(pieces)))
        self.__wrapped__.writelines(pieces)

    def write_eof(self) -> None:
        """The client ends its side."""
        exchange = self._self_exchange
        exchange.noting(exchange.leaves)
        self.__wrapped__.write_eof()

    def close(self) -> None:
        """The client leaves."""
        self._self_leaves()
        self.__wrapped__.close()

    def abort(self) -> None:
        """The client leaves at once."""
        self._self_leaves()
        self.__wrapped__.abort()

    def _self_leaves(self) -> None:
        exchange = self._self_exchange
        exchange.noting(exchange.leaves)
        exchange.noting(exchange.finish)


class _ReplayTransport(ReplayObject, asyncio.Transport):
    """See `replay_transport`."""

    def __init__(self, far_end: FarEnd, protocol: Any, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self._lib = far_end.lib
        self._far_end = far_end
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._lost = False
        far_end.joins(self._comes, self._look_later)

    def _comes(self, what: bytes | Lost | None) -> None:
        self._loop.call_soon_threadsafe(self._noting, what)

    def _noting(self, what: Any) -> None:
        # A guard: the loop calls it, and would only log a fault of ours. Whoever waits gets it as a miss.
        try:
            self._give(what)
        except Exception as fault:
            self._met_fault(judged(fault))

    def _met_fault(self, miss: Exception) -> None:
        far_end, was_lost, self._lost = self._far_end, self._lost, True
        if isinstance(miss, ReplayMismatchError):
            far_end.miss = far_end.miss or miss
        if not was_lost:
            self._protocol.connection_lost(ConnectionResetError(str(miss)))

    def _look_later(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._far_end.look)

    def _give(self, what: Any) -> None:
        if self._lost:
            return
        if what is _CLOSED:
            self._lose(None)
        elif isinstance(what, bytes):
            if not self._closing:
                outside(self._protocol.data_received, what)
        elif what is None:
            if not self._closing and not self._protocol.eof_received():
                self.close()
        elif isinstance(what, Lost):
            self._lose(what.error)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._protocol.connection_lost(error)

    def write(self, data: Any) -> None:
        self._far_end.takes(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (0, 0)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._far_end.leaves()
            self._loop.call_soon(self._noting, _CLOSED)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self._far_end.pauses(True)

    def resume_reading(self) -> None:
        self._far_end.pauses(False)
