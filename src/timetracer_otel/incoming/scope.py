"""A request that comes in: what is known of it when it begins, and what is noted while it is under way.

The two middlewares (`asgi`, `wsgi`) state what passes; which session the request gets, `Runtime.request_began`
decides. Knows no framework and no server.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.constants import BodyEnd
from timetracer_otel.context import context_with, is_decided
from timetracer_otel.otel.span_facts import failed, is_server, note_exception, query_values, route_of
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.session.body_taps import BodyLimits, BodyTap
from timetracer_otel.types import BodySnapshot, HeaderMap, HeaderPairs, RequestSnapshot, ResponseSnapshot

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan

Buffer: TypeAlias = bytes | bytearray | memoryview

__all__ = ["IncomingRequest", "RequestScope", "begins_anew", "current_scope", "forget_scope"]


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request as its first line and its headers state it, not redacted."""

    method: str
    path: str
    """Decoded, as it came over the wire."""
    target: str
    """Path and query as they stood in the request line."""
    headers: HeaderPairs
    client_ip: str | None = None
    framework: str = ""
    scheme: str = "http"
    body: bytes | None = None
    """Whole, where it was read before the app was called (see `Runtime.reads_body_first`); None otherwise."""

    def snapshot(self, body: BodySnapshot | None, route: str | None = None) -> RequestSnapshot:
        """The request as it stands in a cassette, not redacted, with what is known of its body and its route."""
        return RequestSnapshot(
            method=self.method,
            path=self.path,
            route_template=route,
            headers=HeaderMap(self.headers),
            query=query_values(self.query),
            body=body,
            client_ip=self.client_ip,
            user_agent=self.header(b"user-agent"),
            target=self.target,
        )

    @property
    def query(self) -> str:
        """The query as it stood in the request line."""
        return self.target.partition("?")[2]

    def header(self, name: bytes) -> str | None:
        """The first header of this name (in lower case)."""
        return next((value.decode("latin-1") for found, value in self.headers if found.lower() == name), None)


