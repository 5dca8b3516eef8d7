"""Where aiohttp is held: everything of it that is not in its manual (seen in 3.12 to 3.14).

A connection's `ResponseHandler` gives what arrives to its ``_parser``, made anew for each response; the parser feeds a
`StreamReader`, whose instances have slots and no room for more: ours have the same layout, and take their place by
``__class__``. Imported only when the plugin is installed, inside functions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import ClientRequest, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import _CONNECTION_CLOSED_EXCEPTION
from aiohttp.compression_utils import ZLibCompressor
from aiohttp.connector import Connection
from aiohttp.helpers import set_exception
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import BytesPayload, Payload

from timetracer_otel import _faults
from timetracer_otel.constants import BodyEnd
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins._aiohttp_wire import ArrivalTap, framed, head_bytes, informational_bytes
from timetracer_otel.plugins._http import BodyTap, RecordedBody
from timetracer_otel.types import HeaderPairs

__all__ = [
    "Answer",
    "TeedWriter",
    "body_of",
    "compressed",
    "header_pairs_of",
    "parser_of",
    "read_body",
    "replay_connection",
    "set_body",
    "tee_parser",
    "whole_body",
]

_NO_BODY_STATUSES = (204, 304)


# The request


def header_pairs_of(request: Any) -> list[tuple[bytes, bytes]]:
    """The request's header lines as they go over the wire."""
    return [(name.encode("utf-8"), value.encode("utf-8")) for name, value in request.headers.items()]


def _body_attribute(request: Any) -> str:
    # ``body`` was a plain attribute before it became a property over ``_body``.
    return "_body" if isinstance(getattr(type(request), "body", None), property) else "body"


def body_of(request: Any) -> Any:
    """The request's payload; None or empty where there is none."""
    return getattr(request, _body_attribute(request), None)


def set_body(request: Any, body: Any) -> None:
    """Put another payload in, without closing the one that was there."""
    setattr(request, _body_attribute(request), body)


def whole_body(request: Any) -> bytes | None:
    """The body where it lies in memory as one piece; None where it is written piece by piece."""
    body = body_of(request)
    if not body:
        return b""
    if isinstance(body, BytesPayload):
        body = body._value
    return bytes(body) if isinstance(body, (bytes, bytearray, memoryview)) else None


def compressed(request: Any, body: bytes) -> bytes:
    """A body as it goes over the wire, where the request is to compress it."""
    if not request.compress or not body:
        return body
    compressor = ZLibCompressor(encoding=request.compress)
    return compressor.compress_sync(body) + compressor.flush()


class TeedWriter:
    """A request's stream writer whose body is noted as it is written; everything else is the writer's own."""

    __slots__ = ("_tap", "_writer")

    def __init__(self, writer: Any, tap: BodyTap) -> None:
        object.__setattr__(self, "_writer", writer)
        object.__setattr__(self, "_tap", tap)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._writer, name, value)

    async def write(self, chunk: Any, *args: Any, **keywords: Any) -> None:
        self._tap.chunk(bytes(chunk))
        await self._writer.write(chunk, *args, **keywords)

    async def write_eof(self, chunk: bytes = b"") -> None:
        if chunk:
            self._tap.chunk(chunk)
        self._tap.finish(BodyEnd.COMPLETE)
        await self._writer.write_eof(chunk)


AbstractStreamWriter.register(TeedWriter)


class _Collector(StreamWriter):
    """Takes a body and sends it nowhere."""

    def __init__(self, protocol: Any, loop: Any, tap: BodyTap) -> None:
        super().__init__(protocol, loop)
        self._tap = tap

    async def write(self, chunk: Any, *_: Any, **__: Any) -> None:
        self._tap.chunk(bytes(chunk))

    async def write_eof(self, chunk: bytes = b"") -> None:
        if chunk:
            self._tap.chunk(chunk)
        self._tap.finish(BodyEnd.COMPLETE)


