"""How a request of `http.client` becomes a `Call`, and what is noted of its answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from opentelemetry import trace

from timetracer_otel.base.patching import Function
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Recording, Site
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.libraries.kits.http.bodies import RecordedBody
from timetracer_otel.libraries.kits.http1.file_bodies import wire_pieces
from timetracer_otel.libraries.kits.http1.recorded_connections import head_of
from timetracer_otel.libraries.kits.http1.sent_requests import SentRequest
from timetracer_otel.libraries.kits.urllib3.errors import HeldErrors, with_stand_ins
from timetracer_otel.libraries.kits.urllib3.noted import NOT_COMPARED, NotedBeneath
from timetracer_otel.libraries.urllib.connections import LIB, connection_above, exchanges, take_out
from timetracer_otel.libraries.urllib.internals import (
    origin_of,
    package_of,
    proxy_headers,
    set_proxy_headers,
    url_of,
)
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError, header_pairs

__all__ = ["Connecting", "Exchange"]

_PLACE = "timetracer.place"
"""Where a recorded error says at which step it was raised: the number of the sending, from 0 on, or `_RESPONSE`."""
_RESPONSE = -1
_ERRORS = HeldErrors(())
_SCOPE = "opentelemetry.instrumentation.urllib"
_NOT_COMPARED = frozenset(name.lower().encode() for name in NOT_COMPARED)


class Exchange(NotedBeneath):
    """One request of a connection, and its response (a `Site`). It begins with the head.

    Args:
        send: http.client's own function.
        connection: The connection.
        data: The bytes that are sent first.
        request: What was found in them.
    """

    lib = LIB
    as_called = True
    errors = _ERRORS
    recording: Recording | None = None
    """While a session records it, from the first sending on."""
    event: DependencyEvent | None = None
    """What answers it in a replay, once that was found."""
    error: BaseException | None = None
    """The recorded error that ends it in a replay, once that was found."""
    answering = False
    """Whether `http.client` is making the response now."""
    sendings = 0
    """How many have returned."""
    _place = 0
    _proxy: list[bytes] | None = None
    _has_begun = False
    replay: ReplaySession | None = None
    """Which one answers it."""

    def __init__(self, send: Function, connection: Any, data: Any, request: SentRequest) -> None:
        self._send: Any = send
        self._connection: Any = connection
        self._data: Any = data
        self.request = request
        self._family = package_of(connection)
        self.url = url_of(connection, request.target)
        self.lend = partial(connection_above.lend, connection)
        self.sent = request.body

    @property
    def live(self) -> AppStep:
        """The sending of what there is by now."""
        return AppStep(self._send, self._connection, self._data)

    def observe(self, session: TraceSession) -> None:
        """Note how much may be kept of the response."""
        self._limits = session.limits

    def call(self) -> Call:
        """The request as it is known by now."""
        body, end, too_long = self.request.as_sent()
        return Call(
            LIB, EventType.HTTP_CLIENT, self.request.method, self.url, self.request.headers, body, end, too_long
        )

    @property
    def address(self) -> str | None:
        """The URL."""
        return self.url

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        """The call, without the headers on which nothing depends."""
        request = self.request
        body, end, _ = request.as_sent()
        if end is not BodyEnd.COMPLETE:
            return None
        headers = [item for item in request.headers if item[0].lower() not in _NOT_COMPARED]
        return request.method, self.url, body, headers

    def returned(self, value: Any, recording: Recording) -> Any:
        """The first bytes were sent: the response is noted when the app asks for it."""
        self.recording = recording
        self.sendings = 1
        exchanges[self._connection] = self
        self._let_go()
        return value

    def _let_go(self) -> None:
        # A connection is not kept alive by its recording.
        self._send = self._connection = self._data = None
        self.__dict__.pop("lend", None)

    def original_of(self, raw: Any) -> http.client.HTTPResponse | None:
        """The response, also where its class is of the user's."""
        return raw if isinstance(raw, http.client.HTTPResponse) and hasattr(raw, "_method") else None

    def responded(self, response: Any, connection: Any) -> None:
        """Note the response, of which the head was read."""
        recording = self.recording
        assert recording is not None
        recording.returned_s = time.perf_counter()
        self.request.finish()
        self._proxy = proxy_headers(connection)
        hears = recording.session.call_ended is not None
        reason = self.note(response, recording.close if hears else None)
        if reason is not None:
            recording.not_replayable = reason
        self.noted(recording)

    def more_facts(self) -> dict[str, Any]:
        """What the proxy of a tunnel has answered."""
        return {} if self._proxy is None else {"proxy": self._proxy}

    def failed(self, error: BaseException, place: int | None = None) -> None:
        """Note what a sending has raised, or what was raised in the place of a response."""
        recording = self.recording
        assert recording is not None
        self._place = self.sendings if place is None else place
        if isinstance(error, Exception):
            recording.failed(error)
        else:
            recording.raised(error)

    def no_response(self, error: BaseException) -> None:
        """Note what was raised in the place of a response."""
        self.request.finish()
        self.failed(error, _RESPONSE)

    def result(self, recording: Recording) -> EventResult:
        """The response; nothing where nobody asked for it."""
        return super().result(recording) if self._status else EventResult()

    def record_error(self, error: BaseException) -> RecordedError:
        """The error, and at which step it was raised."""
        recorded = _ERRORS.recorded(error)
        recorded.attributes[_PLACE] = self._place
        if self._connection is not None:
            self._let_go()
        return recorded

    # In a replay

    def replayed_in(self, session: ReplaySession) -> None:
        """A replay answers it."""
        self.replay = session
        if session.recorder is not None:
            # What is sent may have to be sent for real.
            self._data = bytes(self._data)
        else:
            self._data = None
        scope = getattr(trace.get_current_span(), "instrumentation_scope", None)
        # Of http.client as such, OpenTelemetry makes no spans: the current one is the app's own.
        self.marks_span = scope is not None and scope.name == _SCOPE

    def takes(self, piece: bytes) -> None:
        """The next bytes, as a connection would get them."""
        # The first ones are known: the request was made of them.
        if self._has_begun:
            self.request.feed(piece)
            if self._data is not None:
                self._data += piece
        self._has_begun = True

    @property
    def is_found(self) -> bool:
        """Whether it is known how the request ends."""
        return self.event is not None or self.error is not None

    def is_enough(self) -> bool:
        """Whether the event can be looked for: all was sent, or the recorded call did not get as far."""
        if self.request.is_whole:
            return True
        assert self.replay is not None
        expects = self.replay.expects_body(self.redacted(self.replay), hooks.whereabouts(None).path())
        # The next time, more of the body is known.
        self._redacted = None
        return not expects

    def raises_now(self) -> bool:
        """Whether the recorded error belongs to the sending that is under way."""
        return self.error is not None and 0 <= self._place <= self.sendings

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> None:
        """The response is made when the app asks for it."""
        self.event = event

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error. One of the request is raised where it was raised then."""
        place = error.attributes.pop(_PLACE, None)
        made = _rebuilt(error, self._family)
        if place is not None:
            self._place, self.error = place, made
        return made

    def found(self) -> None:
        """It was looked for: the connection is not kept alive by what answers it."""
        if self.recording is None:
            self._let_go()

    def again(self) -> bool:
        """Always: what was sent by now is sent for real, over a connection that is made anew or was there before."""
        take_out(self._connection)
        return True

    def answer(self, connection: Any) -> tuple[Iterator[bytes], Any]:
        """The bytes of the response, and what judges an exception of theirs.

        Raises:
            ReplayMismatchError: There was none in the recording.
        """
        if self.error is not None:
            return self._raising(self.error), lambda error: error
        event, session = self.event, self.replay
        assert event is not None
        assert session is not None
        status = event.result.status
        if status is None:
            raise session.refuse(event, "the app did not ask for its response when it was recorded")
        reply: dict[str, Any] = event.result.reply
        if reply.get("proxy") is not None:
            set_proxy_headers(connection, reply["proxy"])
        recorded = RecordedBody(event, session, self)
        headers = header_pairs(event.result.headers)
        return self._pieces(status, headers, reply, recorded), recorded.judged

    @staticmethod
    def _raising(error: BaseException) -> Iterator[bytes]:
        yield b""
        raise error

    @staticmethod
    def _pieces(status: int, headers: Any, reply: dict[str, Any], recorded: RecordedBody) -> Iterator[bytes]:
        yield head_of(status, headers, reply)
        encoding = next((value for name, value in headers if name.lower() == b"transfer-encoding"), b"")
        yield from wire_pieces(recorded, reply, encoding.lower() == b"chunked")


class _Connects:
    """How often a session has connected by ``connect``, by server."""

    def __init__(self) -> None:
        self.by_origin: dict[str, int] = {}


class Connecting(Site):
    """A connection that the app opens by itself (a `Site`). It is an event where it fails.

    Which attempt failed is told by how many to the same server had not, before it.

    Args:
        connect: The connection's own function, with its arguments.
        connection: The connection.
        session: The session.
    """

    lib = LIB
    as_called = True
    may_disown = True
    marks_span = False

    def __init__(self, connect: AppStep, connection: Any, session: BaseSession) -> None:
        self.live = connect
        self.lend = partial(connection_above.lend, connection)
        self.url = origin_of(connection) + "/"
        self._family = package_of(connection)
        self._connects = session.state(LIB, _Connects).by_origin
        self._number = self._connects.get(self.url, 0)

    def call(self) -> Call:
        """An attempt to connect."""
        number = str(self._number).encode()
        return Call(LIB, EventType.HTTP_CLIENT, "CONNECT", self.url, [], number, BodyEnd.COMPLETE, None)

    def disowns(self, outcome: Any) -> bool:
        """Whether it is connected: then there is nothing to record."""
        if isinstance(outcome, BaseException):
            return False
        self.succeeded()
        return True

    def succeeded(self) -> None:
        """Count one that did not fail."""
        self._connects[self.url] = self._connects.get(self.url, 0) + 1

    def record_error(self, error: BaseException) -> RecordedError:
        """The error; the connection is not kept alive by it."""
        self.live = self.lend = None
        return _ERRORS.recorded(error)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The recorded error."""
        return _rebuilt(error, self._family)


def _rebuilt(error: RecordedError, family: str) -> BaseException:
    return HeldErrors((family,)).rebuilt(error, lambda each: with_stand_ins(each, lambda _: None))