class RequestScope:
    """One incoming request under way. For one request; its methods are called in the order in which things pass.

    ``with scope:`` makes its session current, as often as a piece of the app runs for it: what the app does to the
    OpenTelemetry context in one piece is there in the next, and nothing of it stays behind in the server.

    Args:
        incoming: The request.
        session: What its calls belong to; None where it is left out, with everything below it.
        on_end: Called when the request has ended, to end its session; None where a span around the app does that.
    """

    def __init__(
        self,
        incoming: IncomingRequest,
        session: BaseSession | None,
        on_end: Callable[[RequestScope], None] | None = None,
    ) -> None:
        self.incoming = incoming
        self.session = session
        limits = session.limits if isinstance(session, TraceSession) else BodyLimits(0)
        self.request_body = BodyTap(limits)
        self.response_body = BodyTap(limits)
        self.route: str | None = None
        self.status = 0
        self.headers: HeaderPairs = ()
        self.failed = False
        """Whether it ended in an error: an exception, a span of status ERROR, a status of 500 or more."""
        self.ended = False
        self._sent_by: str | None = None
        self._started_s = perf_counter()
        self._ended_s: float | None = None
        self.on_end = on_end
        self._context: Context | None = None
        self._tokens: tuple[Token[Context], Token[RequestScope | None]] | None = None
        if isinstance(session, TraceSession):
            session.exchange = self
            session.framework = incoming.framework or session.framework

    @property
    def answered(self) -> bool:
        """Whether the response has passed to its end. What begins later in this context may be another request."""
        return self.ended or self.response_body.end is not None

    def __enter__(self) -> RequestScope:
        if self._context is None:
            self._context = context_with(self.session)
        self._tokens = otel_context.attach(self._context), _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tokens is not None
        (context_token, scope_token), self._tokens = self._tokens, None
        try:
            _current.reset(scope_token)
        except ValueError:
            # A task that was never finished is cleared away in another context; its own is gone.
            return
        self._context = None if self.ended else otel_context.get_current()
        otel_context.detach(context_token)

    def request_chunk(self, data: Buffer | None) -> None:
        """The app was given a piece of the request's body."""
        _note(self.request_body, data)

    def response_began(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The app gave status and headers; the last ones count."""
        self.status = status
        self.failed = self.failed or status >= 500
        self.headers = tuple((bytes(name), bytes(value)) for name, value in headers)

    def response_chunk(self, data: Buffer | None) -> None:
        """The app gave a piece of the response's body."""
        _note(self.response_body, data)

    def response_left_to(self, sender: str) -> None:
        """The body does not pass through Python: the server sends it by itself."""
        self._sent_by = sender
        self.response_body.finish(BodyEnd.COMPLETE)

    def routed(self, find: Callable[[], str | None]) -> None:
        """The framework has chosen a route by now: find it, unless it is known."""
        try:
            self.route = self.route or find()
        except Exception as fault:
            faults.contain("requests.route", fault)

    def failed_with(self, error: BaseException) -> None:
        """The app raised, or its task was cancelled."""
        if isinstance(error, GeneratorExit):
            return
        self.response_body.failed(error)
        if not isinstance(error, Exception):
            return
        self.failed = True
        if isinstance(self.session, TraceSession):
            # The names are those of OpenTelemetry's own `Span.record_exception`.
            kind = type(error)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            try:
                self.session.mark_error(name, str(error), "".join(traceback.format_exception(error)))
            except Exception as fault:
                # Its `__str__` is the app's.
                faults.contain("requests.error", fault)

    def span_ended(self, span: ReadableSpan) -> None:
        """An outermost span of this request has ended."""
        session = self.session
        if not is_server(span) or not isinstance(session, TraceSession):
            return
        context = span.get_span_context()
        session.trace_id = session.trace_id or (f"{context.trace_id:032x}" if context else None)
        # Spans lack what is behind a mount, and frameworks may lack prefixes: the fuller one.
        self.route = max(route_of(span) or "", self.route or "", key=len) or None
        self.failed = self.failed or failed(span)
        if not session.has_error:
            note_exception(session, span)

    def end(self) -> None:
        """The app is done with the request; harmless when repeated."""
        if self.ended:
            return
        self.ended = True
        self._ended_s = perf_counter()
        self._context = None
        # Whoever read or sent a body is gone by now.
        self.request_body.finish(BodyEnd.CLOSED)
        self.response_body.finish(BodyEnd.CLOSED)
        try:
            if self._sent_by is not None and isinstance(self.session, TraceSession):
                self.session.drop(f"response body sent by {self._sent_by}")
            if self.on_end is not None:
                self.on_end(self)
        except Exception as fault:
            faults.contain("requests.end", fault)

    def request(self) -> RequestSnapshot:
        return self.incoming.snapshot(self._request_body(), self.route)

    def response(self) -> ResponseSnapshot:
        ended_s = self.response_body.ended_s or self._ended_s
        body: BodySnapshot | None = None
        if self._sent_by is not None:
            body = BodySnapshot(captured=False)
        elif self.status:
            body = self.response_body.snapshot(self._started_s)
        return ResponseSnapshot(
            status=self.status,
            headers=HeaderMap(self.headers),
            body=body,
            duration_ms=((ended_s or perf_counter()) - self._started_s) * 1000,
        )

    def release(self) -> None:
        # `incoming` stays: it is small, and the app's own bytes.
        self.request_body.restart()
        self.response_body.restart()

    def _request_body(self) -> BodySnapshot | None:
        incoming, tap = self.incoming, self.request_body
        announced = incoming.header(b"content-length") not in (None, "0") or incoming.header(b"transfer-encoding")
        return tap.snapshot(self._started_s) if announced or tap.size_bytes else None


def _note(tap: BodyTap, data: Buffer | None) -> None:
    try:
        if data:
            # A copy where it is no bytes: the app may use its buffer again.
            tap.chunk(bytes(data))
    except Exception as fault:
        faults.contain("requests.body", fault)


_current: ContextVar[RequestScope | None] = ContextVar("timetracer_otel_request", default=None)


def current_scope() -> RequestScope | None:
    """The request that the code here runs for, or ran for: what outlives a request keeps it in its context."""
    return _current.get()


def forget_scope() -> None:
    """The code here runs for no request any more."""
    _current.set(None)


def begins_anew() -> bool:
    """Whether a request that comes in here belongs to no session that is current already."""
    scope = _current.get()
    # Behind an answer, servers begin the next request of the connection in the context of the one before.
    return scope.answered if scope is not None else not is_decided()
