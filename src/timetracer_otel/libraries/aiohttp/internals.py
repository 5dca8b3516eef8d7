"""What aiohttp does not promise in its manual, and we rely upon (seen in 3.12 to 3.14).

A connection's `ResponseHandler` gives what arrives to its ``_parser``, which it makes anew for each response. The
parser makes a `StreamReader` and feeds it; the app reads from that. Nobody asks us for the reader, so we change its
class: we assign a subclass of the same layout to ``__class__``, and so see how the body ends. Instances of
`StreamReader` have slots and no room for attributes of ours; `_TapTimer` stands in one of the slots and has the room.

`answer` has subclasses of `ResponseHandler` and `StreamReader`, which use private attributes of these two as well.
The table of all names is in `private_names`: this module imports aiohttp, and the plugin's declaration must not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from time import perf_counter
from typing import Any

from aiohttp import ClientRequest, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import _CONNECTION_CLOSED_EXCEPTION
from aiohttp.compression_utils import ZLibCompressor
from aiohttp.hdrs import CONTENT_LENGTH
from aiohttp.payload import BytesPayload
from multidict import CIMultiDict

from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.kits.http.bodies import BodyTap
from timetracer_otel.libraries.kits.http1.arriving import ArrivalTap, Head

__all__ = [
    "TeedWriter",
    "body_attribute",
    "compressed",
    "copied",
    "head_of",
    "header_lines",
    "plain_name",
    "proxy_request",
    "tee_parser",
    "upload_attempted",
    "whole_body",
]

_NO_BODY_STATUSES = (204, 304)


# The request


def header_lines(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """A request's header lines as they go over the wire."""
    return [(name.encode("utf-8"), value.encode("utf-8")) for name, value in headers]


def body_attribute(request: Any) -> str:
    """Where the request keeps its payload."""
    # ``body`` was a plain attribute before it became a property over ``_body``.
    return "_body" if isinstance(getattr(type(request), "body", None), property) else "body"


_BODY = "_body" if isinstance(getattr(ClientRequest, "body", None), property) else "body"


def copied(headers: Any) -> Any:
    """A request's headers as they are now."""
    return headers.copy() if type(headers) is CIMultiDict else CIMultiDict(headers.items())


def whole_body(request: Any) -> bytes | None:
    """The body where it lies in memory as one piece; None where it is written piece by piece.

    Raises:
        Exception: The request is of a class of the app's, and has no URL or no headers. So it is no call.
    """
    if type(request) is ClientRequest:
        body = getattr(request, _BODY)
    else:
        str(request.url)
        iter(request.headers.items())
        body = getattr(request, body_attribute(request), None)
    if not body:
        return b""
    if isinstance(body, BytesPayload):
        body = body._value
    return bytes(body) if isinstance(body, (bytes, bytearray, memoryview)) else None


def compressed(encoding: Any, body: bytes) -> bytes:
    """A body as it goes over the wire, where the request is to compress it."""
    compressor = ZLibCompressor(encoding=encoding)
    return compressor.compress_sync(body) + compressor.flush()


def proxy_request(request: Any) -> Any:
    """The request that the connector makes of a proxy for this one, which may get a header by that."""
    connector = request.session.connector
    make = getattr(connector, "_update_proxy_auth_header_and_build_proxy_req", None)
    if make is not None:
        return make(request)
    headers = request.proxy_headers if request.proxy_headers is not None else {}
    headers["Host"] = request.headers["Host"]
    made = ClientRequest(
        "GET", request.proxy, headers=headers, auth=request.proxy_auth, loop=request.loop, ssl=request.ssl
    )
    password = made.headers.pop("Authorization", None)
    if password is not None:
        (made if request.is_ssl() else request).headers["Proxy-Authorization"] = password
    return made


def upload_attempted(request: Any, error: BaseException | None = None) -> None:
    """Tell the app's upload tracker, if there is one, of an attempt that failed: a replay makes no connection for it.

    aiohttp has trackers from 3.14.4 on.

    Args:
        request: The request.
        error: What its body failed with, if it was the body that failed.
    """
    tracker = getattr(request, "_upload_tracker", None)
    if tracker is not None:
        request._upload_gen = tracker._attempt_started()
        if error is not None:
            tracker._attempt_failed(request._upload_gen, error)


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

    # Guards (see `calls.guarded`), and no coroutines: what is awaited is the writer's own.

    def write(self, chunk: Any, *args: Any, **keywords: Any) -> Awaitable[None]:
        """Note a piece, and write it."""
        self._tap.noting(_note_piece, self._tap, chunk)
        written: Awaitable[None] = self._writer.write(chunk, *args, **keywords)
        return written

    def write_eof(self, chunk: bytes = b"") -> Awaitable[None]:
        """Note the last piece and the end, and write them."""
        if chunk:
            self._tap.noting(_note_piece, self._tap, chunk)
        self._tap.noting(self._tap.finish, BodyEnd.COMPLETE)
        written: Awaitable[None] = self._writer.write_eof(chunk)
        return written


def _note_piece(tap: BodyTap, piece: Any) -> None:
    tap.chunk(bytes(piece))


AbstractStreamWriter.register(TeedWriter)


# The response


def head_of(parsed: Any, status: int) -> Head:
    """The head of what the parser made, or of a response that was made of it."""
    return parsed.version, status, parsed.reason or "", parsed.raw_headers


def tee_parser(handler: Any, request: Any, timer: Any, tap: ArrivalTap) -> bool:
    """Let a tap note what the handler's parser is given from now on.

    Args:
        handler: Of the connection.
        request: The call's.
        timer: What the handler has got for it. Each call of a session has one, which its requests know.
        tap: Notes the response.

    Returns:
        Whether the parser is that of this request.
    """
    if getattr(request, "_timer", timer) is not timer:
        return False
    handler._parser = _TeedParser(handler._parser, tap, request.method)
    return True


