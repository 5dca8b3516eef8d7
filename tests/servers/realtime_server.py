"""A server of the protocols that programs speak over WebSockets, run as a program.

These are GraphQL's subscriptions, Socket.IO, Slack's Socket Mode, and OpenAI's Realtime API, as far as their clients
ask for them.

It prints its port, and ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import socketio  # type: ignore[import-untyped]
from aiohttp import WSMsgType, web

_sio = socketio.AsyncServer(async_mode="aiohttp")


@_sio.event  # type: ignore[untyped-decorator]
async def add(sid: str, numbers: list[int]) -> int:
    """Answer a question, and tell everybody."""
    await _sio.emit("added", {"of": numbers}, to=sid)
    return sum(numbers)


async def graphql(request: web.Request) -> web.WebSocketResponse:
    """The protocol ``graphql-transport-ws``."""
    socket = web.WebSocketResponse(protocols=["graphql-transport-ws"])
    await socket.prepare(request)
    async for message in socket:
        said = message.json()
        if said["type"] == "connection_init":
            await socket.send_json({"type": "connection_ack"})
        elif said["type"] == "subscribe":
            variables = said["payload"].get("variables") or {}
            if "broken" in said["payload"]["query"]:
                errors = [{"message": "no such field"}]
                await socket.send_json({"type": "error", "id": said["id"], "payload": errors})
                continue
            for number in range(variables.get("to", 1)):
                data = {"data": {"count": number}}
                await socket.send_json({"type": "next", "id": said["id"], "payload": data})
            await socket.send_json({"type": "complete", "id": said["id"]})
    return socket


async def slack_opens(request: web.Request) -> web.Response:
    """Where an app of Slack's asks for the URL of its WebSocket."""
    if request.headers.get("Authorization") != "Bearer xapp-1-A-1-aB3dE6gH9jK2mN5p":
        return web.json_response({"ok": False, "error": "invalid_auth"})
    return web.json_response({"ok": True, "url": f"ws://{request.host}/slack/link/?ticket=t1"})


async def slack(request: web.Request) -> web.WebSocketResponse:
    """Socket Mode: events, each of which the app acknowledges."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"type": "hello", "num_connections": 1})
    number = 0
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        if number < 3:
            number += 1
            text = {"type": "events_api", "envelope_id": f"e{number}", "payload": {"event": {"text": f"m{number}"}}}
            await socket.send_json(text)
    return socket


async def realtime(request: web.Request) -> web.WebSocketResponse:
    """A session of a language model."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"type": "session.created", "event_id": "1", "session": {"type": "realtime"}})
    async for message in socket:
        said = message.json()
        if said["type"] == "conversation.item.create":
            item = {"type": "message", "role": "user", "content": said["item"]["content"]}
            await socket.send_json({"type": "conversation.item.added", "event_id": "2", "item": item})
        elif said["type"] == "response.create":
            for delta in ("Tea ", "is ", "ready."):
                await socket.send_json(
                    {
                        "type": "response.output_text.delta",
                        "event_id": "3",
                        "delta": delta,
                        "response_id": "r",
                        "item_id": "i",
                        "output_index": 0,
                        "content_index": 0,
                    }
                )
            await socket.send_json({"type": "response.done", "event_id": "4", "response": {"status": "completed"}})
    return socket


async def _run() -> None:
    app = web.Application()
    _sio.attach(app)
    app.router.add_get("/graphql", graphql)
    app.router.add_post("/api/apps.connections.open", slack_opens)
    app.router.add_get("/slack/link/", slack)
    app.router.add_get("/v1/realtime", realtime)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"ports": {"http": runner.addresses[0][1]}}), flush=True)
    loop: Any = asyncio.get_running_loop()
    loop.run_in_executor(None, lambda: (sys.stdin.read(), os._exit(0)))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run())
