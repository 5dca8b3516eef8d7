"""How an attempt of a pool becomes a `Call`, and what is noted of its answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.libraries.kits.http.bodies import BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.libraries.kits.http.request_bodies import (
    is_stream,
    joined,
    pieces_of,
    teed_body,
    whole_body,
)
from timetracer_otel.libraries.kits.http1.file_bodies import WireTap, wire_pieces
from timetracer_otel.libraries.kits.http1.recorded_connections import head_of
from timetracer_otel.libraries.kits.http1.stand_in_sockets import given_back, take_out
from timetracer_otel.libraries.kits.urllib3.errors import HeldErrors, with_stand_ins
from timetracer_otel.libraries.kits.urllib3.noted import NOT_COMPARED, NotedBeneath, header_lines, library_above
from timetracer_otel.libraries.urllib3.internals import (
    LIB,
    answers_by_http2,
    connects_in_vain,
    count,
    has_shaken_hands,
    http2_response,
    is_http2,
    is_of_certificate,
    lend_response_class,
    let_reach_proxy,
    needs_tunnel,
    new_connection,
    reached_proxy,
    set_verified,
    stood_in,
    url_of,
    verified_of,
    warn_of,
)
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, RecordedError, header_pairs

__all__ = ["LIB", "Attempt", "Tunnel"]

_ERRORS = HeldErrors(("urllib3",))
_REACHED_PROXY = "timetracer.reached_proxy"
_VERIFIED = "timetracer.verified"


class Attempt(NotedBeneath):
    """One attempt of a pool (a `Site`).

    Args:
        send: The pool's own function.
        pool: The pool.
        connection: What it took for the attempt.
        method: Of the request.
        target: What stands behind the method on the wire.
        options: The other arguments.
    """

    lib = LIB
    errors = _ERRORS
    answer: tuple[Iterator[bytes], Callable[[Exception], Exception]] | None = None
    """What answers it in a replay, once that was found."""
    _failure: BaseException | None = None
    """The recorded error, in a replay."""
    _by_http2: Any = None
    """The response, where it came by HTTP/2."""
    _heard: http.client.HTTPResponse | None = None
    """Its response in a recording, as soon as the head was read."""
    _head_s = 0.0
    _is_http2 = False
    _was_read = False
    """Whether a replay has read the body of the request, which was a stream."""
    _verified: list[bool | None] | None = None
    """What is noted of the certificates of the server and of its proxy."""
    _was_verified: list[bool | None] | None = None
    """The same, of the recorded call that answers in a replay."""

    def __init__(
        self,
        send: Function,
        pool: Any,
        connection: Any,
        method: str,
        target: str,
        options: dict[str, Any],
    ) -> None:
        self._send: Any = send
        self._pool: Any = pool
        self._connection: Any = connection
        self._method = method
        self._target = target
        self._options = options
        self._url = url_of(pool, target)
        self._headers: Any = None
        self.rule = options.get("retries")
        body = options.get("body")
        self._body = b"" if body is None else whole_body(body)
        self.sends_stream = self._body is None and is_stream(body)

    @property
    def live(self) -> AppStep:
        """The pool's own function."""
        options = self._options
        if self.sent is not None:
            options = {**options, "body": teed_body(options["body"], self.sent)}
        return AppStep(self._send, self._pool, self._connection, self._method, self._target, **options)

    def observe(self, session: TraceSession) -> None:
        """Note the headers, and get ready to note a body that is a stream."""
        self._limits = session.limits
        self._headers = self._header_items()
        self.sets_up = asking_for_credentials.get() is not None
        self.lend = partial(lend_response_class, self._connection, self._begun)
        if self.sends_stream:
            self.sent = BodyTap(self._limits)
        else:
            self.as_called = not self._was_read
            if self._body:
                self._limits.hold(len(self._body))

    def _begun(self, response: http.client.HTTPResponse) -> None:
        """Note a response whose head was read, before urllib3 reads its body."""
        if self._connection is None:
            return
        self._head_s = time.perf_counter()
        self._verified = verified_of(self._pool, self._connection)
        self.note_head(response, response, None)
        self._heard = response

    def call(self) -> Call:
        """The request as it is known by now; its body once it was sent."""
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self.sent is not None:
            body, end, too_long = self.sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = header_lines(self._headers if self._headers is not None else self._header_items())
        return Call(LIB, EventType.HTTP_CLIENT, self._method, self._url, headers, body, end, too_long)

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        """The call, without the headers on which nothing depends."""
        if self._body is None:
            return None
        headers = [item for item in self._header_items() if item[0] not in NOT_COMPARED]
        return self._method, self._url, self._body, headers

    def _header_items(self) -> list[tuple[Any, Any]]:
        headers: Mapping[Any, Any] | None = self._options.get("headers")
        if not headers:
            return []
        lines = getattr(headers, "iteritems", headers.items)
        return list(lines())

    def tells_answer(self, error: BaseException) -> bool:
        """Whether there was a response, and its body could not be read at once."""
        return self._heard is not None and isinstance(error, Exception)

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note whose answer it is. Of one that is to be read, the reading is noted."""
        recording.not_replayable = self._why_not(value) or recording.not_replayable
        if self._heard is not None:
            recording.returned_s = self._head_s
            received = self.received
            if received is not None and received.end is None and recording.session.call_ended is not None:
                received.on_end(recording.close)
        # Neither the pool nor the connection is kept alive by its recording.
        self._send = self._pool = self._connection = self._heard = None
        self._options = {}
        self.lend = None
        self.noted(recording)
        return value

    def _why_not(self, value: Any) -> str | None:
        """Why an answer cannot be replayed; None where it can."""
        heard = self._heard
        if heard is None and is_http2(value):
            self._note_http2(value)
            return None
        if heard is None or (value is not None and self.original_of(value) is not heard):
            # Of another library that stands in for `http.client`.
            return self.note(value, None)
        return self.note_of(heard if value is None else value, heard)

    def _note_http2(self, response: Any) -> None:
        self._verified = verified_of(self._pool, self._connection)
        self._status = response.status
        self._response_headers = list(response.headers.iteritems())
        self._is_http2 = True
        self.received = WireTap(self._limits, None, chunked=False, length=None)
        self.received.feed(response.data)
        self.received.finish(BodyEnd.COMPLETE)

    def more_facts(self) -> dict[str, Any]:
        """What was verified, and by which protocol the answer came."""
        facts: dict[str, Any] = {} if self._verified is None else {"verified": self._verified}
        return {**facts, "http2": True} if self._is_http2 else facts

    def read_request(self) -> Flow:
        """Join the pieces of the request's body."""
        self._body = joined((yield AppStep(list, pieces_of(self._options["body"]))))
        self._options["body"] = self._body
        self.sends_stream, self._was_read = False, True

    def again(self) -> bool:
        """Always: a body that was read is sent as a whole."""
        take_out(self._connection)
        return True

    def before_again(self) -> Flow:
        """The replay has asked the proxy for no tunnel."""
        if needs_tunnel(self._pool):
            yield from library_above.around(LIB, AppStep(self._pool._prepare_proxy, self._connection))

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> None:
        """What the pool will read is found; `answering` has it read."""
        reply: dict[str, Any] = event.result.reply
        status, headers = event.result.status or 0, header_pairs(event.result.headers)
        recorded = RecordedBody(event, session, self)
        self._was_verified = reply.get("verified")
        if reply.get("http2"):
            self._by_http2 = http2_response(status, headers, self._target, b"".join(recorded.chunks()))
        self.answer = _pieces(status, headers, reply, recorded), recorded.judged

    def answering(self) -> Flow:
        """The steps by which the pool asks what stands for its connection's socket, and reads the answer there."""
        connection, answer = self._connection, self.answer
        self.answer = None
        if verified_of(self._pool, connection) is not None:
            # A recording of before this was noted says nothing of it.
            set_verified(connection, self._was_verified or [True, None])
        if self._by_http2 is not None:
            undo = answers_by_http2(connection, self._by_http2)
        else:
            socket, undo = stood_in(connection)
            socket.answer, socket.sends_to = answer, _nowhere
        try:
            return (yield AppStep(self._send, self._pool, connection, self._method, self._target, **self._options))
        finally:
            undo()
            given_back(connection)

    def record_error(self, error: BaseException) -> RecordedError:
        """Pools and connections in it are stood in for. Whether the proxy was reached decides what follows it."""
        recorded = _ERRORS.recorded(error)
        if reached_proxy(self._connection):
            recorded.attributes[_REACHED_PROXY] = True
        verified = verified_of(self._pool, self._connection)
        if verified is not None and has_shaken_hands(self._connection) and not is_of_certificate(error):
            recorded.attributes[_VERIFIED] = verified
        return recorded

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error, about the pool that is asked now."""
        count(self._pool)
        error = with_stand_ins(error, self._live_object)
        if error.attributes.pop(_REACHED_PROXY, False):
            let_reach_proxy(self._connection)
        self._set_verified(error.attributes.pop(_VERIFIED, None))
        self._failure = made = _ERRORS.rebuilt(error, lambda each: each)
        return made

    def _set_verified(self, verified: list[bool | None] | None) -> None:
        self._was_verified = verified
        if verified is not None and self._connection is not None:
            set_verified(self._connection, verified)

    def failing(self) -> Flow:
        """The steps of an attempt that ends in a recorded error, before that: connecting, and the warning about a
        server that was not verified.
        """
        failure, self._failure = self._failure, None
        if failure is None:
            return
        in_vain = connects_in_vain(self._pool, self._connection, failure)
        if in_vain is not None:
            yield in_vain
        step = None if self._was_verified is None else warn_of(self._pool, self._was_verified)
        if step is not None:
            yield step

    def _live_object(self, kind: str) -> Any:
        if kind == "connection":
            return self._connection if self._connection is not None else new_connection(self._pool)
        return self._pool

    def pause(self, seconds: float) -> None:
        """Block for so many seconds."""
        time.sleep(seconds)


def _nowhere(_: bytes) -> None:
    """What urllib3 sends is known already."""


def _pieces(status: int, headers: Any, reply: dict[str, Any], recorded: RecordedBody) -> Iterator[bytes]:
    yield head_of(status, headers, reply)
    encoding = next((value for name, value in headers if name.lower() == b"transfer-encoding"), b"")
    yield from wire_pieces(recorded, reply, encoding.lower() == b"chunked")


class Tunnel(Attempt):
    """An attempt that may end before it is made, since its proxy gives no tunnel: its connection is asked for one."""

    may_disown = True

    @property
    def live(self) -> AppStep:
        """The pool asks its proxy."""
        return AppStep(self._send, self._pool, self._connection)

    def observe(self, session: TraceSession) -> None:
        """As for an attempt, but for a response: it would be the proxy's."""
        super().observe(session)
        self.lend = None
        self.as_called = False

    def disowns(self, outcome: Any) -> bool:
        """Whether there is a tunnel: then the attempt is made through it."""
        return not isinstance(outcome, BaseException)
