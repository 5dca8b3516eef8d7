"""Workloads of gRPC: blocking calls in which no thread of gRPC's own sends, and calls of asyncio.

Channels of asyncio poll in a thread of gRPC's core, so a process that has had one cannot be forked for each fault.
All of their runs are in forks, also the one that finds which functions run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["GRPC", "GRPC_ASYNC"]


def _text(value: str) -> Any:
    from google.protobuf.wrappers_pb2 import StringValue

    return StringValue(value=value)


def grpc_blocking(servers: Servers) -> list[str]:
    import grpc  # type: ignore[import-untyped]

    from tests.servers.grpc_service import stub

    def some(channel: Any) -> list[str]:
        call = stub(channel, "Endless")(_text("e"), timeout=5)
        found = [next(call).value for _ in range(2)]
        call.cancel()
        return found

    def failed(channel: Any) -> Any:
        try:
            return stub(channel, "Fail")(_text("NOT_FOUND:no"), timeout=5).value
        except grpc.RpcError as error:
            return error.code(), error.details()

    with grpc.insecure_channel(servers.grpc) as channel:
        return [
            seen(lambda: stub(channel, "Echo")(_text("tea"), timeout=5).value),
            seen(lambda: stub(channel, "Echo").future(_text("later"), timeout=5).result(timeout=40).value),
            seen(lambda: failed(channel)),
            seen(lambda: [each.value for each in stub(channel, "Count")(_text("3"), timeout=5)]),
            seen(lambda: some(channel)),
        ]


def grpc_async(servers: Servers) -> list[str]:
    import grpc
    from grpc import aio  # type: ignore[import-untyped]

    from tests.servers.grpc_service import stub

    async def requests(count: int) -> AsyncIterator[Any]:
        for number in range(count):
            yield _text(str(number))

    async def some(channel: Any) -> list[str]:
        call = stub(channel, "Endless")(_text("e"), timeout=5)
        found = [(await call.read()).value for _ in range(2)]
        call.cancel()
        return found

    async def failed(channel: Any) -> Any:
        try:
            return (await stub(channel, "Fail")(_text("NOT_FOUND:no"), timeout=5)).value
        except grpc.RpcError as error:
            return error.code(), error.details()

    async def echoed(channel: Any) -> Any:
        return (await stub(channel, "Echo")(_text("tea"), timeout=5)).value

    async def joined(channel: Any) -> Any:
        return (await stub(channel, "Join")(requests(3), timeout=5)).value

    async def counted(channel: Any) -> Any:
        return [each.value async for each in stub(channel, "Count")(_text("3"), timeout=5)]

    async def chatted(channel: Any) -> Any:
        call = stub(channel, "Talk")(timeout=5)
        found = []
        for word in ("one", "two"):
            await call.write(_text(word))
            found.append((await call.read()).value)
        await call.done_writing()
        return [*found, await call.code()]

    async def work() -> list[str]:
        async with aio.insecure_channel(servers.grpc) as channel:
            calls = (echoed, joined, failed, counted, chatted, some)
            return [await seen_async(partial(call, channel)) for call in calls]

    return asyncio.run(work())


GRPC: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (grpc_blocking, grpc_async)}
GRPC_ASYNC = {"grpc_async"}
"""Those that may run in forks only."""
