"""pamqp's frames as plain values and back, and the place of a socket in a replay.

The only file with private names of aiormq, besides `private_names`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import aiormq.channel
import aiormq.connection
import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

from timetracer_otel.base.notes import noted_of
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.amqp.line import Line
from timetracer_otel.libraries.kits.amqp.said import Said, silent_answer
from timetracer_otel.libraries.kits.amqp.stand_in import refusing_faults

__all__ = [
    "CHANNEL",
    "CONNECTION",
    "ERROR_MODULES",
    "LIB",
    "StandInBroker",
    "Wire",
    "frames_of",
    "is_stand_in",
    "numbered_as_sent",
    "published",
    "said_of",
    "url_of",
    "wire_of",
]

LIB: Final = "aio_pika"
ERROR_MODULES: Final = frozenset({"aio_pika", "aiormq", "pamqp"})
CHANNEL: Final = aiormq.channel.Channel
CONNECTION: Final = aiormq.connection.Connection
_METHODS: Final[dict[str, Any]] = {vars(cls)["name"]: cls for cls in commands.INDEX_MAPPING.values()}
_WITH_CONTENT: Final = (commands.Basic.Deliver, commands.Basic.GetOk, commands.Basic.Return)


@dataclass(slots=True)
class Wire:
    """What is noted of a channel."""

    line: Line = field(default_factory=Line)
    said: Said | None = None
    """A method of which not all of the message has come."""
    missing: int = 0
    pump: asyncio.Task[None] | None = None
    unsent: int = 0
    """How many messages replays have answered since the last one that went out for real."""
    coming: list[Any] = field(default_factory=list)
    """In a replay: frames that have no room in the channel's queue yet."""

    def received(self, received: Any) -> Said | None:
        """A frame has come; gives what was said where it is the last one of that."""
        if isinstance(received, ContentHeader):
            if self.said is None:
                return None
            self.said = self.said._replace(properties=_set_properties(received.properties), body=b"")
            self.missing = received.body_size or 0
        elif isinstance(received, ContentBody):
            if self.said is None:
                return None
            self.said = self.said._replace(body=(self.said.body or b"") + received.value)
            self.missing -= len(received.value)
        elif isinstance(received, _WITH_CONTENT):
            self.said, self.missing = said_of(received), 1
            return None
        else:
            return said_of(received)
        if self.missing > 0:
            return None
        said, self.said = self.said, None
        return said


wire_of: Final[Callable[[Any], Wire]] = partial(noted_of, make=Wire)
"""What is noted of a channel."""


def url_of(connection: Any) -> str:
    """The broker of a connection, and its virtual host."""
    url = connection.url
    return f"{url.scheme}://{url.host}:{url.port}/{quote(connection.vhost, safe='')}"


def said_of(method: Any) -> Said:
    """A method as plain values."""
    return Said(method.name, {name: value for name, value in method if name != "ticket"})


def published(body: bytes, given: Mapping[str, Any]) -> Said:
    """A message that an app publishes, with the arguments that it gives to `basic_publish`."""
    properties = given.get("properties")
    fields = {name: given.get(name, "") for name in ("exchange", "routing_key")}
    return Said(
        "Basic.Publish",
        {**fields, "mandatory": given.get("mandatory", False)},
        _set_properties(properties) if properties is not None else {"delivery_mode": 1},
        bytes(body),
    )


def _set_properties(properties: Any) -> dict[str, Any]:
    return {
        "type" if name == "message_type" else name: value for name, value in properties if value not in (None, "")
    }


def frames_of(said: Said) -> Iterator[Any]:
    """What was said, in frames."""
    yield _METHODS[said.name](**said.fields)
    if said.properties is not None:
        body = said.body or b""
        named = {"message_type" if name == "type" else name: value for name, value in said.properties.items()}
        yield ContentHeader(body_size=len(body), properties=commands.Basic.Properties(**named))
        if body:
            yield ContentBody(body)


