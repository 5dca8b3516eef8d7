"""The calls of one batch, and the server that answers them: as little work per call as HTTP/1.1 allows.

``python workload.py`` serves on a free port of loopback, prints the port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass
from typing import ClassVar

KINDS = ("GET 200 B", "POST 200 B", "GET 64 kB")


@dataclass(frozen=True)
class Operation:
    kind: str
    method: str
    path: str
    body: bytes | None
    answer: bytes


def operations(seed: int, of_each: int) -> list[Operation]:
    """One batch: as many of each kind, in an order and with contents that the seed decides."""
    chance = random.Random(seed)
    small = json.dumps({"id": 7, "name": "x" * 160}).encode()
    large = large_body()
    batch: list[Operation] = []
    for _ in range(of_each):
        sent = json.dumps({"number": chance.randrange(10**6), "text": "y" * 160}).encode()
        batch.append(Operation(KINDS[0], "GET", "/small", None, small))
        batch.append(Operation(KINDS[1], "POST", "/echo", sent, sent))
        batch.append(Operation(KINDS[2], "GET", "/large", None, large))
    chance.shuffle(batch)
    return batch


def large_body() -> bytes:
    """64 kB that compress neither well nor badly."""
    chance = random.Random(7)
    return json.dumps([chance.randrange(10**9) for _ in range(5900)]).encode()[: 64 * 1024]


class Server(asyncio.Protocol):
    """Answers from bytes made beforehand; knows just the requests of `operations`."""

    fixed: ClassVar = {
        b"/small": json.dumps({"id": 7, "name": "x" * 160}).encode(),
        b"/large": large_body(),
        b"/300": json.dumps({"id": 7, "name": "x" * 279}).encode(),
    }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end]
            at = head.lower().find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + length:
                return
            body = self.waiting[end + 4 : end + 4 + length]
            self.waiting = self.waiting[end + 4 + length :]
            answer = self.fixed.get(head.split(b" ", 2)[1], body)
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
