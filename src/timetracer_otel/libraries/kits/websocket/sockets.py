"""Blocking connections: their bytes are noted, or come from the other end of a replay."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from wrapt import ObjectProxy

from timetracer_otel.calls.guarded_objects import ReplayObject, judged
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.websocket.exchange import SocketExchange
from timetracer_otel.libraries.kits.websocket.far_end import FarEnd, Lost

__all__ = ["NotedSocket", "is_replayed", "replay_socket"]


def replay_socket(far_end: FarEnd, peer: tuple[str, int], timeout_s: float | None = None) -> socket.socket:
    """One of a pair of sockets, at the other end of which is a replay.

    Args:
        far_end: Takes what the client sends.
        peer: The address of the recorded server.
        timeout_s: How long to wait for what comes, as for any socket.
    """
    return _ReplaySocket(far_end, peer, timeout_s)


def is_replayed(sock: Any) -> bool:
    """Whether a socket is one of a replay."""
    return isinstance(sock, _ReplaySocket)


class NotedSocket(ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """A socket whose bytes are noted; everything else is the socket's own."""

    def __init__(self, real: Any, exchange: SocketExchange) -> None:
        super().__init__(real)
        self._self_exchange = exchange
        self._self_noted = 0
        """How many bytes were noted that are still to be sent."""

    def send(self, data: Any, *flags: Any) -> Any:
        """Note bytes, and send them: what answers them may come before this returns."""
        exchange, noted = self._self_exchange, self._self_noted
        exchange.noting(lambda: exchange.sends(bytes(memoryview(data)[noted:])))
        count = self.__wrapped__.send(data, *flags)
        # The rest is sent by another call.
        self._self_noted = max(len(data), noted) - count
        return count

    def sendall(self, data: Any, *flags: Any) -> Any:
        """The same for all of them."""
        exchange = self._self_exchange
        exchange.noting(lambda: exchange.sends(bytes(data)))
        return self.__wrapped__.sendall(data, *flags)

    def recv(self, *args: Any) -> Any:
        """Note what has come."""
        exchange = self._self_exchange
        try:
            data = self.__wrapped__.recv(*args)
        except (BlockingIOError, InterruptedError, TimeoutError):
            raise
        except OSError as error:
            if type(error).__name__ not in ("SSLWantReadError", "SSLWantWriteError"):
                exchange.noting(exchange.loses, error)
            raise
        exchange.noting(lambda: exchange.receives(data) if data else exchange.ends())
        return data

    def recv_into(self, buffer: Any, *args: Any) -> Any:
        """The same."""
        exchange = self._self_exchange
        count = self.__wrapped__.recv_into(buffer, *args)
        exchange.noting(
            lambda: exchange.receives(bytes(memoryview(buffer).cast("B")[:count])) if count else exchange.ends()
        )
        return count

    def shutdown(self, how: Any) -> Any:
        """The client ends its side."""
        exchange = self._self_exchange
        if how != socket.SHUT_RD:
            exchange.noting(exchange.leaves)
        return self.__wrapped__.shutdown(how)

    def close(self) -> Any:
        """The client leaves."""
        exchange = self._self_exchange
        exchange.noting(exchange.leaves)
        exchange.noting(exchange.finish)
        return self.__wrapped__.close()


class _ReplaySocket(ReplayObject, socket.socket):
    """See `replay_socket`."""

    def __init__(self, far_end: FarEnd, peer: tuple[str, int], timeout_s: float | None = None) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours.family, ours.type, ours.proto, fileno=ours.detach())
        self.settimeout(timeout_s)
        theirs.setblocking(False)
        self._theirs = theirs
        self._peer = peer
        self._backlog = bytearray()
        self._ends = False
        self._lost: OSError | None = None
        self._lock = threading.RLock()
        self._far_end = far_end
        self._lib = far_end.lib
        far_end.joins(self._comes, self._look_later)

    def _comes(self, what: bytes | Lost | None) -> None:
        with self._lock:
            if isinstance(what, bytes):
                self._backlog += what
            else:
                self._ends = True
                self._lost = what.error if what is not None else None
            self._give()

    def _give(self) -> None:
        with self._lock, suppress(BlockingIOError, OSError):
            while self._backlog:
                count = self._theirs.send(self._backlog)
                del self._backlog[:count]
            if self._ends:
                self._theirs.close()

    def _look_later(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._far_end.look)
        timer.daemon = True
        timer.name = "timetracer-websocket"
        timer.start()

    def _met_fault(self, miss: Exception) -> None:
        # The library makes an error of its own of what this socket raises, and a thread of its own may read.
        if isinstance(miss, ReplayMismatchError):
            self._far_end.fails(miss)
        self._theirs.close()

    def send(self, data: Any, *flags: Any) -> int:
        data = bytes(data)
        self._far_end.takes(data)
        return len(data)

    def sendall(self, data: Any, *flags: Any) -> None:
        self._far_end.takes(bytes(data))

    def recv(self, *args: Any) -> bytes:
        data = outside(super().recv, *args)
        self._took(bool(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        count = outside(super().recv_into, buffer, nbytes, flags)
        self._took(bool(count))
        return count

    def _took(self, anything: bool) -> None:
        if not anything and self._lost is not None:
            raise_for_app(self._lost)
        if self._backlog:
            self._give()

    # The next two are guards: a client expects no error of ours where it leaves, and a thread of its own would end by
    # one. Who waits for a message gets the miss.

    def shutdown(self, how: int) -> None:
        try:
            self._far_end.leaves()
        except Exception as fault:
            if judged(fault, self) is fault:
                raise
        finally:
            with suppress(OSError):
                super().shutdown(how)

    def close(self) -> None:
        try:
            self._far_end.leaves()
        except Exception as fault:
            if judged(fault, self) is fault:
                raise
        finally:
            with self._lock:
                self._theirs.close()
            super().close()

    def __del__(self) -> None:
        # An app that forgets to close a socket hears of that one alone.
        self._theirs.close()
        finalize = getattr(super(), "__del__", None)
        if finalize is not None:
            finalize()

    def pending(self) -> int:
        # Of a connection by TLS, a client asks what is decrypted already.
        return 0

    def getpeername(self) -> Any:
        return self._peer

    def setsockopt(self, *args: Any) -> None: ...
