"""Run in a process of its own: programs that stand on WebSockets, bare, recorded or replayed.

Usage: ``websocket_program.py bare|record|replay CASSETTE ADDRESS PROGRAM``. Prints what the app saw, and
the account of a replay.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import timetracer_otel


async def _graphql(address: str, kind: str) -> list[Any]:
    from gql import Client, gql
    from gql.transport.exceptions import TransportQueryError

    if kind == "aiohttp":
        from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport as Transport
    else:
        from gql.transport.websockets import WebsocketsTransport as Transport  # type: ignore[assignment]
    seen: list[Any] = []
    transport: Any = Transport(url=f"ws://{address}/graphql")
    async with Client(transport=transport) as session:
        query: Any = gql("subscription count($to: Int!) { count(to: $to) }")
        query.variable_values = {"to": 3}
        seen += [result async for result in session.subscribe(query)]
        seen.append(await session.execute(gql("query { count }")))
        try:
            await session.execute(gql("query { broken }"))
        except TransportQueryError as error:
            seen.append([str(error), error.errors])
    return seen


def graphql_over_websockets(address: str) -> list[Any]:
    """Subscriptions of gql over websockets."""
    return asyncio.run(_graphql(address, "websockets"))


def graphql_over_aiohttp(address: str) -> list[Any]:
    """The same over aiohttp."""
    return asyncio.run(_graphql(address, "aiohttp"))


def socketio_over_aiohttp(address: str) -> list[Any]:
    """An asyncio client of Socket.IO. It begins by HTTP, and goes on by a WebSocket."""
    import socketio  # type: ignore[import-untyped]

    async def work() -> list[Any]:
        seen: list[Any] = []
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(f"http://{address}")
            seen.append(client.transport)
            for number in range(3):
                seen.append(await client.call("add", [number, 2]))
                seen.append(await client.receive())
        return seen

    return asyncio.run(work())


def socketio_over_websocket_client(address: str) -> list[Any]:
    """A blocking client of Socket.IO, which is threads over websocket-client."""
    import socketio

    seen: list[Any] = []
    with socketio.SimpleClient() as client:
        client.connect(f"http://{address}", transports=["websocket"])
        seen.append(client.transport)
        for number in range(3):
            seen.append(client.call("add", [number, 2]))
            seen.append(client.receive())
        # At the end one thread of the client writes a last message, and another one closes the connection: which is
        # first is chance. Here it is the message.
        connection = client.client.eio.ws
        close = connection.close

        def close_behind_it() -> None:
            time.sleep(0.3)
            close()

        connection.close = close_behind_it
    return seen


def slack_over_aiohttp(address: str) -> list[Any]:
    """Slack's Socket Mode."""
    from slack_sdk.socket_mode.aiohttp import SocketModeClient
    from slack_sdk.socket_mode.response import SocketModeResponse
    from slack_sdk.web.async_client import AsyncWebClient

    async def work() -> list[Any]:
        seen: list[Any] = []
        token = "xapp-1-A-1-aB3dE6gH9jK2mN5p"
        client = SocketModeClient(app_token=token, web_client=AsyncWebClient(base_url=f"http://{address}/api/"))
        done = asyncio.Event()

        async def hears(client: Any, request: Any) -> None:
            seen.append([request.type, request.envelope_id, request.payload])
            if len(seen) == 3:
                done.set()
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

        client.socket_mode_request_listeners.append(hears)
        await client.connect()
        await client.send_message(json.dumps({"ready": True}))
        await asyncio.wait_for(done.wait(), 20)
        await asyncio.sleep(0.3)
        await client.close()
        return seen

    return asyncio.run(work())


def slack_over_websocket_client(address: str) -> list[Any]:
    """The same in threads."""
    from slack_sdk import WebClient
    from slack_sdk.socket_mode.response import SocketModeResponse
    from slack_sdk.socket_mode.websocket_client import SocketModeClient

    seen: list[Any] = []
    heard: queue.Queue[Any] = queue.Queue()
    token = "xapp-1-A-1-aB3dE6gH9jK2mN5p"
    client = SocketModeClient(app_token=token, web_client=WebClient(base_url=f"http://{address}/api/"), concurrency=1)
    opened: Any = queue.Queue()

    def hears(client: Any, request: Any) -> None:
        client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
        heard.put([request.type, request.envelope_id, request.payload])

    client.socket_mode_request_listeners.append(hears)
    client.on_message_listeners.append(opened.put)
    client.connect()
    opened.get(timeout=20)
    client.send_message(json.dumps({"ready": True}))
    seen += [heard.get(timeout=20) for _ in range(3)]
    client.close()
    return seen


def openai_realtime(address: str) -> list[Any]:
    """OpenAI's client, over websockets."""
    from openai import AsyncOpenAI

    async def work() -> list[Any]:
        seen: list[Any] = []
        client = AsyncOpenAI(api_key="sk-" + "Q7x" * 16, base_url=f"http://{address}/v1")
        async with client.realtime.connect(model="gpt-realtime") as connection:
            text = {"type": "input_text", "text": "Is tea ready?"}
            item: Any = {"type": "message", "role": "user", "content": [text]}
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            async for event in connection:
                seen.append([event.type, getattr(event, "delta", None)])
                if event.type == "response.done":
                    break
        return seen

    return asyncio.run(work())


PROGRAMS: dict[str, Callable[[str], list[Any]]] = {
    work.__name__: work
    for work in (
        graphql_over_websockets,
        graphql_over_aiohttp,
        socketio_over_aiohttp,
        socketio_over_websocket_client,
        slack_over_aiohttp,
        slack_over_websocket_client,
        openai_realtime,
    )
}


def main(mode: str, cassette: str, address: str, name: str) -> None:
    block: Any = nullcontext()
    if mode == "record":
        block = timetracer_otel.record(cassette)
    elif mode == "replay":
        block = timetracer_otel.replay(cassette, fail_on_miss=False)
    with block as session:
        seen = PROGRAMS[name](address)
    print(json.dumps({"seen": repr(seen), "account": str(session.verdict()) if mode == "replay" else ""}))


if __name__ == "__main__":
    main(*sys.argv[1:])
