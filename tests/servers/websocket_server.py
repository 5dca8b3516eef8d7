"""A server of WebSockets, run as a program. It prints its port, and ends when its standard input ends.

Given the file of a certificate, and a path, it listens by TLS and at a Unix socket as well, and is a proxy of HTTP.

What a client says decides what it hears: see `talk`.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.servers._wire import State
from tests.servers.proxy_app import serve_connection

_stopped = asyncio.Event()


def _response(status: int, body: bytes, *headers: tuple[str, str]) -> Response:
    lines = Headers([*headers, ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status, HTTPStatus(status).phrase, lines, body)


def answer(connection: ServerConnection, request: Request) -> Response | None:
    """Some paths are answered without a WebSocket."""
    path = request.path.partition("?")[0]
    if path == "/private" and "Authorization" not in request.headers:
        return _response(401, b'{"error": "who are you?"}', ("WWW-Authenticate", "Bearer"))
    if path == "/forbidden":
        return _response(403, b"no")
    if path == "/moved":
        port = connection.local_address[1]
        # aiohttp follows redirects to addresses of HTTP alone, and the others to those of WebSockets.
        scheme = "http" if "aiohttp" in request.headers.get("User-Agent", "") else "ws"
        return _response(302, b"", ("Location", f"{scheme}://127.0.0.1:{port}/echo?from=moved"))
    if path == "/leave":
        _stopped.set()
        return _response(200, b"bye")
    return None


def _chosen(connection: ServerConnection, offered: Any) -> Any:
    return "superchat" if "superchat" in offered else None


async def talk(connection: ServerConnection) -> None:
    """Answer each message."""
    path = connection.request.path.partition("?")[0]  # type: ignore[union-attr]
    if path == "/mute":
        async for message in connection:
            if message == "speak":
                await connection.send("spoken")
        return
    if path == "/greet":
        await connection.send("who is it?")
    try:
        async for message in connection:
            if isinstance(message, bytes):
                await connection.send(message[::-1])
            elif await _obeys(connection, *message.split(" ", 1)):
                await connection.send(f"<{message}>")
    except ConnectionClosed:
        pass


async def _obeys(connection: ServerConnection, word: str, rest: str = "") -> bool:
    """Do what a message asks for; True where it asks for nothing."""
    if word == "close":
        code, _, reason = rest.partition(" ")
        await connection.close(int(code), reason)
    elif word == "die":
        connection.transport.abort()
    elif word == "push":
        for number in range(int(rest)):
            await connection.send(str(number))
    elif word == "slow":
        await asyncio.sleep(float(rest))
        await connection.send("at last")
    elif word == "pieces":
        await connection.send(["one ", "two ", "thr€e"])
    elif word == "ping":
        await (await connection.ping("are you there?"))
        await connection.send("pinged")
    elif word == "size":
        await connection.send("x" * int(rest))
    elif word == "twice":
        await connection.send(rest)
        await connection.send(rest.upper())
    elif word == "nothing":
        pass
    elif word == "who":
        asked: Any = connection.request
        found = {"path": asked.path, "auth": len(asked.headers.get("Authorization", ""))}
        await connection.send(json.dumps(found))
    else:
        return True
    return False


async def _run(certificate: str = "", path: str = "") -> None:
    options: dict[str, Any] = {
        "process_request": answer,
        "select_subprotocol": _chosen,
        "ping_interval": None,
    }
    async with AsyncExitStack() as stack:
        listeners = {"ws": await stack.enter_async_context(serve(talk, "127.0.0.1", 0, **options))}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listeners["wss"] = await stack.enter_async_context(serve(talk, "127.0.0.1", 0, ssl=context, **options))
            await stack.enter_async_context(unix_serve(talk, path, **options))
            proxy: Any = await asyncio.start_server(partial(serve_connection, state=State()), "127.0.0.1", 0)
            listeners["proxy"] = proxy
            stack.callback(proxy.close)
        ports = {name: next(iter(each.sockets)).getsockname()[1] for name, each in listeners.items()}
        print(json.dumps({"ports": ports}), flush=True)
        loop: Any = asyncio.get_running_loop()
        loop.run_in_executor(None, lambda: (sys.stdin.read(), os._exit(0)))
        await _stopped.wait()
        # The answer goes out before nobody listens any more.
        await asyncio.sleep(0.05)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
