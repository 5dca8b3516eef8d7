"""Clients of WebSockets in the words of the contract: aiohttp's, those of websockets, and websocket-client."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import websocket
from aiohttp import client_proto, client_ws
from websocket import _core
from websockets.asyncio import client as async_client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync import client as sync_client

from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.observation import class_name
from tests.contract.websocket_cases import CASES
from tests.servers.websocket_service import WebSocketService
from timetracer_otel.plugins import (
    disable_aiohttp,
    disable_websocket_client,
    disable_websockets,
    enable_aiohttp,
    enable_websocket_client,
    enable_websockets,
)

__all__ = [
    "FLAVOUR",
    "AiohttpSockets",
    "BlockingWebsockets",
    "EverySocket",
    "WebSocketClient",
    "Websockets",
    "sync_client",
]

_NOWHERE = "ws://127.0.0.1:1"
_reconnects = hasattr(sync_client, "reconnect")
"""Whether the blocking client of websockets is that of 17 and newer."""


def short(message: Any) -> Any:
    """A message with its type; of a long one its length, its beginning, and its end."""
    if isinstance(message, (str, bytes, bytearray)) and len(message) > 100:
        return [type(message).__name__, len(message), message[:10], message[-10:]]
    return [type(message).__name__, message]


def failure(error: BaseException | None) -> Any:
    """An error as an app sees it."""
    if error is None:
        return None
    text = str(error)
    found: list[Any] = [class_name(error), text, failure(error.__cause__)]
    if isinstance(error, ConnectionClosed):
        found.append([repr(error.rcvd), repr(error.sent), error.rcvd_then_sent])
    return found


class _Flavour(Flavour):
    def __init__(self) -> None:
        self._service: WebSocketService | None = None
        self._elsewhere: str | None = None
        self._untouched = self._functions()

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own connections."""
        return CASES.fitting(self.features)

    features: frozenset[str]

    @staticmethod
    def _functions() -> Any:
        raise NotImplementedError

    def url(self, path: str, nowhere: bool) -> str:
        """Where a path of the server is, or of nobody."""
        if nowhere:
            return _NOWHERE + path
        if self._elsewhere is not None:
            return f"ws://{self._elsewhere}{path}"
        assert self._service is not None
        return self._service.url + path

    def start(self, folder: Path) -> None:
        self._service = WebSocketService()

    def reset(self) -> None:
        pass

    def stop(self) -> None:
        assert self._service is not None
        self._service.stop()

    def tear_down(self) -> None:
        if self._service is not None:
            self._service.close()

    def is_untouched(self) -> bool:
        return bool(self._functions() == self._untouched)

    def perform(self, case: Case) -> Any:
        value = case.run(self)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def told(self) -> str:
        """What another process needs to know of the server."""
        return self.url("", False).removeprefix("ws://")

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        """The server belongs to another process, or listens no more."""
        self._elsewhere = told.removeprefix("ws://")
        if gone:
            WebSocketService.leave(self._elsewhere)


