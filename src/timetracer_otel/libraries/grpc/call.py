"""One gRPC call: what is noted of it while it is made, as `flow` wants it stated.

The steps of the app are its messages, and the end of its messages (see `kits.conversation.exchange`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from timetracer_otel.calls.flow import FAULT, Recording, Site
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.constants import CapturePolicy, EventType
from timetracer_otel.libraries.grpc import internals
from timetracer_otel.libraries.grpc.descriptors import types_of
from timetracer_otel.libraries.grpc.internals import LIB
from timetracer_otel.libraries.grpc.secrets import FOUND_BY, TYPES
from timetracer_otel.libraries.grpc.wire import decoded
from timetracer_otel.libraries.kits.conversation import exchange as conversation
from timetracer_otel.libraries.kits.conversation.exchange import Said
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, HeaderMap, header_pairs

__all__ = ["CallSite", "Exchange", "Recorded"]

_HEARTBEATS: Final = frozenset({("google.pubsub.v1.Subscriber", "StreamingPull")})
"""Calls whose client sends empty messages behind its first one, only to keep the call open.

Its thread sends them by the clock: the first one goes out or not, as this thread starts after the call or before.
So they are not noted, and no answer stands behind them.
"""


class Recorded(NamedTuple):
    """What a recording tells of a call."""

    event: DependencyEvent
    sent: list[Any]
    """The messages of the app, as trees."""
    closed: bool
    """Whether the app ended them."""
    greeting: Said | None
    """Header lines."""
    messages: list[Said]
    """The messages of the server, as trees."""
    end: Said | None
    """The status, with its header lines; None where the recording ended before, or the app cancelled the call."""
    until_ms: float
    """When the call ended, or its recording."""


@dataclass(slots=True)
class Exchange(conversation.Exchange):
    """Notes what the two sides of a call say. The server says a greeting (header lines), messages, and a status:
    its code, details, header lines at the end, and an error string.
    """

    where: ClassVar[str] = "grpc.exchange"

    has_heartbeats: bool = False
    """Whether the app sends empty messages that ask for nothing."""
    sent: list[bytes] = field(default_factory=list)
    closed: bool = False
    greeting: Said | None = None
    messages: list[Said] = field(default_factory=list)
    end: Said | None = None
    cancelled: bool = False
    sent_in_part: bool = False
    """Whether a message of the app was not kept."""

    @property
    def steps(self) -> int:
        """How many steps the app has taken: its messages, and their end."""
        return len(self.sent) + self.closed

    def operated(self, operations: Any) -> None:
        """The app's side: the core was given these operations."""
        for operation in operations:
            kind = operation.type()
            if kind == internals.SEND:
                self.sends(operation._message)
            elif kind == internals.CLOSE:
                self.closed = True

    def sends(self, message: bytes | None) -> bool:
        """The app sends a message. Where it could not be made, an asyncio channel sends an empty one.

        Returns:
            Whether it was noted: a heartbeat is not.
        """
        message = message or b""
        if not message and self.has_heartbeats and self.sent:
            return False
        keeps = self.keeps(len(message))
        self.sent_in_part = self.sent_in_part or not keeps
        self.sent.append(message if keeps else b"")
        return True

    def closes(self) -> None:
        """The app sends no more."""
        self.closed = True

    def came(self, event: Any) -> None:
        """The server's side: the core tells that operations have ended."""
        for operation in event.batch_operations:
            kind = operation.type()
            if kind == internals.GREETING:
                self.greets(operation.initial_metadata())
            elif kind == internals.MESSAGE:
                if operation.message() is not None:
                    self.receives(operation.message())
            elif kind == internals.STATUS:
                self.ends(
                    operation.code(), operation.details(), operation.trailing_metadata(), operation.error_string()
                )

    def greets(self, metadata: Any) -> None:
        """The server begins to answer."""
        if self.greeting is None:
            self.greeting = self.said(internals.pairs_of(metadata))
            self._answers(self.greeting)

    def receives(self, message: bytes) -> None:
        """The server sends a message."""
        said = self.said(message if self.keeps(len(message)) else b"")
        if not self.messages and self.greeting is None:
            self._answers(said)
        self.messages.append(said)

    def _answers(self, said: Said) -> None:
        """The server has said its first word: a stream is answered by that, and goes on."""
        if self.recording is not None and self.recording.goes_on:
            self.recording.returned_s = self.began_s + said.at_ms / 1000

    def ends(self, code: int, details: Any, trailing: Any, error: Any) -> None:
        """The call has ended."""
        if self.end is None:
            lines = None if trailing is None else internals.pairs_of(trailing)
            self.end = self.said((code, details, lines, error))
            self.finish()

    def cancels(self) -> None:
        """The app cancels the call."""
        if self.end is None:
            self.cancelled = True


