"""What apps do with a WebSocket, of whichever library, in one source: what may be awaited is awaited.

A case gets the flavour, and opens its own connections by `open_socket`. These have the same few methods: `send`,
`recv`, `close`, `ping`, `state`. What they give is what the library gives, written down.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.contract.framework import CaseList

__all__ = ["CASES"]

CASES = CaseList(calls=1)
case = CASES()
blocking = CASES(None, "blocking")
awaited = CASES(None, "asyncio")


async def got(value: Any) -> Any:
    """A value, or what comes of it where it is to be awaited."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def opened(flavour: Any, path: str = "/echo", **options: Any) -> AsyncIterator[Any]:
    """A connection."""
    connection = await got(flavour.open_socket(path, **options))
    try:
        yield connection
    finally:
        await got(connection.close())
        await got(connection.gone())


@case
async def texts_and_bytes(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        seen = []
        for message in ("tea", "", "ä€𝄞", "line\nline", b"\x00\xff", b"", b"\x80" * 200, '{"a": 1}'):
            await got(socket.send(message))
            seen.append(await got(socket.recv()))
        return seen


@case
async def equal_messages(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        seen = []
        for message in ("a", "a", "b", "a"):
            await got(socket.send(message))
            seen.append(await got(socket.recv()))
        return seen


@case
async def the_server_speaks_first(flavour: Any) -> Any:
    async with opened(flavour, "/greet") as socket:
        first = await got(socket.recv())
        await got(socket.send("me"))
        return first, await got(socket.recv())


@case
async def many_messages_for_one(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("push 50"))
        seen = [await got(socket.recv()) for _ in range(50)]
        await got(socket.send("twice x"))
        return seen, await got(socket.recv()), await got(socket.recv())


@case
async def several_sent_before_any_is_read(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        for number in range(10):
            await got(socket.send(f"m{number}"))
        return [await got(socket.recv()) for _ in range(10)]


@case
async def until_the_server_closes(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("push 3"))
        await got(socket.send("close 1000 done"))
        seen = await got(socket.all())
        return seen, await got(socket.state())


@case
async def the_server_closes_with_a_code(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("close 4001 why not"))
        seen = [await got(socket.recv()), await got(socket.recv())]
        return seen, await got(socket.state()), await got(socket.send("more"))


@case
async def the_app_closes_with_a_code(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("tea"))
        seen = await got(socket.recv())
        closed = await got(socket.close(4002, "enough"))
        return seen, closed, await got(socket.state()), await got(socket.send("more")), await got(socket.recv())


@case
async def the_connection_is_lost(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("tea"))
        seen = [await got(socket.recv())]
        await got(socket.send("die"))
        seen.append(await got(socket.recv()))
        return seen, await got(socket.state())


@case
async def a_timeout_and_then_the_message(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("slow 0.4"))
        early = await got(socket.recv(timeout=0.1))
        return early, await got(socket.recv(timeout=5)), await got(socket.recv(timeout=0.1))


@awaited
async def a_reading_that_is_cancelled(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("nothing"))
        task = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
            cancelled = False
        except asyncio.CancelledError:
            cancelled = True
        await got(socket.send("tea"))
        return cancelled, await got(socket.recv())


@awaited
async def one_task_sends_while_another_reads(flavour: Any) -> Any:
    async with opened(flavour) as socket:

        async def reads() -> list[Any]:
            return [await socket.recv() for _ in range(20)]

        reader = asyncio.ensure_future(reads())
        for number in range(20):
            await socket.send(f"m{number}")
            await asyncio.sleep(0)
        return await reader


@blocking
def one_thread_sends_while_another_reads(flavour: Any) -> Any:
    socket = flavour.open_socket("/echo")
    seen: list[Any] = []
    reader = threading.Thread(target=lambda: seen.extend(socket.recv() for _ in range(20)))
    reader.start()
    for number in range(20):
        socket.send(f"m{number}")
    reader.join()
    socket.close()
    socket.gone()
    return seen


@awaited
async def closed_while_another_task_reads(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        reader = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0.05)
        closed = await got(socket.close())
        return closed, await reader


@case
async def pings_of_the_app(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        first = await got(socket.ping())
        await got(socket.send("tea"))
        return first, await got(socket.recv()), await got(socket.ping())


@case
async def pings_of_the_server(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("ping"))
        return await got(socket.recv())


@case
async def a_clock_that_pings(flavour: Any) -> Any:
    async with opened(flavour, heartbeat=0.3) as socket:
        await got(socket.send("slow 0.8"))
        return await got(socket.recv()), await got(socket.send("tea")), await got(socket.recv())


@case
async def a_message_in_pieces(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("pieces"))
        return await got(socket.recv())


@case
async def pieces_one_by_one(flavour: Any) -> Any:
    async with opened(flavour) as socket:
        await got(socket.send("pieces"))
        seen = await got(socket.pieces())
        await got(socket.send_pieces(["te", "a ", "€"]))
        return seen, await got(socket.recv())


@case
async def large_messages(flavour: Any) -> Any:
    async with opened(flavour, most_bytes=None) as socket:
        await got(socket.send("ab" * 150_000))
        first = await got(socket.recv())
        await got(socket.send("size 900000"))
        return first, await got(socket.recv())


@case
async def without_compression(flavour: Any) -> Any:
    async with opened(flavour, compressed=False) as socket:
        await got(socket.send("tea" * 1000))
        return await got(socket.recv())


@case
async def with_compression(flavour: Any) -> Any:
    async with opened(flavour, compressed=True) as socket:
        seen = []
        for message in ("tea" * 1000, "tea" * 1000, "x"):
            await got(socket.send(message))
            seen.append(await got(socket.recv()))
        return seen


@case
async def a_subprotocol(flavour: Any) -> Any:
    async with opened(flavour, protocols=["other", "superchat"]) as socket:
        await got(socket.send("tea"))
        return await got(socket.protocol()), await got(socket.recv())


@case
async def headers_of_the_handshake(flavour: Any) -> Any:
    async with opened(
        flavour,
        "/echo?a=1",
        headers={"Authorization": "Bearer " + "aB3dE6gH9jK2mN5pQ8rT1vX4zC7fL0wY2sUe", "X-One": "1"},
    ) as socket:
        await got(socket.send("who"))
        return await got(socket.recv()), await got(socket.answered())


@case
async def a_handshake_that_is_refused(flavour: Any) -> Any:
    return await got(flavour.open_socket("/private"))


@case
async def a_handshake_that_is_forbidden(flavour: Any) -> Any:
    return await got(flavour.open_socket("/forbidden"))


@CASES(2, "redirects")
async def a_redirect(flavour: Any) -> Any:
    async with opened(flavour, "/moved") as socket:
        await got(socket.send("tea"))
        return await got(socket.recv())


@case
async def nobody_listens(flavour: Any) -> Any:
    return await got(flavour.open_socket("/echo", nowhere=True))


@CASES(3)
async def several_connections(flavour: Any) -> Any:
    sockets = [await got(flavour.open_socket("/echo")) for _ in range(3)]
    for number, socket in enumerate(sockets):
        await got(socket.send(f"m{number}"))
    seen = [await got(socket.recv()) for socket in reversed(sockets)]
    for socket in sockets:
        await got(socket.close())
        await got(socket.gone())
    return seen


@case
async def json_in_another_order(flavour: Any) -> Any:
    async with opened(flavour, "/mute") as socket:
        # The order of a set changes with the hash seed.
        await got(socket.send(json.dumps(dict.fromkeys({"tea", "milk", "sugar", "cake", "salt"}, 1))))
        await got(socket.send("speak"))
        return await got(socket.recv())


@CASES(2, "iterates")
async def connected_again_and_again(flavour: Any) -> Any:
    return await got(flavour.iterated("/greet"))


@CASES(1, "app")
def an_app_that_runs_until_the_server_closes(flavour: Any) -> Any:
    return flavour.run_app("close 4001 why")


@CASES(1, "app")
def an_app_whose_connection_is_lost(flavour: Any) -> Any:
    return flavour.run_app("die")


@CASES(1, "app")
def an_app_that_closes_itself(flavour: Any) -> Any:
    return flavour.run_app(None)


@CASES(1, "app")
def an_app_that_pings_by_the_clock(flavour: Any) -> Any:
    return flavour.run_app("slow 0.5", ping_interval=0.1, ping_timeout=0.09)


@CASES(1, "app")
def an_app_that_is_refused(flavour: Any) -> Any:
    return flavour.run_app("tea", path="/private")
