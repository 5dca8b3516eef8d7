"""aiohttp (3.12 and newer): the calls of its client, one by one.

The seam is a client middleware of ours, innermost in every call of every session: once for each hop and each try,
beneath redirects, cookies, digest auth and the user's own middlewares, which all run for real in replay. The
connection is held below: what is recorded is what the parser was given, and a replay gives it to the same parser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.kept_functions import KeptPatch
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.calls.flow import Recording, Site, Step, flow, rebuilt, run_async
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.aiohttp.private_names import ENTRY_POINTS, missing
from timetracer_otel.libraries.kits.http.bodies import BodyLimits, BodyTap, RecordedBody
from timetracer_otel.libraries.kits.http1.arriving import ArrivalTap
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, RecordedError, header_pairs

__all__ = ["disable_aiohttp", "enable_aiohttp", "plugin"]

_LIB = "aiohttp"
_PEER_FACTS = ("peername",)

_current: ContextVar[_Exchange | None] = ContextVar("timetracer_aiohttp_exchange", default=None)
"""The call whose connection is being used, in the task that does so and in the one that writes its body."""


class _Exchange(Site):
    """One request on its way through a connection (a `Site`)."""

    lib = _LIB

    def __init__(self, request: Any, handler: Function, write_bytes: Function) -> None:
        from timetracer_otel.libraries.aiohttp import internals

        self._internals = internals
        self.request = request
        self._handler = handler
        self._write_bytes = write_bytes
        self._method: str = request.method
        self._url = str(request.url)
        self._body = internals.whole_body(request)
        self._compress = partial(internals.compressed, request) if request.compress else None
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._session: TraceSession | None = None
        self._sent: BodyTap | None = None
        self._read_pieces: list[bytes] | None = None
        self._received: ArrivalTap | None = None
        self._head: tuple[tuple[int, int], int, str, Any] = ((1, 1), 0, "", ())
        self._peer: dict[str, Any] = {}
        self._protocol: Any = None
        self.answer: Any = None
        self._taken = False

    # In a recording

    def observe(self, session: TraceSession) -> None:
        self._session = session
        if self._body is None:
            self._sent = BodyTap(session.limits)
        elif self._body:
            session.limits.hold(len(self._body))
        self._received = ArrivalTap(session.limits)

    def live(self) -> Any:
        is_ours = self._received is not None or self._read_pieces is not None
        return self._handle() if is_ours else self._handler(self.request)

    def call(self) -> Call:
        body, end, too_long = self._body, BodyEnd.COMPLETE, None
        if self._sent is not None:
            body, end, too_long = self._sent.as_sent()
        elif body is None:
            end = BodyEnd.CUT
        if body and end is BodyEnd.COMPLETE and self._compress is not None:
            body = self._compress(body)
        headers = self._headers if self._headers is not None else self._internals.header_pairs_of(self.request)
        return Call(_LIB, EventType.HTTP_CLIENT, self._method, self._url, headers, body, end, too_long)

    def returned(self, value: Any, recording: Recording) -> Any:
        received = self._received
        assert received is not None
        self._note_headers()
        version = value.version
        self._head = ((version.major, version.minor), value.status, value.reason or "", value.raw_headers)
        received.app_has_it()
        # Neither the request nor the connection is kept alive by its recording.
        self.request = self._handler = self._protocol = None  # type: ignore[assignment]
        if value.status == 101:
            recording.not_replayable = "the connection was upgraded to another protocol"
            recording.close()
        elif received.end is not None:
            recording.close()
        else:
            received.on_end(recording.close)
        return value

    def record_error(self, error: BaseException) -> RecordedError:
        """An error of the call as a value."""
        from timetracer_otel.libraries.aiohttp import errors

        assert self._session is not None
        self._note_headers()
        redactor = Redactor.of(self._session.config.redact, self._session.config.redact_extra)
        recorded = errors.record(error, self.request, redactor.headers, redactor.url)
        self.request = self._handler = self._protocol = None  # type: ignore[assignment]
        return recorded

    def result(self, recording: Recording) -> EventResult:
        assert recording.returned_s is not None
        assert self._received is not None
        (major, minor), status, reason, headers = self._head
        return EventResult(
            status=status,
            headers=HeaderMap(headers),
            body=self._received.snapshot(recording.started_s),
            reply={
                "http_version": b"HTTP/%d.%d" % (major, minor),
                "reason_phrase": reason.encode("utf-8", "surrogateescape"),
                "head_ms": (recording.returned_s - recording.started_s) * 1000,
                "peer": self._peer,
                **self._received.facts(),
            },
        )

    # In a replay

    @property
    def read_request(self) -> Step | None:
        return self._read if self._body is None else None

    async def _read(self) -> None:
        from timetracer_otel.libraries.aiohttp import answer

        self._sent = BodyTap(BodyLimits())
        await answer.read_body(self.request, self._write_bytes, self._sent)

    def again(self) -> bool:
        if self._sent is not None:
            # A body that was a stream has been read: its pieces are sent.
            self._read_pieces, self._sent = self._sent.chunks, None
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        from timetracer_otel.libraries.aiohttp import answer

        reply = event.result.reply or {}
        version = reply["http_version"].removeprefix(b"HTTP/").split(b".")
        sent = event.call.body if event.call is not None else None
        peer = {name: tuple(item) if isinstance(item, list) else item for name, item in reply.get("peer", {}).items()}
        return answer.Answer(
            (
                (int(version[0]), int(version[1])),
                event.result.status or 0,
                reply["reason_phrase"].decode("utf-8", "surrogateescape"),
                header_pairs(event.result.headers),
            ),
            RecordedBody(event, session, partial(rebuilt, self, event, session)),
            reply,
            peer,
            at_once=sent is not None and sent.end is not BodyEnd.COMPLETE,
        )

    def rebuild_error(self, error: RecordedError) -> BaseException:
        from timetracer_otel.libraries.aiohttp import errors

        return errors.rebuild(error, self.request)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def replay(self, answer: Any) -> Any:
        """Let aiohttp get its answer over a connection of ours."""
        self.answer = answer
        response = await self._handle()
        if not self._taken:
            response.close()
            raise ReplayMismatchError(
                f"{type(self.request.session.connector).__qualname__}.connect does not call aiohttp's own: "
                f"{self._method} {self._url} went out for real",
                hint="let the connector's `connect` call `super().connect`, or name aiohttp in live_plugins.",
            )
        return response

    # On the connection

    async def connect(self, connect: Function, connector: Any, *arguments: Any, **keywords: Any) -> Any:
        """The connector is asked for a connection."""
        if self.answer is not None:
            from timetracer_otel.libraries.aiohttp import answer

            self._taken = True
            return answer.replay_connection(self.request, self.answer)
        connection = await connect(connector, *arguments, **keywords)
        try:
            self._protocol = connection.protocol
            transport = connection.transport
            for name in _PEER_FACTS:
                fact = transport.get_extra_info(name) if transport is not None else None
                if isinstance(fact, (str, bytes, tuple)):
                    self._peer[name] = fact
        except Exception as fault:
            faults.contain("aiohttp.connect", fault)
        return connection

    def parser_made(self, protocol: Any) -> None:
        """A connection's handler has got the parser for a response."""
        if protocol is self._protocol and self._received is not None:
            self._internals.tee_parser(protocol, self._received, self._method == "HEAD")

    async def write(self, writer: Any, *arguments: Any, **keywords: Any) -> Any:
        """The body is sent, if there is any."""
        sent, request, write_bytes = self._sent, self.request, self._write_bytes
        pieces = sent.chunks if sent is not None and self.answer is not None else self._read_pieces
        with _body_of(request, pieces):
            if sent is None or self.answer is not None:
                return await write_bytes(request, writer, *arguments, **keywords)
            try:
                await write_bytes(request, self._internals.TeedWriter(writer, sent), *arguments, **keywords)
            except BaseException as error:
                sent.failed(error)
                raise
            sent.finish(BodyEnd.FAILED)
        return None

    async def _handle(self) -> Any:
        token = _current.set(self)
        try:
            return await self._handler(self.request)
        finally:
            _current.reset(token)

    def _note_headers(self) -> None:
        if self._headers is None:
            self._headers = self._internals.header_pairs_of(self.request)