class CallSite(Site):
    """One call, blocking or asyncio.

    Args:
        target: The address of its channel.
        method: ``/service/name``.
        streams: Whether the app sends a stream of messages.
        live: Asks the core for the call.
        metadata: What the app sends before its first message.
    """

    lib = LIB
    may_disown = True
    awaits = False
    """Whether steps are awaited."""

    def __init__(self, target: str, method: Any, streams: bool, live: AppStep | None, metadata: Any = ()) -> None:
        self._host = internals.host_of(target)
        self._service, self._name = internals.method_of(method)
        self._has_heartbeats = (self._service, self._name) in _HEARTBEATS
        self.streams = streams
        self.answers_stream = False
        """Whether the server sends a stream of messages."""
        self.live: Any = live
        self.metadata: Any = metadata
        self.exchange = Exchange(has_heartbeats=self._has_heartbeats)
        self.found_by: int | None = None
        """In a replay: how many messages the call is found by; None for all."""
        self.begins_again = False
        """Whether a replay can make the call for real where it has no answer."""

    def observe(self, session: TraceSession) -> None:
        """Note what is said within the limits of the recording."""
        self.exchange = Exchange(session.limits, has_heartbeats=self._has_heartbeats)

    def call(self) -> Call:
        """The call with the messages of the app, as trees."""
        exchange = self.exchange
        args: dict[str, Any] = {
            "messages": [] if exchange.sent_in_part else [decoded(each) for each in exchange.sent]
        }
        found_by = self._answered_early() if exchange.recording is not None else self.found_by
        if found_by is not None:
            args[FOUND_BY] = found_by
        types = types_of(self._service, self._name)
        if types is not None:
            args[TYPES] = types
        # The folder of a socket differs from machine to machine.
        host = "" if self._host.startswith(("/", "@")) else self._host
        url = f"grpc://{host}/{self._service}"
        return Call(LIB, EventType.CUSTOM, self._name, url, internals.pairs_of(self.metadata), args=args)

    def saying(self, tree: Any) -> dict[str, Any]:
        """One message of the app, as what is compared of it while the call goes on."""
        types = types_of(self._service, self._name)
        return {"messages": [tree], **({} if types is None else {TYPES: types})}

    def _answered_early(self) -> int | None:
        """By how many messages the call is to be found: by at most one where the server spoke before the app had
        sent all of its messages.
        """
        exchange = self.exchange
        said = [each.after for each in (exchange.greeting, *exchange.messages[:1], exchange.end) if each is not None]
        first = min(said, default=exchange.steps)
        return min(first, 1) if self.streams and (first < exchange.steps or not exchange.closed) else None

    def disowns(self, outcome: Any) -> bool:
        """Whether the core made no call. What a server answers is never raised here. Example: a closed channel."""
        return isinstance(outcome, BaseException)

    def returned(self, value: Any, recording: Recording) -> Any:
        """The core gave a call, which is noted while it goes on."""
        exchange = self.exchange
        exchange.recording = recording
        recording.goes_on = self.streams or self.answers_stream
        if exchange.ended_s is not None:
            recording.close(exchange.ended_s)
        return value

    def result(self, recording: Recording) -> EventResult:
        """What the server said, in order."""
        exchange = self.exchange
        config = recording.session.config
        greeting, end = exchange.greeting, exchange.end
        made: dict[str, Any] = {"closed": exchange.closed, "messages": [], "cancelled": exchange.cancelled}
        result = EventResult(reply=made)
        if greeting is not None:
            result.headers = HeaderMap(greeting.what)
            made["greeting"] = [*greeting[:2]]
        if end is not None:
            code, details, trailing, error = end.what
            result.status = code
            if code:
                result.error = f"{internals.code_text(code)}: {details}"
                result.error_type = "grpc:RpcError"
            lines = None if trailing is None else [{name.decode("latin-1"): value} for name, value in trailing]
            made["end"] = [*end[:2], details, lines, error]
        policy = config.store_response_body
        if exchange.faulted:
            recording.not_replayable = FAULT
        elif exchange.too_long:
            recording.not_replayable = f"its messages {config.why_too_long(exchange.size_bytes)}"
        elif policy is CapturePolicy.NEVER or (policy is CapturePolicy.ON_ERROR and not result.status):
            recording.not_replayable = f"its messages were not kept (TIMETRACER_STORE_RES_BODY={policy.value})"
        else:
            made["messages"] = [[each.after, each.at_ms, decoded(each.what)] for each in exchange.messages]
        made["until_ms"] = exchange.until_ms
        return result

    def again(self) -> bool:
        """Whether nothing was sent yet that could not be sent again."""
        return self.begins_again

    def pause(self, seconds: float) -> Any:
        """Nothing: what is said comes at its own time."""
        return _at_once() if self.awaits else None

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Recorded:
        """What the server said, for who gives it to gRPC."""
        reply, args = event.result.reply, event.call.args if event.call is not None else {}
        greeting, end = reply.get("greeting"), reply.get("end")
        status = None
        if end is not None:
            after, at_ms, details, lines, error = end
            trailing = None if lines is None else [pair for line in lines for pair in line.items()]
            status = Said(after, at_ms, (event.result.status or 0, details, trailing, error))
        metadata = list(header_pairs(event.result.headers))
        return Recorded(
            event,
            list(args["messages"]),
            reply["closed"],
            Said(greeting[0], greeting[1], metadata) if greeting is not None else None,
            [Said(after, at_ms, tree) for after, at_ms, tree in reply["messages"]],
            status if not reply["cancelled"] else None,
            reply["until_ms"],
        )


async def _at_once() -> None:
    pass
