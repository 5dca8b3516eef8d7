"""pika's frames as plain values and back, and the place of a socket in a replay.

The only file with its private names, besides `private_names`.
"""

from __future__ import annotations

import builtins
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import pika.channel
import pika.compat
import pika.connection
import pika.exceptions
from pika import frame, spec
from pika.adapters import blocking_connection
from pika.adapters.utils import connection_workflow, nbio_interface

from timetracer_otel.base.notes import noted_of
from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.amqp.line import Line
from timetracer_otel.libraries.kits.amqp.said import Said, silent_answer
from timetracer_otel.libraries.kits.amqp.stand_in import refused, refusing_faults

__all__ = [
    "CHANNELS",
    "CONNECTION",
    "ERROR_MODULES",
    "LIB",
    "PAIR",
    "WORKFLOW",
    "StandIn",
    "Wire",
    "connection_in",
    "failed_with",
    "failure_of",
    "opened",
    "said_of",
    "say",
    "url_of",
    "wire_of",
]

LIB: Final = "pika"
ERROR_MODULES: Final = frozenset({"pika"})
CONNECTION: Final = pika.connection.Connection
WORKFLOW: Final = connection_workflow.AMQPConnectionWorkflow
CHANNELS: Final = (blocking_connection.BlockingChannel, pika.channel.Channel)
"""What has the consumers of an app: the blocking adapter's channel, and that of all others, beneath it."""
_LONG: Final = pika.compat.long
PAIR: Final = (
    "nonblocking_socketpair" if hasattr(pika.compat, "nonblocking_socketpair") else "_nonblocking_socketpair"
)
"""The function of `pika.compat` that makes a loop's pair of sockets. It was private before pika 1.4."""
_METHODS: Final[dict[str, Any]] = {cls.NAME: cls for cls in vars(spec)["methods"].values()}


@dataclass(slots=True)
class _Content:
    """A message of which not all frames have come."""

    said: Said
    properties: dict[str, Any] | None = None
    missing: int = 0
    body: bytes = b""


@dataclass(slots=True)
class Wire:
    """What is noted of a connection."""

    lines: dict[int, Line] = field(default_factory=dict)
    contents: dict[int, _Content] = field(default_factory=dict)
    greeting: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The fields of ``Connection.Start`` and ``Connection.Tune``."""
    coming: deque[Any] = field(default_factory=deque)
    """In a replay: frames that the client gets next."""
    stand_in: bool = False

    def line(self, connection: Any, channel: int) -> Line:
        """What is noted of a channel."""
        found = self.lines.get(channel)
        if found is None:
            # Of a channel that was opened before the plugin was enabled: it has a callback for confirmations.
            confirms = connection.callbacks.pending(channel, spec.Basic.Ack) is not None
            found = self.lines[channel] = Line(confirms=confirms)
        return found

    def received(self, received: Any) -> tuple[int, Said] | None:
        """A frame has come; gives what was said where it is the last one of that, and on which channel."""
        channel, kind = received.channel_number, type(received)
        if kind is frame.Method:
            said = said_of(received.method, None)
            if channel and spec.has_content(received.method.INDEX):
                self.contents[channel] = _Content(said)
                return None
            return channel, said
        content = self.contents.get(channel)
        if content is None:
            return None
        if kind is frame.Header:
            content.properties, content.missing = _set_properties(received.properties), received.body_size
        elif kind is frame.Body:
            content.body += received.fragment
        if content.properties is None or len(content.body) < content.missing:
            return None
        del self.contents[channel]
        return channel, content.said._replace(properties=content.properties, body=content.body)


wire_of: Final[Callable[[Any], Wire]] = partial(noted_of, make=Wire)
"""What is noted of a connection."""


def url_of(parameters: Any) -> str:
    """The broker and the virtual host that parameters name."""
    scheme = "amqps" if parameters.ssl_options is not None else "amqp"
    return f"{scheme}://{parameters.host}:{parameters.port}/{quote(parameters.virtual_host, safe='')}"


def said_of(method: Any, content: tuple[Any, bytes] | None) -> Said:
    """A method, and its message."""
    fields = {name: _plain(value) for name, value in vars(method).items() if name != "ticket"}
    if content is None:
        return Said(method.NAME, fields)
    properties, body = content
    return Said(method.NAME, fields, _set_properties(properties), bytes(body))


def _set_properties(properties: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(properties).items() if value is not None}


def _plain(value: Any) -> Any:
    """A value of a table. pika has a class of its own for integers of 64 bits."""
    if type(value) is dict:
        return {name: _plain(each) for name, each in value.items()}
    if type(value) is list:
        return [*map(_plain, value)]
    return {DRIVER_TYPE: "long", DRIVER_VALUE: int(value)} if type(value) is _LONG else value


def _restored(value: Any) -> Any:
    """The same the other way round."""
    if type(value) is dict:
        if DRIVER_TYPE in value:
            return _LONG(value[DRIVER_VALUE])
        return {name: _restored(each) for name, each in value.items()}
    return [*map(_restored, value)] if type(value) is list else value


def _frames(channel: int, said: Said) -> Iterator[Any]:
    yield frame.Method(channel, _METHODS[said.name](**_restored(said.fields)))
    if said.properties is not None:
        body = said.body or b""
        yield frame.Header(channel, len(body), spec.BasicProperties(**_restored(said.properties)))
        if body:
            yield frame.Body(channel, body)


def say(connection: Any, channel: int, said: Said) -> None:
    """Let a connection receive something, when its loop runs next."""
    coming = wire_of(connection).coming
    for each in _frames(channel, said):
        coming.append(each)
        # One frame for each time: who closes the connection gets no more of them.
        connection._adapter_call_later(0, partial(_process_next, connection))


def _process_next(connection: Any) -> None:
    """A guard: what is ours runs in a `try`, and what the frame brings about is the client's."""
    try:
        received = _next_frame(connection)
    except Exception as fault:
        raise refused(LIB, fault) from fault
    if received is not None:
        connection._process_frame(received)


