"""How a recorded event becomes a response: aiohttp gets a connection without a network, whose bytes it parses.

aiohttp's own request, parser, response and connection do all the rest. So a replayed answer goes the way that it went
live.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import ref

from aiohttp import ClientRequest, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import set_exception, set_result
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload

from timetracer_otel.calls.guarded import AppStep, Flow, raising, refusal
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.constants import CONVERSATION, BodyEnd
from timetracer_otel.exceptions import ReplayMismatchError, TimetracerError
from timetracer_otel.libraries.aiohttp.internals import body_attribute, plain_name, proxy_request
from timetracer_otel.libraries.kits.http.bodies import BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http1.arriving import Head, framed, head_bytes, informational_bytes
from timetracer_otel.libraries.kits.websocket.far_end import FarEnd
from timetracer_otel.libraries.kits.websocket.streams import replay_transport
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = [
    "Answer",
    "NoAnswerError",
    "answer_of",
    "read_body",
    "replay_connection",
    "silent_connection",
    "written_again",
]


# The request


class _Collector(ReplayObject, StreamWriter):
    """Takes a body and sends it nowhere."""

    def __init__(self, protocol: Any, loop: Any, tap: BodyTap) -> None:
        super().__init__(protocol, loop)
        self._tap = tap
        self.met: Exception | None = None

    @in_steps
    def write(self, chunk: Any, *_: Any, **__: Any) -> Flow:
        self._tap.chunk(bytes(chunk))
        yield from ()

    @in_steps
    def write_eof(self, chunk: bytes = b"") -> Flow:
        if chunk:
            self._tap.chunk(chunk)
        self._tap.finish(BodyEnd.COMPLETE)
        yield from ()

    def _met_fault(self, miss: Exception) -> None:
        # aiohttp makes an error of its own of what raises while a body is written.
        self.met = miss


class _ReadPayload(ReplayObject, Payload):
    """A body that has been read already, in the pieces that it came in."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces, content_type="application/octet-stream")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    @in_steps
    def write(self, writer: AbstractStreamWriter) -> Flow:
        for piece in self._value:
            yield partial(writer.write, piece)


def read_body(request: Any, write_bytes: Callable[..., Any], tap: BodyTap) -> Flow:
    """The steps that read a body as sending it would.

    Raises:
        ClientError: What aiohttp makes of an error of the app's own stream.
    """
    handler = ResponseHandler(request.loop)
    handler.transport = _Transport({})
    connection = Connection(_Pool(request), request.connection_key, handler, request.loop)  # type: ignore[arg-type]
    before = {name: getattr(request, name, None) for name in ("_continue", "_upload_tracker")}
    for name in before:
        setattr(request, name, None)
    try:
        length = request.headers.get("Content-Length")
        writer = _Collector(handler, request.loop, tap)
        yield AppStep(write_bytes, request, writer, connection, int(length) if length is not None else None)
        error = writer.met or handler.exception()
    finally:
        for name, value in before.items():
            setattr(request, name, value)
        connection.close()
    if error is not None:
        tap.finish(BodyEnd.FAILED)
        yield raising(error)


@contextmanager
def written_again(request: Any, pieces: list[bytes]) -> Generator[None, None, None]:
    """While it is sent, a request whose body was read has a payload that gives back the same pieces."""
    attribute = body_attribute(request)
    body = getattr(request, attribute)
    setattr(request, attribute, _ReadPayload(pieces))
    try:
        yield
    finally:
        setattr(request, attribute, body)


# The response as it is replayed