class _ReadPayload(Payload):
    """A body that has been read already, in the pieces that it came in."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces, content_type="application/octet-stream")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await writer.write(piece)


async def read_body(request: Any, write_bytes: Callable[..., Any], tap: BodyTap) -> None:
    """Read a body as sending it would.

    Raises:
        ClientError: What aiohttp makes of an error of the app's own stream.
    """
    handler = ResponseHandler(request.loop)
    handler.transport = _Transport(handler, {})
    connection = Connection(_Pool(request), request.connection_key, handler, request.loop)  # type: ignore[arg-type]
    before = {name: getattr(request, name, None) for name in ("_continue", "_upload_tracker")}
    for name in before:
        setattr(request, name, None)
    try:
        length = request.headers.get("Content-Length")
        writer = _Collector(handler, request.loop, tap)
        await write_bytes(request, writer, connection, int(length) if length is not None else None)
        error = handler.exception()
    finally:
        for name, value in before.items():
            setattr(request, name, value)
        connection.close()
    if error is not None:
        tap.finish(BodyEnd.FAILED)
        raise error


def payload_of(tap: BodyTap) -> Any:
    """A payload that gives back what was read."""
    return _ReadPayload(tap.chunks)


# The response as it is recorded


def parser_of(handler: Any) -> Any:
    """The parser that a connection's handler has at the moment."""
    return handler._parser


def tee_parser(handler: Any, tap: ArrivalTap, is_head: bool) -> None:
    """Let a tap note what the handler's parser is given from now on."""
    handler._parser = _TeedParser(handler._parser, tap, is_head)


class _TeedParser:
    """A response's parser whose input is noted; everything else is the parser's own."""

    __slots__ = ("_is_head", "_parser", "_payload", "_tap")

    def __init__(self, parser: Any, tap: ArrivalTap, is_head: bool) -> None:
        self._parser = parser
        self._tap: ArrivalTap | None = tap
        self._is_head = is_head
        self._payload: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes, *args: Any) -> Any:
        tap = self._tap
        if tap is None:
            return self._parser.feed_data(data, *args)
        try:
            if data:
                tap.arrived(bytes(data), getattr(self._payload, "_cursor", 0))
        except Exception as fault:
            self._give_up(fault)
        parsed = self._parser.feed_data(data, *args)
        try:
            for message, payload in parsed[0]:
                self._message(tap, message, payload)
        except Exception as fault:
            self._give_up(fault)
        return parsed

    def _give_up(self, fault: Exception) -> None:
        self._tap = None
        _faults.contain("aiohttp.arrived", fault)

    def _message(self, tap: ArrivalTap, message: Any, payload: Any) -> None:
        if 100 <= message.code < 200 and message.code != 101:
            tap.informational.append(message.code)
            return
        length = message.headers.get("Content-Length")
        chunked = bool(message.chunked)
        tap.head_arrived(chunked, int(length) if length is not None and not chunked else None)
        if message.code == 101:
            self._tap = None
        elif self._is_head or message.code in _NO_BODY_STATUSES or not isinstance(payload, StreamReader):
            tap.ended(BodyEnd.COMPLETE, 0)
        elif payload.is_eof():
            tap.ended(BodyEnd.COMPLETE, 0)
        elif payload.exception() is not None:
            tap.ended(BodyEnd.FAILED, 0, payload.exception())
        elif type(payload) is StreamReader:
            self._payload = payload
            payload._timer = _TapTimer(payload._timer, tap)  # type: ignore[assignment]
            payload.__class__ = _TeedReader
        else:
            # EMPTY_PAYLOAD: there is no body.
            tap.ended(BodyEnd.COMPLETE, 0)


class _TapTimer:
    """A reader's timer, and the one slot of it where a tap finds room."""

    __slots__ = ("inner", "tap")

    def __init__(self, inner: Any, tap: ArrivalTap) -> None:
        self.inner = inner
        self.tap = tap

    def __enter__(self) -> Any:
        return self.inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self.inner.__exit__(*error)

    def assert_timeout(self) -> None:
        try:
            self.inner.assert_timeout()
        except BaseException as error:
            self.tap.interrupted(error)
            raise


