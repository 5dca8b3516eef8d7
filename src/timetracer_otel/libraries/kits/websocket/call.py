"""A WebSocket connection as one call: its handshake is the request and the response, and its frames are the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from timetracer_otel.base.otel_context import has_real_provider
from timetracer_otel.calls.flow import FAULT, Recording, Site, pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Noted
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import CONVERSATION, CapturePolicy, EventType
from timetracer_otel.libraries.kits.websocket.exchange import SocketExchange
from timetracer_otel.libraries.kits.websocket.far_end import FarEnd
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, HeaderPairs, RecordedError

__all__ = [
    "Conversation",
    "SocketSite",
    "Telling",
    "Through",
    "belongs",
    "conversation_of",
    "facts_of",
    "lines_of",
    "outcome",
    "span_of",
    "without_key",
]

Conversation: TypeAlias = "SocketExchange | FarEnd"
_FRESH: Final = b"sec-websocket-key"
"""The header that a client makes anew for each connection (RFC 6455 section 4.1)."""
_ATTRIBUTE: Final = "_timetracer_conversation"
_ERRORS: Final = 400
_GAVE_UP: Final = (TimeoutError, asyncio.TimeoutError, asyncio.CancelledError)
_TIMED_OUT: Final = "WebSocketTimeoutException"
"""What websocket-client raises for a timeout."""


class Through:
    """Stands for a conversation where the connection was opened in a session, and is none of its calls."""


_THROUGH: Final = Through()


def lines_of(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The header lines of a handshake as they are kept: without the key."""
    encoded = [(name.encode("utf-8"), value.encode("utf-8", "surrogateescape")) for name, value in headers]
    return without_key(encoded)


