"""A small HTTP/2 server on `h2`, for clients that negotiate it over TLS."""

from __future__ import annotations

import asyncio
import json

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from tests.servers._wire import State

__all__ = ["serve_connection"]


class _Connection:
    def __init__(self, writer: asyncio.StreamWriter, state: State) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.writer = writer
        self.state = state
        self.requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def feed(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.requests[event.stream_id] = (
                    {_text(name): _text(value) for name, value in event.headers},
                    bytearray(),
                )
            elif isinstance(event, DataReceived):
                self.requests[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                task = asyncio.create_task(self.answer(event.stream_id))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def answer(self, stream: int) -> None:
        headers, body = self.requests[stream]
        path = headers[":path"].split("?")[0]
        self.state.hits[path] += 1
        try:
            await self.dispatch(stream, path, headers, bytes(body))
        except ProtocolError:
            pass  # The client has reset the stream or left.
        self.flush()

    async def dispatch(self, stream: int, path: str, headers: dict[str, str], body: bytes) -> None:
        if path == "/rst":
            self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        elif path == "/rst-mid":
            self.head(stream)
            self.h2.send_data(stream, b"half of it")
            self.flush()
            await self.state.gate("rst")
            self.h2.reset_stream(stream, ErrorCodes.CANCEL)
        elif path == "/big":
            self.head(stream)
            await self.data(stream, b"0123456789abcdef" * 20_000)
        elif path == "/reorder":
            number = json.loads(body)["n"]
            while len(self.requests) < 20:
                await asyncio.sleep(0.001)
            await asyncio.sleep((20 - number) * 0.003)
            self.head(stream)
            await self.data(stream, json.dumps({"answer": number}).encode())
        else:
            self.head(stream, [("x-two", "1"), ("x-two", "2"), ("content-type", "application/json")])
            described = {"headers": [[k, v] for k, v in headers.items()], "body": body.decode()}
            await self.data(stream, json.dumps(described).encode())

    def head(self, stream: int, headers: list[tuple[str, str]] | None = None) -> None:
        self.h2.send_headers(stream, [(":status", "200"), *(headers or [])])

    async def data(self, stream: int, body: bytes) -> None:
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                await asyncio.sleep(0.001)
                continue
            self.h2.send_data(stream, body[:room])
            self.flush()
            body = body[room:]
        self.h2.end_stream(stream)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> None:
    """Answer requests on one connection until it ends."""
    connection = _Connection(writer, state)
    connection.h2.initiate_connection()
    connection.flush()
    try:
        while data := await reader.read(65536):
            connection.feed(data)
            await writer.drain()
    except (ConnectionError, ProtocolError):
        pass
    finally:
        for task in list(connection.tasks):
            task.cancel()
        writer.close()