def _next_frame(connection: Any) -> Any:
    coming = wire_of(connection).coming
    return coming.popleft() if coming else None


class StandIn(nbio_interface.AbstractStreamTransport):  # type: ignore[misc]
    """The place of a socket in a replay: a broker that knows what is about the connection alone.

    Args:
        connection: What it belongs to.
        start: Fields of the recorded ``Connection.Start``.
        tune: Those of ``Connection.Tune``.
    """

    def __init__(self, connection: Any, start: dict[str, Any], tune: dict[str, Any]) -> None:
        self._connection = connection
        self._start, self._tune = start, tune
        self._buffer = b""
        self._aborted = False
        wire_of(connection).stand_in = True

    @refusing_faults(LIB)
    def write(self, data: bytes) -> None:
        """Answer what the client sends.

        Raises:
            ReplayMismatchError: Only a broker could answer.
        """
        self._buffer += data
        while self._buffer:
            consumed, received = frame.decode_frame(self._buffer)
            if received is None:
                return
            self._buffer = self._buffer[consumed:]
            self._answer(received)

    def _answer(self, received: Any) -> None:
        connection = self._connection
        if isinstance(received, frame.ProtocolHeader):
            say(connection, 0, Said("Connection.Start", self._start))
        elif isinstance(received, frame.Heartbeat):
            wire_of(connection).coming.append(received)
            connection._adapter_call_later(0, partial(_process_next, connection))
        elif isinstance(received, frame.Method):
            said = said_of(received.method, None)
            if said.name == "Connection.StartOk":
                say(connection, 0, Said("Connection.Tune", self._tune))
            elif said.name != "Connection.TuneOk":
                try:
                    answer = silent_answer(said.name, said.fields)
                except KeyError:
                    raise ReplayMismatchError(
                        f"{said.name} is sent over a connection of a replay, which has no broker. Open a connection "
                        "where no replay is current."
                    ) from None
                if answer is not None:
                    say(connection, received.channel_number, answer)

    @refusing_faults(LIB)
    def abort(self) -> None:
        """Close the connection."""
        if not self._aborted:
            self._aborted = True
            self._connection._adapter_call_later(0, partial(self._connection._proto_connection_lost, None))

    @refusing_faults(LIB)
    def get_protocol(self) -> Any:
        """What it belongs to."""
        return self._connection

    @refusing_faults(LIB)
    def get_write_buffer_size(self) -> int:
        """Nothing waits to be sent."""
        return 0


def connection_in(outcome: Any) -> Any:
    """The connection that an attempt to connect ended in; None where it failed."""
    return None if isinstance(outcome, BaseException) else getattr(outcome, "conn", outcome)


def opened(factory: Any, parameters: Any, greeting: tuple[dict[str, Any], dict[str, Any]], on_done: Any) -> None:
    """Make a connection of a replay, as a connector does, and tell when it is open."""
    shim = factory()._conn_factory(parameters)
    connection = shim.conn
    connection.add_on_open_callback(on_done)
    shim.connection_made(StandIn(connection, *greeting))


def failure_of(error: BaseException) -> Any:
    """An exception of a failed attempt as plain values, with the exceptions that it is about.

    Raises:
        TypeError: It is of a class of the app's.
    """
    kind = type(error)
    if kind.__module__.partition(".")[0] not in _MAY_FAIL:
        raise TypeError(f"an exception of {kind.__module__}")
    about = getattr(error, "exceptions", None)
    if about is None and isinstance(error, connection_workflow.AMQPConnectorPhaseErrorBase):
        about = [error.exception]
    args = [failure_of(each) if isinstance(each, BaseException) else each for each in error.args]
    return [f"{kind.__module__}:{kind.__qualname__}", args, None if about is None else [*map(failure_of, about)]]


_MAY_FAIL: Final = frozenset({"pika", "builtins", "socket", "ssl"})


def failed_with(failure: Any) -> BaseException:
    """The exception again.

    Raises:
        ValueError: A cassette names a class that is no such exception.
    """
    path, args, about = failure
    module, _, name = path.partition(":")
    kind = getattr(_MODULES.get(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise ValueError(f"{path!r} is no exception of pika's")
    made = [failed_with(each) if type(each) is list else each for each in args]
    if about is None:
        return kind(*made)
    causes = [failed_with(each) for each in about]
    return kind(causes, *made) if kind is connection_workflow.AMQPConnectionWorkflowFailed else kind(*causes, *made)


_MODULES: Final[dict[str, Any]] = {
    "builtins": builtins,
    "pika.adapters.utils.connection_workflow": connection_workflow,
    "pika.exceptions": pika.exceptions,
    "socket": socket,
    "ssl": ssl,
}