class Answer:
    """A recorded response on its way to the app.

    Args:
        head: HTTP version, status, reason and header lines; None where the app's response class read nothing.
        recorded: The body.
        facts: What `ArrivalTap.facts` noted.
        peer: What the transport knew of the other end.
        at_once: Whether the answer came before the request had been sent to its end.
        far_end: The other end of a WebSocket.
    """

    def __init__(
        self,
        head: Head | None,
        recorded: RecordedBody,
        facts: dict[str, Any],
        peer: dict[str, Any],
        at_once: bool,
        far_end: FarEnd | None = None,
    ) -> None:
        self.far_end = far_end
        self.head = head_bytes(*head) if head is not None else None
        self.informational = facts.get("informational", ())
        self.recorded = recorded
        self.peer = peer
        self.at_once = at_once
        self.raised = bool(facts.get("raised"))
        self.waited = bool(facts.get("waited"))
        pieces = recorded.chunks()
        headers = head[3] if head is not None else ()
        is_chunked = "frames" in facts
        if is_chunked:
            pieces = framed(pieces, facts["frames"])
        elif any(name.lower() == b"transfer-encoding" and value.lower() == b"chunked" for name, value in headers):
            # Of an imported answer, nobody knows by which chunks it came.
            is_chunked = True
            pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]
        has_length = any(name.lower() == b"content-length" for name, _ in headers)
        self.until_close = not has_length and not is_chunked
        self.pieces = pieces
        self.cursors: list[int] = facts.get("cursors") or [0] * len(pieces)
        self.end_cursor: int = facts.get("end_cursor", 0)
        self.ended_at_return = "at_return" not in facts
        self.at_return: int = facts.get("at_return", len(pieces))
        self.sent_at: int | None = facts.get("sent_at")
        """How many pieces had arrived when the request was sent to its end, where the answer began before that."""


def answer_of(event: DependencyEvent, recorded: RecordedBody, request: Any) -> Answer:
    """The answer that an event holds, to a request."""
    reply = event.result.reply or {}
    sent = event.call.body if event.call is not None else None
    peer = {name: tuple(item) if isinstance(item, list) else item for name, item in reply.get("peer", {}).items()}
    head: Head | None = None
    far_end: FarEnd | None = None
    if not reply.get("unread"):
        # An imported answer may have come by HTTP/2 or 3. Its head has the form of HTTP/1.1 here.
        version = reply["http_version"].removeprefix(b"HTTP/").partition(b".")
        major, minor = (int(version[0]), int(version[2])) if version[0] == b"1" and version[2] else (1, 1)
        reason = reply["reason_phrase"].decode("utf-8", "surrogateescape")
        status, headers = event.result.status or 0, header_pairs(event.result.headers)
        far_end = FarEnd(event, recorded.session, shakes_hands=False) if CONVERSATION in reply else None
        if far_end is not None:
            headers = far_end.accepted(request.headers.get("Sec-WebSocket-Key", "").encode())
        head = (major, minor), status, reason, headers
    at_once = sent is not None and sent.end is not BodyEnd.COMPLETE
    return Answer(head, recorded, reply, peer, at_once, far_end)


def replay_connection(request: Any, answer: Answer) -> Any:
    """A connection without a network that holds one answer; aiohttp's own otherwise."""
    return _connection(request, _ReplayHandler(request.loop, answer, getattr(request, "_continue", None) is not None))


def silent_connection(request: Any, seconds: float) -> Any:
    """A connection without a network over which nothing comes; after so many seconds `NoAnswerError` is raised."""
    return _connection(request, _SilentHandler(request.loop, seconds))


def _connection(request: Any, handler: ResponseHandler) -> Any:
    if request.proxy:
        # As the connector does, which may add a header to the request.
        proxy_request(request)
    return Connection(_Pool(request), request.connection_key, handler, request.loop)  # type: ignore[arg-type]


class NoAnswerError(Exception):
    """Over a connection nothing came for as long as it was to be silent."""