def without_key(headers: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """Header lines without the key of the handshake."""
    return [(name, value) for name, value in headers if name.lower() != _FRESH]


def facts_of(exchange: SocketExchange, recording: Recording) -> dict[str, Any]:
    """What a reply tells of the frames. It says in the recording why they cannot be replayed."""
    config = recording.session.config
    policy = config.store_response_body
    if exchange.faulted:
        recording.not_replayable = FAULT
    elif exchange.damaged:
        recording.not_replayable = "its frames are damaged"
    elif exchange.too_long:
        recording.not_replayable = f"its frames {config.why_too_long(exchange.size_bytes)}"
    elif policy is not CapturePolicy.ALWAYS and exchange.opened:
        recording.not_replayable = f"its frames were not kept (TIMETRACER_STORE_RES_BODY={policy.value})"
    kept = recording.not_replayable is None
    return {
        "frames": [list(entry) for entry in exchange.entries] if kept else [],
        "until_ns": int(exchange.until_ms * 1e6),
        **({"body": exchange.body} if exchange.body and kept else {}),
    }


def conversation_of(connection: Any) -> Conversation | Through | None:
    """What notes or answers the frames of a library's connection; None for one that is older than the session."""
    found: Conversation | Through | None = getattr(connection, _ATTRIBUTE, None)
    return found


class SocketSite(Site):
    """The opening of a connection by a library that speaks HTTP by itself for it.

    Args:
        lib: The plugin.
        url: Where the connection leads.
        headers: Gives the header lines of the handshake. Asked for in a replay; a recording has them from the bytes.
        live: Opens the connection.
        note: Lets an exchange note the bytes of a connection that was opened.
    """

    marks_span = True

    def __init__(
        self,
        lib: str,
        url: str,
        headers: Callable[[], HeaderPairs],
        live: AppStep,
        note: Callable[[Any, SocketExchange], Any],
    ) -> None:
        self.lib = lib
        self.url = url
        self.live: Any = live
        self.is_awaited = False
        self.far_end: FarEnd | None = None
        self._headers = headers
        self._note = note
        self._made: HeaderPairs | None = None
        self.exchange: SocketExchange | None = None

    def observe(self, session: TraceSession) -> None:
        """Note what is said within the limits of the recording."""
        self.exchange = SocketExchange(session.limits)
        if self.span is not None:
            span = self.span
            self.exchange.on_head = lambda status: ended(span, status)

    def call(self) -> Call:
        """The handshake."""
        request = self.exchange.request if self.exchange is not None else None
        if request is not None:
            headers: HeaderPairs = without_key(request.headers)
        elif self.exchange is not None:
            headers = []
        else:
            if self._made is None:
                self._made = self._headers()
            headers = self._made
        return Call(self.lib, EventType.HTTP_CLIENT, "GET", self.url, headers, b"")

    def returned(self, value: Any, recording: Recording) -> Any:
        """The connection is open. The call goes on as long as it is."""
        exchange = self.exchange
        assert exchange is not None
        exchange.recording = recording
        recording.goes_on = True
        noted = None if value is None else self._note(value, exchange)
        if exchange.ended_s is not None:
            recording.close(exchange.ended_s)
        return noted

    def tells_answer(self, error: BaseException) -> bool:
        """Whether a client that waits for the answer to the handshake has got one, which refuses it."""
        return isinstance(error, Exception) and self.exchange is not None and self.exchange.head is not None

    def result(self, recording: Recording) -> EventResult:
        """The answer to the handshake, and the frames."""
        exchange = self.exchange
        assert exchange is not None
        result = EventResult(reply={})
        head = exchange.head
        if head is not None:
            version, _, rest = head.first.partition(b" ")
            result.status = head.status
            result.headers = HeaderMap(head.headers)
            result.reply = {"http_version": version, "reason_phrase": rest.partition(b" ")[2]}
            if exchange.head_s is not None:
                result.reply["head_ms"] = (exchange.head_s - recording.started_s) * 1000
        result.reply[CONVERSATION] = facts_of(exchange, recording)
        return result

    def again(self) -> bool:
        """Always: nothing was sent yet."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The other end of the connection."""
        self.far_end = far_end = FarEnd(event, session)
        if self.span is not None:
            span = self.span
            far_end.on_head = lambda status: ended(span, status)
        return far_end

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """Why there was no connection."""
        return rebuild_error(error, {"websocket", "websockets", "ssl", "socket"})

    def pause(self, seconds: float) -> Any:
        """Wait as long as the opening took."""
        return asyncio.sleep(seconds) if self.is_awaited else super().pause(seconds)


class Telling(Noted):
    """One call of the app's on a connection: it waits, or says something.

    Args:
        conversation: Of the connection.
        waits: Whether it waits for a message.
    """

    __slots__ = ("_conversation", "_waits")

    def __init__(self, conversation: Conversation, waits: bool) -> None:
        self._conversation = conversation
        self._waits = waits
        if waits and isinstance(conversation, FarEnd):
            conversation.waits()

    def came(self, value: Any) -> Any:
        """It has returned. Where there is no answer, the app gets the reason."""
        self._ended(gave_up=False)
        return value

    def raised(self, error: BaseException) -> None:
        """It has raised what the library makes of a connection that is lost, or the app waits no more."""
        self._ended(gave_up=isinstance(error, _GAVE_UP) or type(error).__name__ == _TIMED_OUT)

    def _ended(self, *, gave_up: bool) -> None:
        conversation = self._conversation
        if isinstance(conversation, FarEnd):
            if self._waits:
                conversation.waited(gave_up=gave_up)
            if conversation.miss is not None and not gave_up:
                raise conversation.miss
        elif gave_up and self._waits:
            conversation.noting(conversation.gives_up)


def outcome(lib: str, connection: Any, session: BaseSession | None, *, waits: bool) -> Noted | None:
    """What notes a call of the app's on a connection; None where there is nothing to note.

    Raises:
        ReplayMismatchError: The connection is older than the replay.
    """
    conversation = conversation_of(connection)
    if isinstance(conversation, FarEnd) or (
        isinstance(conversation, SocketExchange) and not isinstance(session, ReplaySession)
    ):
        return Telling(conversation, waits)
    if session is None or conversation is _THROUGH:
        return None
    if isinstance(conversation, SocketExchange) and isinstance(session, ReplaySession):
        recording = conversation.recording
        if recording is not None and recording.session is session.recorder:
            return Telling(conversation, waits)
    refusal = pass_or_refuse(
        lib,
        "a WebSocket connection was opened before the session began, so its frames cannot be told",
        "Open it within the session.",
        session,
    )
    if refusal is not None:
        raise refusal
    return None


def belongs(connection: Any, conversation: Conversation | None) -> None:
    """Say whose frames a connection has: of this conversation, or of nobody's."""
    setattr(connection, _ATTRIBUTE, _THROUGH if conversation is None else conversation)


# The span of a handshake: nothing of OpenTelemetry's instruments these libraries. The attributes are those of the
# semantic conventions of HTTP clients.


@contextmanager
def span_of(lib: str, site: SocketSite) -> Generator[None, None, None]:
    """While a connection is opened, its span is the current one. It ends with the answer to the handshake."""
    if not has_real_provider():
        yield
        return
    parts = urlsplit(site.url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    attributes: dict[str, Any] = {
        "http.request.method": "GET",
        "url.full": parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        "server.address": parts.hostname or "",
        "server.port": port,
        "network.protocol.name": "websocket",
    }
    span = trace.get_tracer(f"timetracer_otel.plugins.{lib}").start_span(
        "GET", kind=SpanKind.CLIENT, attributes=attributes
    )
    site.span = span
    try:
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield
    except BaseException as error:
        if span.is_recording():
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR, str(error))
            span.end()
        raise


def ended(span: Span, status: int) -> None:
    """The answer to a handshake has come."""
    span.set_attribute("http.response.status_code", status)
    if status >= _ERRORS:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
    span.end()
