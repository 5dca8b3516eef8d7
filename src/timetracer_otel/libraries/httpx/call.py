"""How a call of a transport becomes a `Call`, and what is noted of its answer.

A *hop* is one request that goes through a transport: a call of the app that is redirected twice has three.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from timetracer_otel.base.patching import Function, LatePatch
from timetracer_otel.calls.flow import Recording, Site, run_async
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.libraries.httpx.answer import answers_of
from timetracer_otel.libraries.httpx.errors import family_of, rebuilt_in
from timetracer_otel.libraries.httpx.internals import (
    CONTENT,
    at_most,
    body_read_of,
    header_lines,
    parts_of,
    pause,
    raw_lines,
    tee_of,
    url_text,
    whole_body,
)
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http.credentials import asking_for_credentials
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, RecordedError

__all__ = ["LIB", "AsyncHop", "HttpxModule", "SyncHop", "module_of"]

LIB = "httpx"
_NOT_COMPARED = frozenset({b"host", b"content-length", b"traceparent", b"tracestate"})
"""Headers that say no more than the URL and the body, and those by which OpenTelemetry names its spans."""
_SIMPLE = frozenset({bytes, str, int, float, bool})


class HttpxModule(NamedTuple):
    """What hops need of ``httpx`` or of ``httpx2``, made once for each of the two.

    Attributes:
        tee: Puts a stream of ours in the place of a response's, or of a request's, to note it as it is read.
        whole: A stream that gives bytes at once.
        body_read: The body that came with a response which was read already; None where only what it was decoded to
            is left.
        answer: Makes the response of a recorded event.
        family: The packages whose exceptions the module raises; see `family_of`.
        reads: Seams of ``Response.read`` and ``aread``, which the first recorded answer puts in.
    """

    tee: Callable[[Any, BodyTap], Any]
    whole: Callable[[bytes], Any]
    body_read: Callable[[Any], bytes | None]
    answer: Callable[[DependencyEvent, RecordedBody], Any]
    family: dict[str, str]
    reads: tuple[LatePatch, LatePatch]


_made: dict[str, tuple[tuple[Any, ...], HttpxModule]] = {}
"""By name of the module: what was made, and the objects of the module that it was made of."""


def module_of(module: ModuleType) -> HttpxModule:
    """Make it for ``httpx`` or ``httpx2``, or give what was made before of the same objects.

    Every session asks. What is made are four classes, which take longer than all else that a session does at first.
    A module that was reloaded has other objects.
    """
    parts = parts_of(module)
    known = _made.get(module.__name__)
    if known is None or any(part is not before for part, before in zip(parts, known[0], strict=True)):
        known = _made[module.__name__] = parts, _make(module)
    return known[1]


def _make(module: ModuleType) -> HttpxModule:
    answers = answers_of(module)
    return HttpxModule(
        tee_of(module),
        module.ByteStream,
        body_read_of(module),
        answers.answer,
        family_of(module.__name__),
        answers.reads,
    )


class _Hop(Site, ABC):
    """One request on its way through a transport (a `Site`)."""

    lib = LIB
    as_called = True

    # Most calls keep these: only some set attributes of their own.
    _headers: tuple[Any, ...] | None = None
    _instead: Any = None
    _received: BodyTap | None = None
    _limits: BodyLimits
    _status = 0
    _response_headers: tuple[Any, ...] = ()
    _extensions: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, module: HttpxModule, request: Any, handle: Function, transport: Any) -> None:
        self._module = module
        self._request: Any = request
        self._handle: Any = handle
        self._transport: Any = transport
        self._method: str = request.method
        self._url = request.url
        self._body = getattr(request, CONTENT, None)
        if self._body is None:
            self.sends_stream = True

    @property
    def live(self) -> AppStep:
        """The transport's own function. Made when it is asked for: most recorded calls need no step."""
        return AppStep(self._handle, self._transport, self._request)

    def observe(self, session: TraceSession) -> None:
        self._limits = session.limits
        self.sets_up = asking_for_credentials.get() is not None
        # An auth flow may change the same request and send it again.
        self._headers = tuple(header_lines(self._request.headers))
        if self._body is None:
            self.sent = BodyTap(self._limits)
            self._send_instead(self._module.tee(self._request.stream, self.sent))
        elif self._body:
            self._limits.hold(len(self._body))

    def call(self) -> Call:
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self.sent is not None:
            body, end, too_long = self.sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = self._headers if self._headers is not None else header_lines(self._request.headers)
        return Call(
            LIB, EventType.HTTP_CLIENT, self._method, url_text(self._url), raw_lines(headers), body, end, too_long
        )

    def as_it_is(self) -> tuple[str, str, bytes, Any] | None:
        body = self._body
        if body is None:
            return None
        lines = header_lines(self._request.headers)
        # OpenTelemetry's instrumentation puts its header behind the others.
        if lines and lines[-1][1] == b"traceparent":
            lines = lines[:-1]
        # Most requests begin with their host, and end with the length of their body.
        if body and lines and lines[-1][1] != b"content-length":
            lines = [line for line in lines if line[1] not in _NOT_COMPARED]
        elif lines and lines[0][1] == b"host":
            lines = lines[1:-1] if body else lines[1:]
        return self._method, url_text(self._url), body, lines

    def returned(self, value: Any, recording: Recording) -> Any:
        # Neither the request nor the connection is kept alive by its recording.
        self._request = self._handle = self._transport = None
        if self.lend is not None:
            self.lend = None
        self._status = status = value.status_code
        self._response_headers = tuple(header_lines(value.headers))
        self._extensions = extensions = dict(value.extensions)
        extensions.pop("network_stream", None)
        if status == 101:
            recording.not_replayable = "the connection was upgraded to another protocol"
            recording.close()
            return value
        hears = recording.session.call_ended is not None
        self._received = recording.body = received = BodyTap(self._limits, recording.close if hears else None)
        # Not by `vars`: an object whose dictionary was asked for once gives each attribute more slowly.
        if getattr(value, CONTENT, None) is not None:
            # Its body was read before we saw it, and nobody will read its stream again. Transports make no such
            # responses; what stands in their place does. Example: vcrpy.
            self._note_read(value, received, recording)
        else:
            value.stream = self._module.tee(value.stream, received)
        return value

    def _note_read(self, value: Any, received: BodyTap, recording: Recording) -> None:
        body = self._module.body_read(value)
        if body is None:
            recording.not_replayable = "its body had been read and decoded before it could be noted"
        else:
            received.chunk(body)
        received.finish(BodyEnd.COMPLETE)

    def result(self, recording: Recording) -> EventResult:
        assert recording.returned_s is not None
        return EventResult(
            status=self._status,
            headers=HeaderMap(raw_lines(self._response_headers)),
            body=self._received.snapshot(recording.started_s) if self._received is not None else None,
            reply={
                **{name: item for name, item in self._extensions.items() if type(item) in _SIMPLE},
                "head_ms": (recording.returned_s - recording.started_s) * 1000,
            },
        )

    def again(self) -> bool:
        if self._body is not None and whole_body(self._request) is None:
            self._send_instead(self._module.whole(self._body))
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        return self._module.answer(event, RecordedBody(event, session, self))

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The exception in the classes of the module that was called: httpx's own, or those of httpx2."""
        return rebuilt_in(self._module.family, error)

    @abstractmethod
    def pause(self, seconds: float) -> Any: ...

    @abstractmethod
    def read_request(self) -> Flow: ...

    def _send_instead(self, stream: Any) -> None:
        """Let the request have this stream while it is sent. Then the app has its own stream back."""
        self._instead = stream
        self.lend = self._put_in

    def _put_in(self) -> Callable[[], None]:
        """Put the other stream in. The function that is returned puts the app's stream back."""
        request, stream = self._request, self._request.stream
        request.stream, self._instead = self._instead, None
        return partial(setattr, request, "stream", stream)


class SyncHop(_Hop):
    """A hop through ``HTTPTransport``."""

    def read_request(self) -> Flow:
        """Join the pieces of the request's stream."""
        self._body = yield AppStep(b"".join, self._request.stream)
        self.sends_stream = False

    def pause(self, seconds: float) -> None:
        """Block for so many seconds."""
        time.sleep(seconds)


class AsyncHop(_Hop):
    """A hop through ``AsyncHTTPTransport``."""

    def read_request(self) -> Flow:
        """Join the pieces of the request's stream."""
        stream, chunks = outside(aiter, self._request.stream), []
        while (chunk := (yield AppStep(anext, stream, None))) is not None:
            chunks.append(chunk)
        self._body = b"".join(chunks)
        self.sends_stream = False

    def pause(self, seconds: float) -> Any:
        """Sleep, under asyncio and trio alike."""
        return pause(seconds)

    async def unanswered(self, seconds: float) -> None:
        """Read the request's stream, if nobody has, and sleep for the rest of the time."""
        if self.sends_stream:
            await at_most(seconds, lambda: run_async(self.read_request()))
        else:
            await pause(seconds)
