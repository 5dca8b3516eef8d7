"""Workloads of WebSockets: a connection of each client, with timeouts, closes, and a handshake that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["WEBSOCKET"]


def websocket_aiohttp(servers: Servers) -> list[str]:
    import aiohttp

    async def work() -> list[str]:
        async with aiohttp.ClientSession() as session:

            async def talks() -> list[Any]:
                heard: list[Any] = []
                async with session.ws_connect(servers.websocket + "/echo", compress=15) as socket:
                    for message in ("tea", "twice x"):
                        await socket.send_str(message)
                        heard.append(await socket.receive_str(timeout=30))
                    heard.append(await socket.receive_str(timeout=30))
                    try:
                        await socket.receive(timeout=0.05)
                    except asyncio.TimeoutError:
                        heard.append("nothing")
                    await socket.send_bytes(b"\x00\x01")
                    heard.append(await socket.receive_bytes(timeout=30))
                    await socket.send_str("close 4001 why")
                    heard.append([message.data for message in [await socket.receive(timeout=30)]])
                    heard.append(socket.close_code)
                return heard

            async def refused() -> Any:
                try:
                    return await session.ws_connect(servers.websocket + "/forbidden")
                except aiohttp.WSServerHandshakeError as error:
                    return error.status

            return [await seen_async(talks), await seen_async(refused)]

    return asyncio.run(work())


def websocket_asyncio(servers: Servers) -> list[str]:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    async def talks() -> list[Any]:
        heard: list[Any] = []
        async with connect(servers.websocket + "/echo", proxy=None, close_timeout=2) as socket:
            for message in ("tea", "twice x"):
                await socket.send(message)
                heard.append(await asyncio.wait_for(socket.recv(), 30))
            heard.append(await asyncio.wait_for(socket.recv(), 30))
            try:
                await asyncio.wait_for(socket.recv(), 0.05)
            except asyncio.TimeoutError:
                heard.append("nothing")
            await socket.send(b"\x00\x01")
            heard.append(await asyncio.wait_for(socket.recv(), 30))
            await socket.send("close 4001 why")
            try:
                await asyncio.wait_for(socket.recv(), 30)
            except ConnectionClosed as error:
                heard.append(str(error))
        return heard

    async def refused() -> Any:
        try:
            return await connect(servers.websocket + "/forbidden", proxy=None)
        except InvalidStatus as error:
            return error.response.status_code

    async def work() -> list[str]:
        return [await seen_async(talks), await seen_async(refused)]

    return asyncio.run(work())


def websocket_blocking(servers: Servers) -> list[str]:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    def talks() -> list[Any]:
        heard: list[Any] = []
        with connect(servers.websocket + "/echo", proxy=None, close_timeout=2) as socket:
            for message in ("tea", "twice x"):
                socket.send(message)
                heard.append(socket.recv(30))
            heard.append(socket.recv(30))
            try:
                socket.recv(0.05)
            except TimeoutError:
                heard.append("nothing")
            socket.send(b"\x00\x01")
            heard.append(socket.recv(30))
            socket.send("close 4001 why")
            try:
                socket.recv(30)
            except ConnectionClosed as error:
                heard.append(str(error))
        return heard

    def refused() -> Any:
        try:
            return connect(servers.websocket + "/forbidden", proxy=None)
        except InvalidStatus as error:
            return error.response.status_code

    return [seen(talks), seen(refused)]


def websocket_client(servers: Servers) -> list[str]:
    import websocket

    def talks() -> list[Any]:
        socket = websocket.create_connection(servers.websocket + "/echo", timeout=30)
        heard: list[Any] = []
        for message in ("tea", "twice x"):
            socket.send(message)
            heard.append(socket.recv())
        heard.append(socket.recv())
        socket.settimeout(0.05)
        try:
            socket.recv()
        except websocket.WebSocketTimeoutException:
            heard.append("nothing")
        socket.settimeout(30)
        socket.send_binary(b"\x00\x01")
        heard.append(socket.recv())
        socket.close(timeout=2)
        return heard

    def refused() -> Any:
        try:
            return websocket.create_connection(servers.websocket + "/forbidden", timeout=30)
        except websocket.WebSocketBadStatusException as error:
            return error.status_code

    return [seen(talks), seen(refused)]


WEBSOCKET: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (websocket_aiohttp, websocket_asyncio, websocket_blocking, websocket_client)
}
