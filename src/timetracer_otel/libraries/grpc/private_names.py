"""The names of grpcio that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ASYNC_CALLS", "CALLS", "CONNECTING", "RELIED_UPON"]

CALLS: Final = (
    *("_UnaryUnaryMultiCallable", "_SingleThreadedUnaryStreamMultiCallable", "_UnaryStreamMultiCallable"),
    *("_StreamUnaryMultiCallable", "_StreamStreamMultiCallable"),
)
"""The classes of what calls a method over a blocking channel."""
ASYNC_CALLS: Final = ("UnaryUnaryCall", "UnaryStreamCall", "StreamUnaryCall", "StreamStreamCall")
"""The classes of calls over an asyncio channel."""
_ONE_ANSWER: Final = ("_UnaryUnaryMultiCallable", "_StreamUnaryMultiCallable")
CONNECTING: Final[Mapping[str, tuple[str, ...]]] = {
    "grpc._channel": (
        *(f"{kind}.__call__ with_call future" for kind in _ONE_ANSWER),
        *(f"{kind}.__call__" for kind in CALLS if kind not in _ONE_ANSWER),
    ),
    "grpc.aio._channel": tuple(
        f"{kind}MultiCallable.__call__" for kind in ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
    ),
}
"""By module: the methods by which an app makes a call. A channel connects when it makes its first."""

RELIED_UPON: Final = (
    *(f"grpc._channel:{kind}.{name}" for kind in CALLS for name in ("_channel", "_target")),
    *(f"grpc._channel:{kind}._managed_call" for kind in CALLS if not kind.startswith("_SingleThreaded")),
    *(f"grpc.aio._call:{kind}.__init__({name})" for kind in ASYNC_CALLS for name in ("channel", "metadata")),
    "grpc._channel:Channel.subscribe(callback)",
    "grpc._channel:_MultiThreadedRendezvous._call",
    "grpc._channel:_MultiThreadedRendezvous._next",
    "grpc.aio._call:StreamStreamCall._metadata_sent_observer",
    "grpc.aio._call:StreamUnaryCall._metadata_sent_observer",
    "grpc.aio._channel:Channel.__init__(target)",
    "grpc.aio._channel:Channel.get_state",
    "grpc.aio._channel:Channel.wait_for_state_change",
    "grpc._cython.cygrpc:AioRpcStatus",
    "grpc._cython.cygrpc:EOF",
    "grpc._cython.cygrpc:ForkManagedThread.start",
    "grpc._cython.cygrpc:SendMessageOperation._message",
    "grpc._cython.cygrpc:_AioCall._initial_metadata",
    "grpc._cython.cygrpc:_AioCall._status",
    "grpc._cython.cygrpc:_Metadatum",
)