class StandInBroker:
    """The place of a broker in a replay, which knows what is about the connection alone.

    It stands in the place of a factory of transports, and of what that gives.

    Args:
        connection: What it is for.
        server_properties: What the recorded broker said of itself.
        tune: The limits that it set.
    """

    def __init__(self, connection: Any, server_properties: dict[str, Any], tune: dict[str, Any]) -> None:
        mechanism = connection.url.query.get("auth", "plain").upper()
        self._start = Said(
            "Connection.Start", {"server_properties": server_properties, "mechanisms": mechanism, "locales": "en_US"}
        )
        self._tune = Said("Connection.Tune", tune)
        self._reader: Any = None
        self._buffer = b""
        self._closing = False
        self.transport: Any = self

    @refusing_faults(LIB, is_awaited=True)
    def create(self, url: Any, **_: object) -> tuple[asyncio.StreamReader, Any]:
        """A connection to it."""
        self._reader = asyncio.StreamReader()
        self._buffer, self._closing = b"", False
        return self._reader, self

    @refusing_faults(LIB)
    def write(self, data: bytes) -> None:
        """Answer what the client sends.

        Raises:
            ReplayMismatchError: Only a broker could answer.
        """
        self._buffer += data
        while self._buffer:
            consumed, channel, received = pamqp.frame.unmarshal(self._buffer)
            self._buffer = self._buffer[consumed:]
            if isinstance(received, ProtocolHeader):
                self._say(0, self._start)
            elif isinstance(received, Heartbeat):
                self._reader.feed_data(pamqp.frame.marshal(received, 0))
            elif not isinstance(received, (ContentHeader, ContentBody)):
                self._answer(channel, said_of(received))

    def _answer(self, channel: int, said: Said) -> None:
        if said.name == "Connection.StartOk":
            self._say(0, self._tune)
        elif said.name != "Connection.TuneOk":
            try:
                answer = silent_answer(said.name, said.fields)
            except KeyError:
                raise ReplayMismatchError(
                    f"{said.name} is sent over a connection of a replay, which has no broker. Open a connection "
                    "where no replay is current."
                ) from None
            if answer is not None:
                self._say(channel, answer)

    def _say(self, channel: int, said: Said) -> None:
        for each in frames_of(said):
            self._reader.feed_data(pamqp.frame.marshal(each, channel))

    @refusing_faults(LIB, is_awaited=True)
    def drain(self) -> None:
        """Everything has gone out."""

    @refusing_faults(LIB)
    def is_closing(self) -> bool:
        """Whether the client has closed the connection."""
        return self._closing

    @refusing_faults(LIB)
    def can_write_eof(self) -> bool:
        """The client ends by closing."""
        return False

    @refusing_faults(LIB)
    def close(self) -> None:
        """The client closes the connection."""
        if not self._closing:
            self._closing = True
            self._reader.feed_eof()

    abort = close

    @refusing_faults(LIB, is_awaited=True)
    def wait_closed(self) -> None:
        """It is closed."""


def numbered_as_sent(channel: Any, frames: Any) -> None:
    """Before frames go out for real: where they are a message, it gets the number that the broker will give it.

    The broker has not seen what replays have answered. Only where a connection of before a replay is used behind it.
    """
    wire = wire_of(channel)
    if not wire.unsent or frames.payload[7:11] != _PUBLISH:
        return
    number = channel.delivery_tag
    right = number - wire.unsent
    wire.unsent = 0
    if number in channel.confirmations and right not in channel.confirmations:
        channel.confirmations[right] = channel.confirmations.pop(number)
        channel.delivery_tag = right
        for name, given in channel.message_id_delivery_tag.items():
            if given == number:
                channel.message_id_delivery_tag[name] = right


_PUBLISH: Final = commands.Basic.Publish.index.to_bytes(4, "big")


def is_stand_in(channel: Any) -> bool:
    """Whether a channel is of a connection of a replay."""
    return isinstance(channel.connection._transport_factory, StandInBroker)