class _TeedReader(StreamReader):
    """A response's reader that tells its tap how the body ends; afterwards it is a plain one again."""

    __slots__ = ()

    def feed_eof(self) -> None:
        tap = _release(self)
        tap.ended(BodyEnd.COMPLETE, self._cursor)
        self.feed_eof()

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        tap = _release(self)
        tap.ended(BodyEnd.CLOSED if exc is _CONNECTION_CLOSED_EXCEPTION else BodyEnd.FAILED, self._cursor, exc)
        self.set_exception(exc, *cause)

    async def _wait(self, func_name: str) -> None:
        timer: Any = self._timer
        try:
            await super()._wait(func_name)
        except BaseException as error:
            if isinstance(timer, _TapTimer):
                timer.tap.interrupted(error)
            raise


def _release(reader: Any) -> ArrivalTap:
    timer: _TapTimer = reader._timer
    reader._timer = timer.inner
    reader.__class__ = StreamReader
    return timer.tap


# The response as it is replayed


class Answer:
    """A recorded response on its way to the app.

    Args:
        head: HTTP version, status, reason and header lines.
        recorded: The body.
        facts: What `ArrivalTap.facts` noted.
        peer: What the transport knew of the other end.
        at_once: Whether the answer came before the request had been sent to its end.
    """

    def __init__(
        self,
        head: tuple[tuple[int, int], int, str, HeaderPairs],
        recorded: RecordedBody,
        facts: dict[str, Any],
        peer: dict[str, Any],
        at_once: bool,
    ) -> None:
        self.head = head_bytes(*head)
        self.informational = facts.get("informational", ())
        self.recorded = recorded
        self.peer = peer
        self.at_once = at_once
        self.raised = bool(facts.get("raised"))
        pieces = recorded.chunks()
        if "frames" in facts:
            pieces = framed(pieces, facts["frames"])
        has_length = any(name.lower() == b"content-length" for name, _ in head[3])
        self.until_close = not has_length and "frames" not in facts
        self.pieces = pieces
        self.cursors: list[int] = facts.get("cursors") or [0] * len(pieces)
        self.end_cursor: int = facts.get("end_cursor", 0)
        self.at_return: int = facts.get("at_return", len(pieces))


def replay_connection(request: Any, answer: Answer) -> Any:
    """A connection without a network that holds one answer; aiohttp's own otherwise."""
    handler = _ReplayHandler(request.loop, answer)
    return Connection(_Pool(request), request.connection_key, handler, request.loop)  # type: ignore[arg-type]


