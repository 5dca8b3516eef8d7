"""The request that each connection of `http.client` makes, and what it has as its socket in a replay."""

from __future__ import annotations

import socket
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.kits.http1 import stand_in_sockets
from timetracer_otel.libraries.kits.http1.stand_in_sockets import StandIn, given_back, take_out

__all__ = ["LIB", "connection_above", "exchanges", "over", "put_in", "take_out"]

LIB = "urllib"

connection_above: CallAbove[Any] = CallAbove("urllib")
"""The connection that is really connecting or sending now. Example: it asks its proxy for a tunnel meanwhile."""

exchanges: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""By connection: the request that a session records or answers, until its response is there."""


def put_in(connection: Any) -> StandIn:
    """Let a connection have a stand-in for its socket; gives that."""
    found = connection.sock
    if isinstance(found, StandIn):
        return found
    made = stand_in_sockets.put_in(LIB, connection)
    # As `http.client` does it when it has connected.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def over(connection: Any) -> None:
    """The exchange of a connection is over. One that has a socket of its own gets it back; another one keeps what
    stands for it, as it would stay open for the next request.
    """
    exchanges.pop(connection, None)
    given_back(connection)