class _TeedParser:
    """A response's parser whose input is noted; everything else is the parser's own."""

    # The defaults stand in the class: most responses come at once, and set few of them.
    _begun = False
    _payload: Any = None

    def __init__(self, parser: Any, tap: ArrivalTap, method: str) -> None:
        self._parser = parser
        self._tap: ArrivalTap | None = tap
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes, *args: Any) -> Any:
        tap = self._tap
        if tap is None:
            return self._parser.feed_data(data, *args)
        if not self._begun:
            self._begun = True
            at_s = perf_counter()
            parsed = self._parser.feed_data(data, *args)
            try:
                messages = parsed[0]
                if len(messages) != 1 or not self._comes_at_once(tap, at_s, data, *messages[0]):
                    if data:
                        tap.arrived(bytes(data), 0, at_s)
                    self._messages(tap, messages)
            except Exception as fault:
                self._give_up(fault)
            return parsed
        try:
            if data:
                tap.arrived(bytes(data), getattr(self._payload, "_cursor", 0))
        except Exception as fault:
            self._give_up(fault)
        parsed = self._parser.feed_data(data, *args)
        try:
            self._messages(tap, parsed[0])
        except Exception as fault:
            self._give_up(fault)
        return parsed

    def _give_up(self, fault: Exception) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.give_up(fault)

    def _comes_at_once(self, tap: ArrivalTap, at_s: float, data: bytes, message: Any, payload: Any) -> bool:
        """Note a response all of which is in the first arrival; False where that is not so."""
        code = message.code
        if code < 200 or message.chunked or type(payload) is not StreamReader or not payload.is_eof():
            return False
        head = message.version, code, message.reason or "", message.raw_headers
        if not tap.came_at_once(at_s, bytes(data), head):
            return False
        self._tap = None
        return True

    def _messages(self, tap: ArrivalTap, messages: Any) -> None:
        for message, payload in messages:
            self._message(tap, message, payload)
        if tap.end is not None:
            # The connection may be idle for long, and must not keep a recording alive meanwhile.
            self._tap = self._payload = None

    def _message(self, tap: ArrivalTap, message: Any, payload: Any) -> None:
        code = message.code
        if 100 <= code < 200 and code != 101:
            tap.is_informational(code)
            return
        length = None if message.chunked else message.headers.get(CONTENT_LENGTH)
        tap.head_arrived(head_of(message, code), bool(message.chunked), None if length is None else int(length))
        if code == 101:
            self._tap = None
        elif (
            self._method == "HEAD"
            or code in _NO_BODY_STATUSES
            or not isinstance(payload, StreamReader)
            or payload.is_eof()
        ):
            tap.finish(BodyEnd.COMPLETE)
        elif payload.exception() is not None:
            tap.ended(BodyEnd.FAILED, 0, payload.exception())
        elif type(payload) is StreamReader:
            self._payload = payload
            payload._timer = _TapTimer(payload._timer, tap)  # type: ignore[assignment]
            payload.__class__ = _TeedReader
        else:
            # EMPTY_PAYLOAD: there is no body.
            tap.finish(BodyEnd.COMPLETE)


class _TapTimer:
    """Stands for a reader's timer, and holds the reader's tap: the reader has no room for it, see above."""

    __slots__ = ("inner", "tap")

    def __init__(self, inner: Any, tap: ArrivalTap) -> None:
        self.inner = inner
        self.tap = tap

    def __enter__(self) -> Any:
        return self.inner.__enter__()

    def __exit__(self, *raised: object) -> Any:
        # The app waits within this block for more.
        try:
            swallows = self.inner.__exit__(*raised)
        except BaseException as error:
            self.tap.noting(self.tap.interrupted, error)
            raise
        if raised[1] is not None:
            self.tap.noting(self.tap.interrupted, raised[1])
        return swallows

    def assert_timeout(self) -> None:
        try:
            self.inner.assert_timeout()
        except BaseException as error:
            self.tap.noting(self.tap.interrupted, error)
            raise


class _TeedReader(StreamReader):
    """A response's reader that tells its tap how the body ends. Then it is a plain `StreamReader` again.

    Its methods are guards (see `calls.guarded`), as are those of its timer and its parser.
    """

    __slots__ = ()

    def feed_eof(self) -> None:
        _end(self, BodyEnd.COMPLETE, None)
        StreamReader.feed_eof(self)

    def set_exception(self, exc: BaseException, *cause: Any, **named: Any) -> None:
        end = BodyEnd.CLOSED if exc is _CONNECTION_CLOSED_EXCEPTION else BodyEnd.FAILED
        _end(self, end, exc)
        StreamReader.set_exception(self, exc, *cause, **named)


def _end(reader: Any, end: BodyEnd, error: BaseException | None) -> None:
    """Make a teed reader a plain one again, and note how its body ended. A guard."""
    timer = reader._timer
    if type(timer) is _TapTimer:
        reader._timer = timer.inner
        timer.tap.noting(_note_end, timer.tap, reader, end, error)
    reader.__class__ = StreamReader


def _note_end(tap: ArrivalTap, reader: Any, end: BodyEnd, error: BaseException | None) -> None:
    tap.ended(end, reader._cursor, error, waited=reader._waiter is not None)


def plain_name(reader: type[StreamReader]) -> None:
    """Give a class of ours the name of the library's own, which ``repr`` and logs show."""
    reader.__module__, reader.__qualname__, reader.__name__ = StreamReader.__module__, "StreamReader", "StreamReader"


plain_name(_TeedReader)