class _Pool(ReplayObject, called=("_release",)):
    """Stands for the connector where a replayed connection is given back: the real one must not keep it."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request

    @property
    def force_close(self) -> bool:
        return bool(self._request.session.connector.force_close)  # type: ignore[union-attr]

    @property
    def _timeout_ceil_threshold(self) -> float:
        # A WebSocket with a heartbeat asks for it.
        return self._request.session.connector._timeout_ceil_threshold  # type: ignore[union-attr]

    def _release(self, key: Any, handler: Any, *, should_close: bool = False) -> None:
        if should_close or handler.should_close:
            handler.close()


class _Transport(ReplayObject, asyncio.Transport):
    """Takes what the client sends.

    Args:
        peer: What is known of the other end.
        handler: Whoever waits for it gets the miss where a fault of ours strikes here.
    """

    def __init__(self, peer: dict[str, Any], handler: Any = None) -> None:
        super().__init__()
        self._peer = peer
        self._handler = None if handler is None else ref(handler)
        self._closing = False

    def _met_fault(self, miss: Exception) -> None:
        handler = None if self._handler is None else self._handler()
        if handler is not None:
            handler.set_exception(miss)

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


class _PeerlessHandler(ReplayObject, ResponseHandler):
    """A connection's handler with nobody at the other end."""

    def set_response_params(self, **params: Any) -> None:
        # A read timeout is about the peer. In a replay it would measure how long we wait.
        params["read_timeout"] = None
        outside(super().set_response_params, **params)


