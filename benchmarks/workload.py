"""The calls of one batch, and the HTTP server that answers them: as little work per call as HTTP/1.1 allows.

``python workload.py`` serves on a free port of loopback, prints the port, and ends when its standard input does. It
answers a GET of `/SIZE/…` with a JSON body of so many bytes, and a POST with the body that was sent.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import sys
from typing import NamedTuple

SIZES = {"300 B": 300, "10 KB": 10_000, "1 MB": 1_000_000}
"""The sizes of bodies, values and columns."""
CALLS = {"300 B": 20, "10 KB": 20, "1 MB": 4}
"""How many calls of a size a batch has, and so a cassette."""


class Operation(NamedTuple):
    """One call: of HTTP, or of a value by its number."""

    number: int
    method: str
    path: str
    body: bytes | None
    answer: bytes


def operations(size: str, calls: int | None = None) -> list[Operation]:
    """One batch of calls, every second of which sends as much as it gets."""
    made = []
    for number in range(calls or CALLS[size]):
        if number % 2:
            sent = body(SIZES[size], seed=number)
            made.append(Operation(number, "POST", f"/echo/{number}", sent, sent))
        else:
            made.append(Operation(number, "GET", f"/{SIZES[size]}/{number}", None, body(SIZES[size])))
    return made


def value(size: int, number: int) -> bytes:
    """What a database holds under a number."""
    return body(size, seed=number)


@functools.cache
def body(size: int, seed: int = 7) -> bytes:
    """JSON of exactly so many bytes, which compresses neither well nor badly."""
    if size < 1000:
        start = f'{{"id": {seed}, "name": "'
        return f'{start}{"x" * (size - len(start) - 2)}"}}'.encode()
    chance = random.Random(seed)
    items = []
    length = 0
    while length < size - 200:
        number = chance.randrange(10**9)
        items.append({"id": number, "name": f"Item number {number}", "price": number / 100, "sold": number % 2 == 0})
        length += len(json.dumps(items[-1])) + 2
    text = json.dumps({"items": items, "more": ""})
    return f'{text[:-2]}{"x" * (size - len(text))}"}}'.encode()


class Server(asyncio.Protocol):
    """Knows just the requests of `operations`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.waiting = bytearray()

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.waiting[:end])
            at = head.lower().find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + length:
                return
            sent = bytes(self.waiting[end + 4 : end + 4 + length])
            del self.waiting[: end + 4 + length]
            first = head.split(b" ", 2)[1].split(b"/")[1]
            answer = body(int(first)) if first.isdigit() else sent
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
