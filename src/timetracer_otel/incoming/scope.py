"""A request that comes in: what is known of it when it begins, and what is noted while it is under way.

The two middlewares (`asgi`, `wsgi`) call the methods of `RequestScope` as the request and its response pass.
`Runtime.request_began` decides which session the request gets. Frameworks and servers are not known here.
"""

from __future__ import annotations

import sys
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
from timetracer_otel.current import context_with, is_decided
from timetracer_otel.incoming import debugging
from timetracer_otel.otel.span_facts import failed, is_server, note_exception, query_values, route_of
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.session.body_taps import BodyLimits, BodyTap
from timetracer_otel.types import BodySnapshot, HeaderMap, HeaderPairs, RequestSnapshot, ResponseSnapshot

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan

Buffer: TypeAlias = bytes | bytearray | memoryview

__all__ = ["IncomingRequest", "RequestScope", "begins_anew", "current_scope", "forget_scope", "note_raised"]


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A request as its request line and its headers state it, not redacted."""

    method: str
    path: str
    """The decoded path, without a prefix that the server has added."""
    target: str
    """Path and query, as they stood in the request line."""
    headers: HeaderPairs
    client_ip: str | None = None
    framework: str = ""
    scheme: str = "http"
    body: bytes | None = None
    """The whole body where it was read before the app was called (see `Receiver.reads_body_first`), else None."""

    def snapshot(self, body: BodySnapshot | None, route: str | None = None) -> RequestSnapshot:
        """The request for a cassette, with its body and its route; not redacted."""
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
    """One incoming request under way. The middleware calls the methods in the order in which things happen.

    ``with scope:`` makes the request's session current. A WSGI app runs in several steps: once when it is called, and
    once for each chunk of its response. Each step is one such block. What the app sets in the OpenTelemetry context
    in one step is there in the next, and is gone when the server goes on to another request.

    Args:
        incoming: The request.
        session: The session that the request's calls belong to; None where the request and its calls are left out.
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
        self.request_body: BodyTap = BodyTap(limits)
        self.response_body: BodyTap = BodyTap(limits)
        self.route: str | None = None
        self.status: int = 0
        self.headers: HeaderPairs = ()
        self.failed: bool = False
        """Whether the request failed: by an exception, a span of status ERROR, or a status of 500 or more."""
        self.ended: bool = False
        self.raised: BaseException | None = None
        """The last exception that the framework made an answer of. Noted only where somebody debugs."""
        self._debugged = False
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
        """Whether the whole response has passed. What begins later in this context may be another request."""
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
            # Python finalises an unfinished task in another context than the task's own, which is gone.
            return
        self._context = None if self.ended else otel_context.get_current()
        otel_context.detach(context_token)

    def request_chunk(self, data: Buffer | None) -> None:
        """Note a piece of the request's body that the app is given."""
        _note(self.request_body, data)

    def response_began(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Note the status and the headers that the app gives; the last ones count."""
        self.status = status
        self.failed = self.failed or status >= 500
        if self.failed:
            self._debug(sys.exc_info()[1])
        self.headers = tuple((bytes(name), bytes(value)) for name, value in headers)

    def response_chunk(self, data: Buffer | None) -> None:
        """Note a piece of the response's body that the app gives."""
        _note(self.response_body, data)

    def response_left_to(self, sender: str) -> None:
        """Note that ``sender`` sends the body, which does not pass through Python."""
        self._sent_by = sender
        self.response_body.finish(BodyEnd.COMPLETE)

    def routed(self, find: Callable[[], str | None]) -> None:
        """Find the route that the framework has chosen, unless it is known."""
        try:
            self.route = self.route or find()
        except Exception as fault:
            faults.contain("requests.route", fault)

    def failed_with(self, error: BaseException) -> None:
        """Note that the app raised, or that its task was cancelled."""
        if isinstance(error, GeneratorExit):
            return
        self.response_body.failed(error)
        if not isinstance(error, Exception):
            return
        self._debug(error)
        self.failed = True
        if isinstance(self.session, TraceSession):
            # The names are those of OpenTelemetry's own `Span.record_exception`.
            kind = type(error)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            try:
                self.session.mark_error(name, str(error), "".join(traceback.format_exception(error)))
            except Exception as fault:
                # The error's `__str__` is code of the app's, and may raise.
                faults.contain("requests.error", fault)

    def _debug(self, error: BaseException | None) -> None:
        if debugging.active is not None and not self._debugged:
            self._debugged = True
            debugging.active.failed(f"{self.incoming.method} {self.incoming.target}", error or self.raised)

    def span_ended(self, span: ReadableSpan) -> None:
        """Take what an ended outermost span of this request tells."""
        session = self.session
        if not is_server(span) or not isinstance(session, TraceSession):
            return
        context = span.get_span_context()
        session.trace_id = session.trace_id or (f"{context.trace_id:032x}" if context else None)
        # A span may lack the part of the route behind a mount, and a framework the prefixes before it. The longer of
        # the two is the whole route.
        self.route = max(route_of(span) or "", self.route or "", key=len) or None
        self.failed = self.failed or failed(span)
        if not session.has_error:
            note_exception(session, span)

    def end(self) -> None:
        """End the request, which the app is done with; harmless when repeated."""
        if self.ended:
            return
        self.ended = True
        self._ended_s = perf_counter()
        self._context = None
        # Nobody reads or sends the bodies any more.
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
        """The request, with its body as far as it was read."""
        return self.incoming.snapshot(self._request_body(), self.route)

    def response(self) -> ResponseSnapshot:
        """The response, as far as it was sent."""
        body: BodySnapshot | None = None
        if self._sent_by is not None:
            body = BodySnapshot(captured=False)
        elif self.status:
            body = self.response_body.snapshot(self._started_s)
        return ResponseSnapshot(
            status=self.status,
            headers=HeaderMap(self.headers),
            body=body,
            duration_ms=self.duration_ms,
        )

    @property
    def duration_ms(self) -> float:
        """How long the response took, to its last byte."""
        ended_s = self.response_body.ended_s or self._ended_s
        return ((ended_s or perf_counter()) - self._started_s) * 1000

    @property
    def route_name(self) -> str:
        """``GET /users/{id}``; all requests of a method whose route is not known have one name."""
        return f"{self.incoming.method} {self.route or '(no route)'}"

    def release(self) -> None:
        """Let go of the bodies, so that their memory can be freed."""
        # `incoming` is kept: its texts are small, and a body in it is shared with the app.
        self.request_body.restart()
        self.response_body.restart()

    def _request_body(self) -> BodySnapshot | None:
        incoming, tap = self.incoming, self.request_body
        announced = incoming.header(b"content-length") not in (None, "0") or incoming.header(b"transfer-encoding")
        return tap.snapshot(self._started_s) if announced or tap.size_bytes else None


def _note(tap: BodyTap, data: Buffer | None) -> None:
    try:
        if data:
            # Other buffers than bytes are copied: the app may fill them again.
            tap.chunk(bytes(data))
    except Exception as fault:
        faults.contain("requests.body", fault)


_current: ContextVar[RequestScope | None] = ContextVar("timetracer_otel_request", default=None)


def current_scope() -> RequestScope | None:
    """The request that the caller runs for. A task that outlives its request still gets that request."""
    return _current.get()


def note_raised(_: object, error: BaseException) -> None:
    """Keep the exception that a framework makes an answer of, for whoever debugs the current request."""
    scope = current_scope()
    if scope is not None and debugging.active is not None:
        scope.raised = error


def forget_scope() -> None:
    """Say that the caller runs for no request any more."""
    _current.set(None)


def begins_anew() -> bool:
    """Whether a request that comes in now gets a session of its own, since no session is current."""
    scope = _current.get()
    # Servers begin the next request of a connection in the context of the one before, which has been answered then.
    return scope.answered if scope is not None else not is_decided()
