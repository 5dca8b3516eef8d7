"""Messages that a consumer is given: each has a session of its own, with the message as its request.

Where a client calls a function of the app for each message, the session lasts as long as that call. Where the app
asks for the next message, in a loop, it lasts from the message that it was given until it asks again, or until the
consumer is closed (`Handling`). A session that the app has set, or a request or job whose code consumes, takes the
messages in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import current_context
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.noting import looked
from timetracer_otel.constants import MESSAGE
from timetracer_otel.current import HANDING_OUT, SESSION_KEY, context_with, is_decided
from timetracer_otel.incoming.guarded import around, around_async
from timetracer_otel.incoming.job_scope import IncomingJob, JobScope, as_json
from timetracer_otel.incoming.jobs import in_job, is_outside_jobs, with_session
from timetracer_otel.incoming.receiver import receiver
from timetracer_otel.types import BodySnapshot, HeaderMap, HeaderPairs, RequestSnapshot

__all__ = [
    "GivenMessage",
    "Handling",
    "IncomingMessage",
    "amqp_given",
    "amqp_message",
    "begins_root",
    "header_line",
    "header_value",
    "in_message",
    "in_task",
    "is_handing_out",
    "while_handing_out",
]

_AS_JSON = "json:"
"""What a header line begins with that is no text."""


@dataclass(frozen=True, slots=True)
class IncomingMessage(IncomingJob):
    """A message as a consumer was given it, not redacted. Its name is that of the queue or topic."""

    headers: HeaderPairs = ()
    body: bytes = b""

    def request(self) -> RequestSnapshot:
        """The message in the form of a request."""
        body = BodySnapshot(captured=True, encoding="bytes", data=self.body, size_bytes=len(self.body))
        return RequestSnapshot(method=MESSAGE, path=self.name, headers=HeaderMap(self.headers), body=body)


def header_line(name: str, value: Any) -> tuple[bytes, bytes]:
    """A property or header of a message as a header line. What is no text is written as JSON."""
    if type(value) is int or value is None:
        # Most lines of Kafka's are numbers, and a batch has thousands.
        value = f"{_AS_JSON}{'null' if value is None else value}"
    elif type(value) is not str or value.startswith(_AS_JSON):
        value = _AS_JSON + json.dumps(as_json(value))
    return name.encode("latin-1", "backslashreplace"), value.encode("utf-8", "backslashreplace")


def header_value(text: str) -> Any:
    """The value of such a line."""
    text = text.encode("latin-1").decode("utf-8", "replace")
    return json.loads(text[len(_AS_JSON) :]) if text.startswith(_AS_JSON) else text


def is_handing_out(context: otel_context.Context | None = None) -> bool:
    """Whether code that runs in a context (None: the current one) hands a message out to a loop of the app."""
    return (current_context() if context is None else context).get(SESSION_KEY) is HANDING_OUT


def while_handing_out(function: Function) -> Function:
    """A function of a client that hands messages out to a loop of the app."""

    def begin(_: None, *args: Any, **kwargs: Any) -> Flow | None:
        return with_session(HANDING_OUT, AppStep(function, *args, **kwargs)) if begins_root() else None

    return (around_async if iscoroutinefunction(function) else around)("messages", function, begin)


def begins_root() -> bool:
    """Whether a message that a consumer is given now gets a session of its own."""
    return receiver().takes_requests and (is_outside_jobs() or not is_decided())


def in_message(function: Function, message_of: Callable[..., IncomingMessage]) -> Function:
    """A function of the app that a client calls for each message, in the session of the message.

    Args:
        function: The function, plain or a coroutine function.
        message_of: Makes the message of the arguments that the function is called with.
    """
    return in_job(function, message_of, begins_root)


def in_task(function: Function, wrap: Callable[[Function], Function]) -> Function:
    """A function that a client calls for each message in a task of its own. What the task raises is told to nobody.

    Where a fault of ours is in the way of a message in a replay, an error would be raised there, and the app would
    wait without end. So the function is called all the same, in a session that refuses each of its calls.

    Args:
        function: The function: plain, or a coroutine function.
        wrap: Makes the function that is called, such as one that begins the session of the message.
    """
    refusing = receiver().refusing() if begins_root() else None

    async def tasked(*args: Any, **kwargs: Any) -> Any:
        calls: list[object] = []

        async def bare(*given: Any, **named: Any) -> Any:
            calls.append(function)
            value = function(*given, **named)
            return await value if hasattr(value, "__await__") else value

        try:
            return await wrap(bare)(*args, **kwargs)
        except Exception:
            if calls:
                raise
        if refusing is None:
            return await bare(*args, **kwargs)
        token = otel_context.attach(otel_context.set_value(SESSION_KEY, refusing))
        try:
            return await bare(*args, **kwargs)
        finally:
            otel_context.detach(token)

    return tasked


class Handling:
    """The message that a loop of the app has by now, and its session. A consumer has one such object.

    Not safe from several threads, as a consumer is not.
    """

    __slots__ = ("_before", "_is_set", "_scope", "on_done")

    def __init__(self) -> None:
        self.on_done: Callable[[BaseException | None], object] | None = None
        """Told that the loop is done with its message, and what has ended it."""
        self._scope: JobScope | None = None
        self._before: object = None
        self._is_set = False

    def given(self, message_of: Callable[[], IncomingJob | None]) -> None:
        """The loop is given a message, or several at once.

        A fault of ours leaves them in the session that is current anyway. In a replay that is the session of the
        process, whose recording could answer their calls. So they are given a session that refuses each call.

        Args:
            message_of: Makes the request; None where the loop is given nothing.
        """
        try:
            if not begins_root():
                return
            message = message_of()
            scope = None if message is None else receiver().job_began(message)
            if scope is not None:
                self._scope = scope
                self._set(context_with(scope.session))
        except Exception as fault:
            faults.contain("messages.given", fault)
            looked("messages.refused", self._refuse)

    def _refuse(self) -> None:
        refusing = receiver().refusing()
        if refusing is not None:
            self._set(otel_context.set_value(SESSION_KEY, refusing))

    def _set(self, context: otel_context.Context) -> None:
        if not self._is_set:
            self._before = current_context().get(SESSION_KEY)
        self._is_set = True
        otel_context.attach(context)

    def done(self, error: BaseException | None = None) -> None:
        """The loop asks for the next message, or its consumer is closed; harmless without a message.

        Args:
            error: What has ended the loop.
        """
        scope, self._scope = self._scope, None
        if scope is None and not self._is_set:
            return
        try:
            if scope is not None and error is not None:
                scope.failed_with(error)
            if self._is_set:
                otel_context.attach(otel_context.set_value(SESSION_KEY, self._before))
                self._before, self._is_set = None, False
        except Exception as fault:
            faults.contain("messages.done", fault)
        finally:
            if scope is not None:
                scope.end()
                if self.on_done is not None:
                    self.on_done(error)


def amqp_message(
    framework: str, queue: str, exchange: str, routing_key: str, properties: Mapping[str, Any], body: bytes
) -> IncomingMessage:
    """A message of AMQP 0-9-1.

    Args:
        framework: The client.
        queue: That its consumer named. A name that client or broker has made up changes from run to run: the exchange
            and the routing key stand in its place.
        exchange: Where it was published.
        routing_key: With which key.
        properties: Those that are set, as the specification names them.
        body: Its body.
    """
    made_up = not queue or queue.startswith(("amq.", "amq_"))
    lines = [header_line(name.replace("_", "-"), value) for name, value in properties.items() if name != "headers"]
    lines += [header_line(str(name), value) for name, value in (properties.get("headers") or {}).items()]
    lines += [header_line(_EXCHANGE, exchange), header_line(_ROUTING_KEY, routing_key)]
    name = f"{exchange}/{routing_key}" if made_up else queue
    return IncomingMessage(framework, name, headers=tuple(lines), body=bytes(body))


_EXCHANGE = "amqp-exchange"
_ROUTING_KEY = "amqp-routing-key"
_PROPERTIES = frozenset(
    {
        *(
            "content-type",
            "content-encoding",
            "delivery-mode",
            "priority",
            "correlation-id",
            "reply-to",
            "expiration",
        ),
        *("message-id", "timestamp", "type", "user-id", "app-id", "cluster-id"),
    }
)


@dataclass(frozen=True, slots=True)
class GivenMessage:
    """A recorded message of AMQP that a verification gives again."""

    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: bytes


def amqp_given(headers: Iterable[Iterable[str]], body: str) -> GivenMessage:
    """The message of the header lines and the body that `amqp_message` has made. A time is no time any more."""
    lines = [(name, header_value(value)) for name, value in headers]
    found = dict(lines)
    properties = {
        name.replace("-", "_"): value
        for name, value in lines
        if name in _PROPERTIES and (name != "timestamp" or isinstance(value, int))
    }
    own = {name: value for name, value in lines if name not in _PROPERTIES and name not in (_EXCHANGE, _ROUTING_KEY)}
    if own:
        properties["headers"] = own
    return GivenMessage(found[_EXCHANGE], found[_ROUTING_KEY], properties, body.encode("latin-1"))