class _Pool:
    """Stands between a replayed connection and the session's connector, which must not pool it."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request

    @property
    def force_close(self) -> bool:
        return bool(self._request.session.connector.force_close)  # type: ignore[union-attr]

    def _release(self, key: Any, handler: Any, *, should_close: bool = False) -> None:
        if should_close or handler.should_close:
            handler.close()


class _Transport(asyncio.Transport):
    """Takes what the client sends."""

    def __init__(self, handler: Any, peer: dict[str, Any]) -> None:
        super().__init__()
        self._handler = handler
        self._peer = peer
        self._closing = False

    def write(self, data: Any) -> None: ...

    def writelines(self, list_of_data: Any) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in self._peer:
            return self._peer[name]
        raise ReplayMismatchError(
            f"transport.get_extra_info({name!r}): a replayed response has no connection",
            hint="name aiohttp in live_plugins, or do without the connection's data in replay.",
        )


class _ReplayHandler(ResponseHandler):
    """A connection's handler whose bytes come from a cassette.

    At the recorded pace they come by the clock. Otherwise they come as the app reads: what had arrived in the
    recording when the app had read as much as it has now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Answer) -> None:
        super().__init__(loop)
        self.transport = _Transport(self, answer.peer)
        self._answer = answer
        self._begun = False
        self._waits = answer.recorded.waits_s()
        self._to_come: deque[tuple[bytes | None, int]] = deque(zip(answer.pieces, answer.cursors, strict=True))
        # One step for the end, whatever it is.
        self._to_come.append((None, answer.end_cursor))

    def set_response_params(self, **params: Any) -> None:
        # How long a replay waits is no measure of the peer.
        super().set_response_params(**{**params, "read_timeout": None})
        if self._answer.at_once:
            self._begin()

    def start_timeout(self) -> None:
        self._begin()

    def advance(self, reader: Any) -> None:
        """The app is about to read: what had arrived by then arrives now."""
        if not self._answer.recorded.timed:
            while self._to_come and self._to_come[0][1] <= reader._cursor and self._can_go_on(reader):
                self._step()

    async def wait(self, reader: Any) -> bool:
        """The app waits for more. False where only the clock brings it."""
        answer = self._answer
        if self._to_come and answer.recorded.timed:
            return False
        if self._to_come and self._can_go_on(reader):
            await asyncio.sleep(0)
            if self._to_come and self._can_go_on(reader):
                cursor = self._to_come[0][1]
                while self._to_come and self._to_come[0][1] <= cursor and self._can_go_on(reader):
                    self._step()
            return True
        error = reader.exception()
        if error is None:
            if answer.recorded.body.end is BodyEnd.COMPLETE:
                reader.feed_eof()
                return True
            pause_s = answer.recorded.last_wait_s()
            if pause_s and not answer.recorded.timed:
                await asyncio.sleep(pause_s)
            error = answer.recorded.end_error()
            assert error is not None
        raise error

    def rest(self, reader: Any) -> None:
        """Everything arrives now."""
        while self._to_come and self._can_go_on(reader):
            self._step()

    def _can_go_on(self, reader: Any) -> bool:
        return not (self._reading_paused or reader.is_eof() or reader.exception() is not None)

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        answer = self._answer
        for status in answer.informational:
            self.data_received(informational_bytes(status))
        self.data_received(answer.head)
        reader = self._payload
        if type(reader) is not StreamReader:
            self._to_come.clear()
            return
        reader.__class__ = _PacedReader
        for _ in range(answer.at_return):
            next(self._waits, None)
            if self._to_come[0][0] is not None:
                self._step()
        if answer.end_cursor == 0 and len(self._to_come) == 1 and answer.at_return == len(answer.pieces):
            self._step()
        elif answer.recorded.timed:
            self._schedule()
        else:
            self._loop.call_soon(self.advance, reader)

    def _schedule(self) -> None:
        if not self._to_come:
            return
        wait_s = next(self._waits, None)
        self._loop.call_later(self._answer.recorded.last_wait_s() if wait_s is None else wait_s, self._tick)

    def _tick(self) -> None:
        if self._to_come and self.transport is not None and not self.transport.is_closing():
            self._step()
            self._schedule()

    def _step(self) -> None:
        piece, _ = self._to_come.popleft()
        if piece is not None:
            if piece:
                self.data_received(piece)
            return
        reader, body = self._payload, self._answer.recorded.body
        if reader is None or reader.is_eof() or reader.exception() is not None:
            return
        if body.end is BodyEnd.COMPLETE and self._answer.until_close:
            self.connection_lost(None)
        elif body.end is BodyEnd.FAILED and not self._answer.raised:
            error = self._answer.recorded.end_error()
            assert error is not None
            set_exception(reader, error)


class _PacedReader(StreamReader):
    """A replayed response's reader."""

    __slots__ = ()

    async def read(self, n: int = -1) -> bytes:
        self._advance()
        return await super().read(n)

    async def readany(self) -> bytes:
        self._advance()
        return await super().readany()

    async def readuntil(self, *args: Any, **keywords: Any) -> bytes:
        self._advance()
        return await super().readuntil(*args, **keywords)

    async def readchunk(self) -> tuple[bytes, bool]:
        self._advance()
        return await super().readchunk()

    def read_nowait(self, n: int = -1) -> bytes:
        self._advance()
        return super().read_nowait(n)

    async def wait_eof(self) -> None:
        protocol: Any = self._protocol
        protocol.rest(self)
        await super().wait_eof()

    async def _wait(self, func_name: str) -> None:
        protocol: Any = self._protocol
        if not await protocol.wait(self):
            await super()._wait(func_name)

    def _advance(self) -> None:
        protocol: Any = self._protocol
        protocol.advance(self)


for _reader in (_TeedReader, _PacedReader):
    _reader.__module__, _reader.__qualname__, _reader.__name__ = StreamReader.__module__, "StreamReader", "StreamReader"