class _AiohttpSocket:
    def __init__(self, session: Any, socket: Any) -> None:
        self._session = session
        self._socket = socket

    async def _tried(self, step: Any) -> Any:
        try:
            return await step
        except (asyncio.TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            return failure(error)

    @staticmethod
    def _shown(message: Any) -> Any:
        data = failure(message.data) if isinstance(message.data, BaseException) else short(message.data)
        return [class_name(message), message.type.name, data, message.extra]

    async def send(self, message: Any) -> Any:
        """Send a message."""
        send = self._socket.send_str if isinstance(message, str) else self._socket.send_bytes
        return await self._tried(send(message))

    async def send_pieces(self, pieces: list[str]) -> Any:
        """It has no pieces."""
        return await self.send("".join(pieces))

    async def recv(self, timeout: float | None = None) -> Any:
        """A message."""
        found = await self._tried(self._socket.receive(timeout))
        return self._shown(found) if isinstance(found, tuple) else found

    pieces = recv

    async def all(self) -> Any:
        """What is left."""
        return [self._shown(message) async for message in self._socket]

    async def ping(self) -> Any:
        """Ping."""
        return await self._tried(self._socket.ping(b"tea"))

    async def close(self, code: int = 1000, reason: str = "") -> Any:
        """Close."""
        return await self._tried(self._socket.close(code=code, message=reason.encode()))

    async def gone(self) -> None:
        """The end of it."""
        await self._session.close()

    def state(self) -> Any:
        """What it says of itself."""
        code = self._socket.close_code
        return [class_name(code), code, self._socket.closed, failure(self._socket.exception())]

    def protocol(self) -> Any:
        """The subprotocol."""
        return self._socket.protocol

    def answered(self) -> Any:
        """The answer to the handshake."""
        response = self._socket._response
        return [response.status, response.reason, sorted(set(response.headers) - {"Date", "Sec-WebSocket-Accept"})]


class AiohttpSockets(_Flavour):
    """aiohttp's ``ws_connect``."""

    name = "aiohttp"
    features = frozenset({"asyncio", "redirects"})

    @staticmethod
    def _functions() -> Any:
        return methods_of(client_ws, client_proto, aiohttp.client)

    async def open_socket(
        self,
        path: str,
        *,
        nowhere: bool = False,
        protocols: Any = (),
        headers: Any = None,
        compressed: bool = False,
        heartbeat: float | None = None,
        most_bytes: int | None = 4 << 20,
    ) -> Any:
        """A connection, or why there is none."""
        session = aiohttp.ClientSession()
        try:
            socket = await session.ws_connect(
                self.url(path, nowhere),
                protocols=protocols,
                headers=headers,
                compress=15 if compressed else 0,
                heartbeat=heartbeat,
                max_msg_size=most_bytes or 0,
            )
        except aiohttp.WSServerHandshakeError as error:
            await session.close()
            return [*failure(error), error.status, error.message, sorted(set(error.headers or ()) - {"Date"})]
        except aiohttp.ClientError as error:
            await session.close()
            return failure(error)
        return _AiohttpSocket(session, socket)

    def enable(self) -> None:
        enable_aiohttp()

    def disable(self) -> None:
        disable_aiohttp()


class _WebsocketsSocket:
    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def _tried(self, step: Any) -> Any:
        try:
            return await step
        except (ConnectionClosed, TimeoutError, asyncio.TimeoutError) as error:
            return failure(error)

    async def send(self, message: Any) -> Any:
        """Send a message."""
        return await self._tried(self._socket.send(message))

    async def send_pieces(self, pieces: list[str]) -> Any:
        """Send a message in pieces."""
        return await self._tried(self._socket.send(iter(pieces)))

    async def recv(self, timeout: float | None = None) -> Any:
        """A message."""
        waits = self._socket.recv()
        found = await self._tried(waits if timeout is None else asyncio.wait_for(waits, timeout))
        return found if isinstance(found, list) else short(found)

    async def pieces(self) -> Any:
        """A message, piece by piece."""
        return [piece async for piece in self._socket.recv_streaming()]

    async def all(self) -> Any:
        """What is left."""
        return [short(message) async for message in self._socket]

    async def ping(self) -> Any:
        """Ping, and wait for the pong."""
        latency = await (await self._socket.ping(b"tea"))
        return type(latency).__name__

    async def close(self, code: int = 1000, reason: str = "") -> Any:
        """Close."""
        return await self._tried(self._socket.close(code, reason))

    def gone(self) -> None:
        """The end of it."""

    def state(self) -> Any:
        """What it says of itself."""
        return [self._socket.state.name, self._socket.close_code, self._socket.close_reason]

    def protocol(self) -> Any:
        """The subprotocol."""
        return self._socket.subprotocol

    def answered(self) -> Any:
        """The answer to the handshake."""
        response = self._socket.response
        return [
            response.status_code,
            response.reason_phrase,
            sorted({name for name, _ in response.headers.raw_items()}),
        ]


class Websockets(_Flavour):
    """The asyncio client of websockets."""

    name = "websockets"
    features = frozenset({"asyncio", "iterates", "redirects"})

    @staticmethod
    def _functions() -> Any:
        return methods_of(async_client)

    def open_socket(
        self,
        path: str,
        *,
        nowhere: bool = False,
        protocols: Any = (),
        headers: Any = None,
        compressed: bool = True,
        heartbeat: float | None = None,
        most_bytes: int | None = 1 << 20,
    ) -> Any:
        """A connection, or why there is none."""
        given: dict[str, Any] = {"proxy": None, "subprotocols": protocols or None}
        if headers is not None:
            given["additional_headers"] = headers
        if not compressed:
            given["compression"] = None
        if heartbeat is not None:
            given["ping_interval"], given["ping_timeout"] = heartbeat, 5
        if most_bytes is None:
            given["max_size"] = None
        return self._connected(self.url(path, nowhere), given)

    async def _connected(self, url: str, options: dict[str, Any]) -> Any:
        try:
            return _WebsocketsSocket(await async_client.connect(url, **options))
        except (OSError, InvalidStatus) as error:
            return [*failure(error), _refusal(error)]

    async def iterated(self, path: str) -> Any:
        """What is heard over two connections, one after the other."""
        seen = []
        async for connection in async_client.connect(self.url(path, False), proxy=None):
            seen.append(short(await connection.recv()))
            await connection.send("close 1000 bye")
            seen.append([short(message) async for message in connection])
            if len(seen) > 2:
                break
        return seen

    def enable(self) -> None:
        enable_websockets()

    def disable(self) -> None:
        disable_websockets()


def _refusal(error: Any) -> Any:
    response = getattr(error, "response", None)
    if response is None:
        return getattr(error, "errno", None)
    names = sorted({name for name, _ in response.headers.raw_items()} - {"Date"})
    return [response.status_code, response.reason_phrase, names, bytes(response.body or b"")]


class _BlockingSocket:
    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def _tried(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (ConnectionClosed, TimeoutError) as error:
            return failure(error)

    def send(self, message: Any) -> Any:
        """Send a message."""
        return self._tried(self._socket.send, message)

    def send_pieces(self, pieces: list[str]) -> Any:
        """Send a message in pieces."""
        return self._tried(self._socket.send, iter(pieces))

    def recv(self, timeout: float | None = None) -> Any:
        """A message."""
        found = self._tried(self._socket.recv, timeout)
        return found if isinstance(found, list) else short(found)

    def pieces(self) -> Any:
        """A message, piece by piece."""
        return list(self._socket.recv_streaming())

    def all(self) -> Any:
        """What is left."""
        return [short(message) for message in self._socket]

    def ping(self) -> Any:
        """Ping, and wait for the pong."""
        return self._socket.ping(b"tea").wait(10)

    def close(self, code: int = 1000, reason: str = "") -> Any:
        """Close."""
        return self._tried(self._socket.close, code, reason)

    def gone(self) -> None:
        """The end of it."""

    state = _WebsocketsSocket.state
    protocol = _WebsocketsSocket.protocol
    answered = _WebsocketsSocket.answered


class BlockingWebsockets(Websockets):
    """The blocking client of websockets."""

    name = "websockets.sync"
    features = frozenset({"blocking", *(["iterates", "redirects"] if _reconnects else [])})

    @staticmethod
    def _functions() -> Any:
        return methods_of(sync_client)

    def _connected(self, url: str, options: dict[str, Any]) -> Any:  # type: ignore[override]
        if _reconnects:
            options["legacy"] = True
        try:
            return _BlockingSocket(sync_client.connect(url, **options))
        except (OSError, InvalidStatus) as error:
            return [*failure(error), _refusal(error)]

    def iterated(self, path: str) -> Any:  # type: ignore[override]
        """What is heard over two connections, one after the other."""
        seen: list[Any] = []
        for connection in sync_client.reconnect(self.url(path, False), proxy=None):
            seen.append(short(connection.recv()))
            connection.send("close 1000 bye")
            seen.append([short(message) for message in connection])
            if len(seen) > 2:
                break
        return seen


class _ClientSocket:
    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def _tried(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (websocket.WebSocketException, OSError) as error:
            return failure(error)

    def send(self, message: Any) -> Any:
        """Send a message. It tells the length of the frame."""
        if isinstance(message, str):
            return self._tried(self._socket.send, message)
        return self._tried(self._socket.send_binary, message)

    def send_pieces(self, pieces: list[str]) -> Any:
        """Send a message in pieces."""
        kinds = [websocket.ABNF.OPCODE_TEXT] + [websocket.ABNF.OPCODE_CONT] * (len(pieces) - 1)
        for number, (kind, piece) in enumerate(zip(kinds, pieces, strict=True), 1):
            frame = websocket.ABNF.create_frame(piece.encode(), kind, int(number == len(pieces)))
            self._tried(self._socket.send_frame, frame)

    def recv(self, timeout: float | None = None) -> Any:
        """A message, with its kind."""
        self._socket.settimeout(timeout)
        found = self._tried(self._socket.recv_data)
        return [found[0], short(found[1])] if isinstance(found, tuple) else found

    pieces = recv

    def all(self) -> Any:
        """What is left."""
        return [short(message) for message in iter(self._socket.recv, "")]

    def ping(self) -> Any:
        """Ping, and read the pong."""
        self._socket.ping("tea")
        return list(self._socket.recv_data(control_frame=True))

    def close(self, code: int = 1000, reason: str = "") -> Any:
        """Close."""
        return self._tried(self._socket.close, code, reason.encode())

    def gone(self) -> None:
        """The end of it."""

    def state(self) -> Any:
        """What it says of itself."""
        return [self._socket.connected, self._socket.getstatus()]

    def protocol(self) -> Any:
        """The subprotocol."""
        return self._socket.getsubprotocol()

    def answered(self) -> Any:
        """The answer to the handshake."""
        return [self._socket.getstatus(), sorted(set(self._socket.getheaders()) - {"date", "sec-websocket-accept"})]


class WebSocketClient(_Flavour):
    """websocket-client."""

    name = "websocket-client"
    features = frozenset({"blocking", "app", "redirects"})

    @staticmethod
    def _functions() -> Any:
        return methods_of(_core), vars(_core)["connect"]

    def start(self, folder: Path) -> None:
        super().start(folder)
        # What is there before is not looked at by the collections below, which so take no time in a process that has
        # run thousands of tests.
        gc.collect()
        gc.freeze()

    def tear_down(self) -> None:
        gc.unfreeze()
        super().tear_down()

    def perform(self, case: Case) -> Any:
        try:
            return super().perform(case)
        finally:
            # It forgets to close some of its sockets.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    def open_socket(
        self,
        path: str,
        *,
        nowhere: bool = False,
        protocols: Any = (),
        headers: Any = None,
        compressed: bool = False,
        heartbeat: float | None = None,
        most_bytes: int | None = None,
    ) -> Any:
        """A connection, or why there is none."""
        try:
            socket = websocket.create_connection(
                self.url(path, nowhere), subprotocols=protocols or None, header=headers, timeout=20
            )
        except (websocket.WebSocketException, OSError) as error:
            # The text of the error has the date of the answer.
            body = getattr(error, "resp_body", None)
            known = body is not None
            return [class_name(error), "" if known else str(error), getattr(error, "status_code", None), body]
        return _ClientSocket(socket)

    def run_app(self, message: str | None, *, path: str = "/greet", **options: Any) -> Any:
        """What the callbacks of an app hear."""
        seen: list[Any] = []

        def on_message(app: Any, text: str) -> None:
            seen.append(text)
            if len(seen) > 3 or message is None:
                app.close()
            else:
                app.send(message if len(seen) == 2 else "tea")

        app = websocket.WebSocketApp(
            self.url(path, False),
            on_open=lambda _: seen.append("open"),
            on_message=on_message,
            on_error=lambda _, error: seen.append([class_name(error), getattr(error, "status_code", str(error))]),
            on_close=lambda _, code, reason: seen.append([code, reason]),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen.append(app.run_forever(**options))
        return seen

    def enable(self) -> None:
        enable_websocket_client()

    def disable(self) -> None:
        disable_websocket_client()


class EverySocket(_Flavour):
    """All of them in turn, in one process."""

    name = "all WebSockets"
    features = frozenset()
    _kinds: tuple[type[Any], ...] = (
        AiohttpSockets,
        Websockets,
        BlockingWebsockets,
        WebSocketClient,
    )

    @staticmethod
    def _functions() -> Any:
        return None

    @property
    def cases(self) -> list[Case]:
        """The cases of each of them."""
        return [
            Case(f"{kind.name}, {case.name}", partial(self._with, kind, case))
            for kind in self._kinds
            for case in CASES.fitting(kind.features)
        ]

    def _with(self, kind: type[Any], case: Case, _: Any) -> Any:
        flavour = kind()
        flavour._elsewhere = self.told()
        return case.run(flavour)

    def enable(self) -> None:
        for kind in self._kinds:
            kind().enable()

    def disable(self) -> None:
        for kind in self._kinds:
            kind().disable()


FLAVOUR = EverySocket
