"""Workloads of gRPC: calls of all four kinds, blocking and with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["GRPC"]


def _text(value: str) -> Any:
    from google.protobuf.wrappers_pb2 import StringValue

    return StringValue(value=value)


def grpc_blocking(servers: Servers) -> list[str]:
    import grpc  # type: ignore[import-untyped]

    from tests.servers.grpc_service import stub

    def talk(channel: Any) -> list[str]:
        return [each.value for each in stub(channel, "Talk")(iter([_text("a"), _text("b")]), timeout=30)]

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
            seen(lambda: stub(channel, "Join")(iter([_text("a"), _text("b")]), timeout=30).value),
            seen(lambda: talk(channel)),
            seen(lambda: some(channel)),
        ]


def grpc_async(servers: Servers) -> list[str]:
    import grpc

    from tests.servers.grpc_service import stub

    async def main() -> list[str]:
        async with grpc.aio.insecure_channel(servers.grpc) as channel:

            async def echo() -> Any:
                return (await stub(channel, "Echo")(_text("tea"), timeout=30)).value

            async def count() -> Any:
                return [each.value async for each in stub(channel, "Count")(_text("3"), timeout=30)]

            async def join() -> Any:
                return (await stub(channel, "Join")(iter([_text("a"), _text("b")]), timeout=30)).value

            async def talk() -> Any:
                call = stub(channel, "Talk")(timeout=30)
                await call.write(_text("a"))
                found = [(await call.read()).value]
                await call.done_writing()
                return [*found, await call.read() is grpc.aio.EOF]

            return [await seen_async(each) for each in (echo, count, join, talk)]

    return asyncio.run(main())


GRPC: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (grpc_blocking, grpc_async)}