def _body_of(request: Any, pieces: list[bytes] | None) -> AbstractContextManager[None]:
    """While it is sent, a request has the pieces of a body that was read for its payload; None: its own."""
    if pieces is None:
        return nullcontext()
    from timetracer_otel.libraries.aiohttp import answer

    return answer.written_again(request, pieces)


def _patches(module: ModuleType) -> list[Patch]:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import BaseConnector

    excluded = ExcludedUrls().of("aiohttp_client")
    write_bytes: list[Function] = []

    async def innermost(request: Any, handler: Callable[[Any], Any]) -> Any:
        session = get_current_session()
        if session is None or (excluded is not None and excluded.search(str(request.url)) is not None):
            return await handler(request)
        exchange = _Exchange(request, handler, write_bytes[0])
        value = await run_async(flow(exchange, session))
        return await exchange.replay(value) if _is_answer(value) else value

    def request_seam(original: Function) -> Function:
        # A plain function: a coroutine of our own would shift the frames that warnings count.
        def _request(self: Any, *arguments: Any, middlewares: Any = None, **keywords: Any) -> Any:
            if get_current_session() is None:
                return original(self, *arguments, middlewares=middlewares, **keywords)
            outer = self._middlewares if middlewares is None else middlewares
            return original(self, *arguments, middlewares=(*outer, innermost), **keywords)

        return _request

    def connect_seam(original: Function) -> Function:
        async def connect(self: Any, req: Any, *arguments: Any, **keywords: Any) -> Any:
            exchange = _current.get()
            if exchange is None or exchange.request is not req:
                return await original(self, req, *arguments, **keywords)
            return await exchange.connect(original, self, req, *arguments, **keywords)

        return connect

    def parser_seam(original: Function) -> Function:
        def set_response_params(self: Any, **params: Any) -> None:
            original(self, **params)
            exchange = _current.get()
            if exchange is not None:
                exchange.parser_made(self)

        return set_response_params

    def write_seam(original: Function) -> Function:
        write_bytes[:] = [original]

        async def write(self: Any, writer: Any, *arguments: Any, **keywords: Any) -> Any:
            exchange = _current.get()
            if exchange is None or exchange.request is not self:
                return await original(self, writer, *arguments, **keywords)
            return await exchange.write(writer, *arguments, **keywords)

        return write

    return [
        KeptPatch(module.ClientSession, "_request", request_seam),
        Patch(BaseConnector, "connect", connect_seam),
        Patch(ResponseHandler, "set_response_params", parser_seam),
        Patch(module.ClientRequest, "write_bytes", write_seam),
    ]


def _is_answer(value: Any) -> bool:
    from timetracer_otel.libraries.aiohttp.answer import Answer

    return isinstance(value, Answer)


plugin = LibraryPlugin(
    name=_LIB,
    group="http",
    modules=("aiohttp",),
    patches=_patches,
    check=missing,
    entry_points={"aiohttp": ENTRY_POINTS},
    instrumentors=("opentelemetry.instrumentation.aiohttp_client:AioHttpClientInstrumentor",),
)


def enable_aiohttp() -> None:
    """Let sessions record and replay aiohttp client calls, also of client sessions that exist already.

    Where a real tracer provider is set and nobody switched OpenTelemetry's own aiohttp-client instrumentation on,
    that is switched on too; it sees client sessions made from then on. Harmless when repeated, in any order with
    that instrumentation.

    Raises:
        PluginNotFoundError: aiohttp is not installed.
    """
    plugin.enable()


def disable_aiohttp() -> None:
    """Undo `enable_aiohttp`, and switch off OpenTelemetry's instrumentation if that switched it on."""
    plugin.disable()