class _SilentHandler(_PeerlessHandler):
    """The handler of a connection over which nothing comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        super().__init__(loop)
        self.transport = _Transport({})
        loop.call_later(seconds, self.set_exception, NoAnswerError())


class _ReplayHandler(_PeerlessHandler):
    """A connection's handler whose bytes come from a cassette.

    At the recorded pace, bytes come by the clock. Otherwise they come as the app reads: it gets what had arrived in
    the recording when it had read as much as now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Answer, asks_first: bool) -> None:
        super().__init__(loop)
        far_end = answer.far_end
        self.transport = (
            _Transport(answer.peer, self) if far_end is None else replay_transport(far_end, self, answer.peer)
        )
        self._answer = answer
        self._asks_first = asks_first
        self._begun = False
        self._informational = tuple(answer.informational)
        self._waits = answer.recorded.waits_s()
        self._to_come: deque[tuple[bytes | None, int]] = deque(zip(answer.pieces, answer.cursors, strict=True))
        # One step for the end, whatever it is.
        self._to_come.append((None, answer.end_cursor))
        self._is_sent = asyncio.Event()

    def set_response_params(self, **params: Any) -> None:
        super().set_response_params(**params)
        self._plan()

    def _plan(self) -> None:
        may_send = 100 in self._answer.informational
        if self._asks_first and may_send:
            self._soon(self._soon, self._inform)
        elif self._answer.at_once or self._asks_first:
            # The task that writes the body had begun.
            self._soon(self._soon, self._begin)

    def start_timeout(self) -> None:
        # The request is sent. The task that wrote it ends before an answer can come.
        self._is_sent.set()
        self._soon(self._begin)

    # The loop calls what makes the answer come. A fault of ours would end there, in the log of the loop, and leave
    # the app waiting. So it becomes a miss, which the app's reading gets.

    def _soon(self, function: Callable[..., Any], *args: Any) -> None:
        self._loop.call_soon(self._noting, function, *args)

    def _noting(self, function: Callable[..., Any], *args: Any) -> None:
        # A guard.
        try:
            function(*args)
        except Exception as fault:
            self.fail(fault)

    def _met_fault(self, miss: Exception) -> None:
        self._let_have(miss)

    def fail(self, fault: Exception) -> None:
        """Let whoever waits for the answer have a miss that says "a fault of ours"."""
        error = (
            fault if isinstance(fault, TimetracerError) else refusal("aiohttp", self._answer.recorded.session, fault)
        )
        self._let_have(error)

    def _let_have(self, error: Exception) -> None:
        self._to_come.clear()
        self.set_exception(error)
        if self._payload is not None and self._payload.exception() is None:
            StreamReader.set_exception(self._payload, error)

    def advance(self, reader: Any) -> None:
        """The app is about to read: what had arrived by then arrives now."""
        if not self._answer.recorded.timed:
            while self._to_come and self._to_come[0][1] <= reader._cursor and self._can_go_on(reader):
                self._step()

    @in_steps
    def wait(self, reader: Any) -> Flow:
        """The app waits for more. False where only the clock brings it."""
        answer = self._answer
        if self._to_come and answer.recorded.timed:
            return False
        if self._waits_for_request():
            yield self._is_sent.wait
        if self._to_come and self._can_go_on(reader):
            yield partial(asyncio.sleep, 0)
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
            if answer.waited:
                # Another task of the app closed the response during this reading. It gets the time to do so again.
                self._loop.call_later(answer.recorded.grace_s(), self._noting, self._end, reader)
                return False
            pause_s = answer.recorded.last_wait_s()
            if pause_s and not answer.recorded.timed:
                yield partial(asyncio.sleep, pause_s)
            error = answer.recorded.end_error()
            assert error is not None
        raise_for_app(error)

    @in_steps
    def rest(self, reader: Any) -> Flow:
        """Everything arrives now, or as soon as the request is sent."""
        while self._to_come and self._can_go_on(reader):
            self._step()
        if self._waits_for_request():
            yield self._is_sent.wait
        while self._to_come and self._can_go_on(reader):
            self._step()

    def _can_go_on(self, reader: Any) -> bool:
        stands = self._reading_paused or reader.is_eof() or reader.exception() is not None
        return not stands and not self._waits_for_request()

    def _waits_for_request(self) -> bool:
        """Whether the server sent what comes next when it had the whole request, which the app still sends."""
        sent_at = self._answer.sent_at
        if sent_at is None or self._is_sent.is_set():
            return False
        return len(self._answer.pieces) - len(self._to_come) + 1 >= sent_at

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        answer = self._answer
        if answer.head is None:
            self._to_come.clear()
            refusal = "the connection of a response of which nothing was read when it was recorded"
            self.set_exception(ReplayMismatchError(refusal, hint="record again what is read now."))
            return
        self._inform()
        self.data_received(answer.head)
        if answer.far_end is not None:
            self._to_come.clear()
            answer.far_end.opens()
            return
        reader = self._payload
        if type(reader) is not StreamReader:
            self._to_come.clear()
            return
        reader.__class__ = _PacedReader
        for _ in range(answer.at_return):
            next(self._waits, None)
            if self._to_come[0][0] is not None:
                self._step()
        if answer.ended_at_return:
            self._step()
        elif answer.recorded.timed:
            self._schedule()
        else:
            self._soon(self.advance, reader)

    def _inform(self) -> None:
        statuses, self._informational = self._informational, ()
        for status in statuses:
            self.data_received(informational_bytes(status))

    def _schedule(self) -> None:
        if not self._to_come:
            return
        wait_s = next(self._waits, None)
        self._loop.call_later(
            self._answer.recorded.last_wait_s() if wait_s is None else wait_s, self._noting, self._tick
        )

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
            self._end(reader)
        elif reader._waiter is not None:
            # It asks again, and hears that nothing more was recorded.
            waiter, reader._waiter = reader._waiter, None
            set_result(waiter, None)

    def _end(self, reader: Any) -> None:
        """Let the body end as recorded, unless it has ended already."""
        if reader.exception() is None:
            error = self._answer.recorded.end_error()
            assert error is not None
            set_exception(reader, error)


class _PacedReader(ReplayObject, StreamReader, called=("_wait",)):
    """A replayed response's reader. What is awaited is the library's own, see `in_steps`."""

    __slots__ = ()

    def read(self, n: int = -1) -> Any:
        self._advance()
        return super().read(n)

    def readany(self) -> Any:
        self._advance()
        return super().readany()

    def readuntil(self, *args: Any, **keywords: Any) -> Any:
        self._advance()
        return super().readuntil(*args, **keywords)

    def readchunk(self) -> Any:
        self._advance()
        return super().readchunk()

    def read_nowait(self, n: int = -1) -> bytes:
        self._advance()
        return outside(super().read_nowait, n)

    @in_steps
    def wait_eof(self) -> Flow:
        protocol: Any = self._protocol
        yield partial(protocol.rest, self)
        yield super().wait_eof

    @in_steps
    def _wait(self, func_name: str) -> Flow:
        protocol: Any = self._protocol
        if not (yield partial(protocol.wait, self)):
            yield partial(super()._wait, func_name)

    def _advance(self) -> None:
        protocol: Any = self._protocol
        protocol.advance(self)


plain_name(_PacedReader)
