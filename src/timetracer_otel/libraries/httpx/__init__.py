"""httpx (0.27 and newer) and httpx2: the calls of their network transports, sync and async.

The seam is the transport's own request method, beneath redirects, auth, cookies and decoding, which all run for real
in replay. In-process transports (mock, ASGI, WSGI) are not network and are left alone.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any

from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.calls.flow import Recording, Site, Step, flow, rebuilt, run, run_async
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.httpx.internals import (
    CONTENT,
    ENTRY_POINTS,
    RELIED_UPON,
    Internals,
    ReplayedNetworkStream,
    header_lines,
    internals_of,
    pause,
    raw_lines,
    url_text,
    whole_body,
)
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, RecordedError, header_pairs

__all__ = ["disable_httpx", "enable_httpx", "plugin"]

_LIB = "httpx"
_NO_CONNECTION = ReplayedNetworkStream()
_SIMPLE = frozenset({bytes, str, int, float, bool})


class _Exchange(Site, ABC):
    """One request on its way through a transport (a `Site`)."""

    lib = _LIB

    # What only some calls come to have.
    _headers: tuple[Any, ...] | None = None
    _sent: BodyTap | None = None
    _instead: Any = None
    _received: BodyTap | None = None
    _limits: BodyLimits
    _status = 0
    _response_headers: tuple[Any, ...] = ()
    _extensions: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, internals: Internals, request: Any, send: Callable[..., Any], transport: Any) -> None:
        self._internals = internals
        self._request = request
        self.live = self._send = partial(send, transport, request)
        self._method: str = request.method
        self._url = request.url
        self._body = getattr(request, CONTENT, None)

    def observe(self, session: TraceSession) -> None:
        self._limits = session.limits
        # An auth flow may change the same request and send it again.
        self._headers = tuple(header_lines(self._request.headers))
        if self._body is None:
            self._sent = BodyTap(self._limits)
            self._send_instead(self._internals.tee(self._request.stream, self._sent))
        elif self._body:
            self._limits.hold(len(self._body))

    def call(self) -> Call:
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self._sent is not None:
            body, end, too_long = self._sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        headers = self._headers if self._headers is not None else header_lines(self._request.headers)
        return Call(
            _LIB, EventType.HTTP_CLIENT, self._method, url_text(self._url), raw_lines(headers), body, end, too_long
        )

    def returned(self, value: Any, recording: Recording) -> Any:
        # Neither the request nor the connection is kept alive by its recording.
        self._request = self._send = self.live = None  # type: ignore[assignment]
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
        if CONTENT in vars(value):
            # Nobody will read it again. It is what stands in the transport's place that makes such a response.
            self._note_read(value, received, recording)
        else:
            value.stream = self._internals.tee(value.stream, received)
        return value

    def _note_read(self, value: Any, received: BodyTap, recording: Recording) -> None:
        body = self._internals.body_read(value)
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

    @property
    def read_request(self) -> Step | None:
        return self._read if self._body is None else None

    def again(self) -> bool:
        if self._body is not None and whole_body(self._request) is None:
            self._send_instead(self._internals.whole(self._body))
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        extensions = {**(event.result.reply or {}), "network_stream": _NO_CONNECTION}
        extensions.pop("head_ms", None)
        stream = self._internals.replay(RecordedBody(event, session, partial(rebuilt, self, event, session)))
        return self._internals.response(
            event.result.status or 0, header_pairs(event.result.headers), stream, extensions
        )

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """In the classes of the module that was called: a recording made with httpx replays under httpx2."""
        return rebuild_error(_renamed(error, self._internals.family), self._internals.family.values())

    @abstractmethod
    def _live_instead(self) -> Any: ...

    @abstractmethod
    def pause(self, seconds: float) -> Any: ...

    @abstractmethod
    def _read(self) -> Any: ...

    def _send_instead(self, stream: Any) -> None:
        """While the request is sent its stream is this one; then the app has its own stream back."""
        self._instead = stream
        self.live = self._live_instead

    def _put_in(self) -> Callable[[], None]:
        """Put the other stream in; what is returned puts the app's back."""
        request, stream = self._request, self._request.stream
        request.stream, self._instead = self._instead, None
        return partial(setattr, request, "stream", stream)


class _SyncExchange(_Exchange):
    def _live_instead(self) -> Any:
        restore = self._put_in()
        try:
            return self._send()
        finally:
            restore()

    def _read(self) -> None:
        self._body = b"".join(self._request.stream)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class _AsyncExchange(_Exchange):
    async def _live_instead(self) -> Any:
        restore = self._put_in()
        try:
            return await self._send()
        finally:
            restore()

    async def _read(self) -> None:
        self._body = b"".join([chunk async for chunk in self._request.stream])

    async def pause(self, seconds: float) -> None:
        await pause(seconds)


def _renamed(error: RecordedError, family: dict[str, str]) -> RecordedError:
    package = re.split(r"[.:]", error.cls, maxsplit=1)[0]
    cause = _renamed(error.cause, family) if error.cause is not None else None
    if cause is not None and cause.unfaithful is not None:
        # httpcore's HTTP/2 errors hold events of h2, which have no encoding. The app catches the error in front of
        # them, which is whole; of the cause its class and text remain.
        cause = replace(cause, args=(cause.message,), unfaithful=None)
    return replace(error, cls=family.get(package, package) + error.cls[len(package) :], cause=cause)


def _patches(module: ModuleType) -> list[Patch]:
    internals = internals_of(module)
    excluded = ExcludedUrls().of(_LIB)

    def sync_seam(original: Function) -> Function:
        def handle_request(self: Any, request: Any) -> Any:
            session = get_current_session()
            if session is None or (excluded is not None and excluded.search(str(request.url))):
                return original(self, request)
            return run(flow(_SyncExchange(internals, request, original, self), session))

        return handle_request

    def async_seam(original: Function) -> Function:
        async def handle_async_request(self: Any, request: Any) -> Any:
            session = get_current_session()
            if session is None or (excluded is not None and excluded.search(str(request.url))):
                return await original(self, request)
            return await run_async(flow(_AsyncExchange(internals, request, original, self), session))

        return handle_async_request

    return [
        KeptPatch(module.HTTPTransport, "handle_request", sync_seam),
        KeptPatch(module.AsyncHTTPTransport, "handle_async_request", async_seam),
        *internals.reads,
    ]


_MODULES = ("httpx", "httpx2")

plugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=_MODULES,
    patches=_patches,
    check=lambda module: missing_names(f"{module.__name__}:{name}" for name in RELIED_UPON),
    entry_points={module: [[f"{module}:{name}" for name in names] for names in ENTRY_POINTS] for module in _MODULES},
    instrumentors=(
        "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor",
        "opentelemetry.instrumentation.httpx:HTTPX2ClientInstrumentor",
    ),
)


def enable_httpx() -> None:
    """Let sessions record and replay httpx (and httpx2) calls, also of clients that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own httpx instrumentation on, that is
    switched on too. Harmless when repeated, in any order with that instrumentation.

    Raises:
        PluginNotFoundError: Neither httpx nor httpx2 is installed.
    """
    plugin.enable()


def disable_httpx() -> None:
    """Undo `enable_httpx`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
