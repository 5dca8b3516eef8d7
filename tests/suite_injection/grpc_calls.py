"""A workload of gRPC: blocking calls in which no thread of gRPC's own sends.

Channels of asyncio poll in a thread of gRPC's core, so a process that has one cannot be forked for each fault.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen

__all__ = ["GRPC"]


def _text(value: str) -> Any:
    from google.protobuf.wrappers_pb2 import StringValue

    return StringValue(value=value)


def grpc_blocking(servers: Servers) -> list[str]:
    import grpc  # type: ignore[import-untyped]

    from tests.servers.grpc_service import stub

    def some(channel: Any) -> list[str]:
        call = stub(channel, "Endless")(_text("e"), timeout=30)
        found = [next(call).value for _ in range(2)]
        call.cancel()
        return found

    def failed(channel: Any) -> Any:
        try:
            return stub(channel, "Fail")(_text("NOT_FOUND:no"), timeout=30).value
        except grpc.RpcError as error:
            return error.code(), error.details()

    with grpc.insecure_channel(servers.grpc) as channel:
        return [
            seen(lambda: stub(channel, "Echo")(_text("tea"), timeout=30).value),
            seen(lambda: stub(channel, "Echo").future(_text("later"), timeout=30).result(timeout=40).value),
            seen(lambda: failed(channel)),
            seen(lambda: [each.value for each in stub(channel, "Count")(_text("3"), timeout=30)]),
            seen(lambda: some(channel)),
        ]


GRPC: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (grpc_blocking,)}
