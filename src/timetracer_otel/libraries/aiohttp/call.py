"""How a call of the client becomes a `Call`, and what is noted of its answer.

A *hop* is one request that goes through a connection: a call of the app that is redirected twice has three.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import FAULT, Recording, Site
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.constants import CONVERSATION, BodyEnd, EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.aiohttp import internals
from timetracer_otel.libraries.aiohttp.answer import (
    Answer,
    NoAnswerError,
    answer_of,
    read_body,
    replay_connection,
    silent_connection,
    written_again,
)
from timetracer_otel.libraries.aiohttp.errors import rebuilt_error, recorded_error
from timetracer_otel.libraries.aiohttp.frames import begun, is_through
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.libraries.kits.http1.arriving import ArrivalTap
from timetracer_otel.libraries.kits.websocket.call import belongs, facts_of, without_key
from timetracer_otel.libraries.kits.websocket.exchange import OPENED, SocketExchange
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, RecordedError

__all__ = ["LIB", "Hop", "call_above"]

LIB = "aiohttp"
_NOT_COMPARED = frozenset({"Host", "Content-Length", "traceparent", "tracestate"})
"""Headers that say no more than the URL and the body, and those by which OpenTelemetry names its spans."""

call_above: CallAbove[Hop] = CallAbove("aiohttp")
"""The call whose connection is being used, in the task that does so and in the one that writes its body."""


class Hop(Site):
    """One request on its way through a connection (a `Site`)."""

    lib = LIB
    as_called = True

    # The defaults stand in the class: an object is made for each hop, and few of them set all.
    _compress: Any = None
    _headers: Mapping[str, str] | None = None
    _session: TraceSession | None = None
    _sent_before_answer: int | None = None
    _arrived_before_end = 0
    _read_pieces: list[bytes] | None = None
    _received: ArrivalTap | None = None
    _peer: str | bytes | tuple[Any, ...] | None = None
    _above: Hop | None = None
    answer: Any = None
    _silent_s: float | None = None
    _taken = False
    _replaying: Any = None
    exchange: SocketExchange | None = None
    """Notes the frames of a WebSocket."""
    is_replayed = False
    """Whether the call gets a connection of ours."""

    def __init__(self, request: Any, handler: Function, write_bytes: Function) -> None:
        self.request: Any = request
        self._handler: Any = handler
        self._write_bytes = write_bytes
        self._method: str = request.method
        self._url: Any = request.url
        self._body = body = internals.whole_body(request)
        if body is None:
            self.sends_stream = True
        if request.compress:
            self._compress = request.compress

    @property
    def live(self) -> AppStep:
        """What is behind our middleware. Made when it is asked for: most recorded calls need no step."""
        return AppStep(self._handler, self.request)

    def through(self, steps: Flow) -> Flow:
        """The steps of the call in a replay. aiohttp gets its answer over a connection of ours."""
        value = yield from steps
        if isinstance(value, Answer):
            return (yield from self._replay(value))
        is_through(value)
        return value

    # In a recording

    def observe(self, session: TraceSession) -> None:
        """Get ready to note the body that is sent, and what arrives."""
        self._session = session
        self.sets_up = asking_for_credentials.get() is not None
        if self._body is None:
            self.sent = BodyTap(session.limits)
        elif self._body:
            session.limits.hold(len(self._body))
        self._received = ArrivalTap(session.limits)

    def lend(self) -> Callable[[], Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Let a connection beneath find this call."""
        self._above = call_above.get()
        call_above.set(self)
        return self._take_back

    def _take_back(self) -> None:
        call_above.set(self._above)
        self._above = None

    def call(self) -> Call:
        """The request as it is known by now; its body, compressed as on the wire, once it was sent."""
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self.sent is not None:
            body, end, too_long = self.sent.as_sent()
            if self._was_answered_first or (end is BodyEnd.FAILED and self._sent_before_answer is not None):
                # A replay that read the body before it answers would wait for ever.
                end = BodyEnd.CUT
        elif body is None:
            end = BodyEnd.CUT
        if body and end is BodyEnd.COMPLETE and self._compress is not None:
            body = internals.compressed(self._compress, body)
        headers = internals.header_lines((self.request.headers if self._headers is None else self._headers).items())
        if self.sends_frames:
            headers = without_key(headers)
        return Call(LIB, EventType.HTTP_CLIENT, self._method, str(self._url), headers, body, end, too_long)

    @property
    def sends_frames(self) -> bool:
        """Whether it asks for a WebSocket."""
        headers: Any = self.request.headers if self._headers is None else self._headers
        return "Upgrade" in headers and str(headers["Upgrade"]).lower() == "websocket"

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        """The call, without the headers on which nothing depends."""
        body = self._body
        if body is None or self._compress is not None:
            return None
        headers = [item for item in self.request.headers.items() if item[0] not in _NOT_COMPARED]
        return self._method, str(self._url), body, headers

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note that the app has the response. Its head and its body are noted by the parser, until it ends.

        A response class of the app's own may say otherwise than what arrived, or read nothing of it. A replay runs
        that class again, on what arrived.
        """
        received = self._received
        assert received is not None
        if self._headers is None:
            self._headers = internals.copied(self.request.headers)
        if received.head is None:
            if value.version is None:
                received.ended(BodyEnd.COMPLETE, 0)
            else:
                # It was there before there was a parser.
                received.head = internals.head_of(value, value.status)
        if self.sent is not None and self.sent.end is None:
            self._sent_before_answer = self.sent.size_bytes
        opens = received.head is not None and received.head[1] == OPENED
        if opens and self.sends_frames:
            self.exchange = begun(value, received.head, recording)
        # Neither the request nor the connection is kept alive by its recording.
        self.request = self._handler = None
        if self.exchange is not None:
            # It ends with the connection.
            recording.goes_on = True
            return value
        if opens:
            recording.not_replayable = "the connection was upgraded to another protocol"
            recording.close()
        elif received.end is not None:
            received.ended_at_return = True
            recording.close()
        else:
            received.at_return = len(received.cursors)
            received.on_end(recording.close)
        return value

    def record_error(self, error: BaseException) -> RecordedError:
        """An error of the call as a value."""
        assert self._session is not None
        if self._headers is None:
            self._headers = internals.copied(self.request.headers)
        config = self._session.config
        redactor = Redactor.of(config.redact, config.redact_extra, config.redact_rules)
        recorded = recorded_error(error, self.request, redactor.headers, redactor.url)
        self.request = self._handler = None
        return recorded

    def result(self, recording: Recording) -> EventResult:
        """The head, the body and what a replay's parser must be given besides."""
        assert recording.returned_s is not None
        assert self._received is not None
        if self._received.faulted:
            recording.not_replayable = FAULT
        if self._received.head is None:
            return EventResult(reply={"unread": True, "peer": self._peer_facts()})
        (major, minor), status, reason, headers = self._received.head
        frames = {} if self.exchange is None else {CONVERSATION: facts_of(self.exchange, recording)}
        return EventResult(
            status=status,
            headers=HeaderMap(headers),
            body=self._received.snapshot(recording.started_s) if self.exchange is None else None,
            reply={
                "http_version": b"HTTP/%d.%d" % (major, minor),
                "reason_phrase": reason.encode("utf-8", "surrogateescape"),
                "head_ms": (recording.returned_s - recording.started_s) * 1000,
                "peer": self._peer_facts(),
                **(frames or self._received.facts()),
                **({"sent_at": self._arrived_before_end} if self._was_answered_first else {}),
            },
        )

    def _peer_facts(self) -> dict[str, Any]:
        return {} if self._peer is None else {"peername": self._peer}

    @property
    def _was_answered_first(self) -> bool:
        """Whether the answer began before the rest of the body, which the app may make of that answer, was sent."""
        sent, before = self.sent, self._sent_before_answer
        return sent is not None and before is not None and sent.end is BodyEnd.COMPLETE and sent.size_bytes > before

    # In a replay

    def read_request(self) -> Flow:
        """Read a body that is written piece by piece."""
        self.sent = BodyTap(BodyLimits())
        try:
            yield from read_body(self.request, self._write_bytes, self.sent)
        except Exception as error:
            internals.upload_attempted(self.request, error)
            raise

    def again(self) -> bool:
        """Always: the pieces of a body that was read are sent."""
        if self.sent is not None:
            # A body that was a stream has been read: its pieces are sent.
            self._read_pieces, self.sent = self.sent.chunks, None
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The `Answer` that `replay` lets aiohttp get."""
        return answer_of(event, RecordedBody(event, session, self), self.request)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error, about the request that is made now."""
        if self.answer is None:
            internals.upload_attempted(self.request)
        return rebuilt_error(error, self.request)

    def pause(self, seconds: float) -> Any:
        """Sleep; aiohttp knows no other event loop than asyncio's."""
        return asyncio.sleep(seconds)

    async def unanswered(self, seconds: float) -> None:
        """Let aiohttp send the body, if nobody has read it, over a connection of ours that stays silent."""
        if not self.sends_stream or self.sent is not None:
            await self.pause(seconds)
            return
        self._silent_s, self.is_replayed = seconds, True
        take_back = call_above.lend(self)
        try:
            await self.live()
        except NoAnswerError:
            pass
        finally:
            take_back()

    def _replay(self, answer: Any) -> Flow:
        self.answer, self.is_replayed = answer, True
        take_back = call_above.lend(self)
        try:
            response = yield self.live
        finally:
            take_back()
        if answer.far_end is not None:
            belongs(response, answer.far_end)
        if not self._taken:
            response.close()
            raise ReplayMismatchError(
                f"{type(self.request.session.connector).__qualname__}.connect does not call aiohttp's own: "
                f"{self._method} {self._url} went out for real",
                hint="let the connector's `connect` call `super().connect`, or name aiohttp in live_plugins.",
            )
        return response

    # On the connection

    def connection(self) -> Any:
        """A connection of ours, for a call that `is_replayed`."""
        if self._silent_s is not None:
            return silent_connection(self.request, self._silent_s)
        self._taken = True
        self._replaying = connection = replay_connection(self.request, self.answer)
        return connection

    def parser_made(self, args: tuple[Any, ...], params: dict[str, Any]) -> None:
        """A connection's handler has got the parser for a response, by these parameters."""
        received, request, protocol, timer = self._received, self.request, args[0], params.get("timer")
        # A connector of the app's may make calls of its own, which are not recorded, to connect this one.
        if received is None or request is None or not internals.tee_parser(protocol, request, timer, received):
            return
        transport = protocol.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if isinstance(peer, (str, bytes, tuple)):
            self._peer = peer

    def give_up(self, fault: Exception) -> None:
        """A fault struck beneath the call: what arrives for it may be noted only in part. In a replay, whoever waits
        for an answer gets a miss.
        """
        if self._replaying is not None:
            self._replaying.protocol.fail(fault)
        elif self._received is not None:
            self._received.give_up(fault)
        else:
            faults.contain("aiohttp.connect", fault)

    @property
    def is_written_otherwise(self) -> bool:
        """Whether the body is noted while it is sent, or is given in the pieces that were read of it."""
        return self.sent is not None or self._read_pieces is not None

    def write(self, writer: Any, *arguments: Any, **keywords: Any) -> Flow:
        """The body is sent, if there is any."""
        sent, request, write_bytes = self.sent, self.request, self._write_bytes
        pieces = sent.chunks if sent is not None and self.answer is not None else self._read_pieces
        with _body_of(request, pieces):
            if sent is None or self.answer is not None:
                return (yield AppStep(write_bytes, request, writer, *arguments, **keywords))
            teed = internals.TeedWriter(writer, sent)
            try:
                yield AppStep(write_bytes, request, teed, *arguments, **keywords)
            except BaseException as error:
                sent.noting(sent.failed, error)
                raise
            if self._received is not None:
                self._received.settle()
                self._arrived_before_end = len(self._received.cursors)
            sent.noting(sent.finish, BodyEnd.FAILED)
        return None


def _body_of(request: Any, pieces: list[bytes] | None) -> AbstractContextManager[None]:
    """While it is sent, a request has the pieces of a body that was read for its payload; None: its own."""
    if pieces is None:
        return nullcontext()
    return written_again(request, pieces)
