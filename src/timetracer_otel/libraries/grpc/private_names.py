"""The names of grpcio that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ASYNC_CALLS", "CALLS", "ENTRY_POINTS", "RELIED_UPON"]

CALLS: Final[Mapping[str, Mapping[str, bool]]] = {
    "_UnaryUnaryMultiCallable": {"_blocking": True, "future": False},
    "_SingleThreadedUnaryStreamMultiCallable": {"__call__": True},
    "_UnaryStreamMultiCallable": {"__call__": False},
    "_StreamUnaryMultiCallable": {"_blocking": True, "future": False},
    "_StreamStreamMultiCallable": {"__call__": False},
}
"""By class: the methods that ask the core for a call, and whether the app's own thread waits for its events."""
ASYNC_CALLS: Final = ("UnaryUnaryCall", "UnaryStreamCall", "StreamUnaryCall", "StreamStreamCall")
ENTRY_POINTS: Final = (
    *(f"grpc._channel:_{kind}MultiCallable.__call__ with_call future" for kind in ("UnaryUnary", "StreamUnary")),
    *(
        f"grpc._channel:_{kind}MultiCallable.__call__"
        for kind in ("UnaryStream", "SingleThreadedUnaryStream", "StreamStream")
    ),
    *(
        f"grpc.aio._channel:{kind}MultiCallable.__call__"
        for kind in ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
    ),
)
"""The methods by which an app makes a call. A channel connects when it makes its first."""

RELIED_UPON: Final = (
    *(f"grpc._channel:{kind}.{name}" for kind, names in CALLS.items() for name in names),
    *(f"grpc._channel:{kind}.{name}" for kind in CALLS for name in ("_channel", "_target")),
    *(f"grpc.aio._call:{kind}.__init__(channel)" for kind in ASYNC_CALLS),
    *(f"grpc.aio._call:{kind}.__init__(metadata)" for kind in ASYNC_CALLS),
    "grpc._channel:Channel.subscribe(callback)",
    "grpc._channel:_MultiThreadedRendezvous._next",
    "grpc.aio._channel:Channel.get_state",
    "grpc.aio._channel:Channel.wait_for_state_change",
    "grpc._cython.cygrpc:AioRpcStatus",
    "grpc._cython.cygrpc:EOF",
    "grpc._cython.cygrpc:SendMessageOperation._message",
    "grpc._cython.cygrpc:_AioCall._initial_metadata",
    "grpc._cython.cygrpc:_AioCall._status",
    "grpc._cython.cygrpc:_Metadatum",
)
