"""Messages of Kafka in the form of requests, and the consumers that take them from ``timetracer-otel verify``.

What is Kafka's own stands in the first header lines of a message, in a fixed order. The headers of the app follow.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.current import OUTSIDE_JOBS, SESSION_KEY
from timetracer_otel.incoming.job_scope import as_json
from timetracer_otel.incoming.messages import IncomingMessage, header_line, header_value
from timetracer_otel.incoming.verified_jobs import connected, tell

__all__ = ["GivenRecord", "Verified", "kafka_given", "kafka_message"]

_OWN: Final = (
    *("kafka-partition", "kafka-offset", "kafka-timestamp", "kafka-timestamp-type"),
    *("kafka-key", "kafka-value"),
)
_BYTES: Final = "bytes"
_BASE64: Final = "base64"
_MADE: Final = "value"
"""What a deserializer has made, where nothing else is known."""
_NOTHING: Final = "nothing"
_ONE_AT_A_TIME: Final = "the consumer asks for one message at a time, and one call gave {} when this was recorded"
_SECONDS_TO_ASK: Final = 5.0
"""How long a message waits for a consumer of its topic that asks for the first time."""


@dataclass(frozen=True, slots=True)
class GivenRecord:
    """A recorded message that a verification gives again."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: Any
    value: Any
    headers: list[tuple[str, bytes | None]]


def kafka_message(
    framework: str,
    topic: str,
    place: tuple[int, int],
    timestamp: tuple[int, int],
    key: Any,
    headers: Iterable[tuple[str, bytes | None]],
    value: Any,
) -> IncomingMessage:
    """A message that a consumer was given.

    Args:
        framework: The client.
        topic: Its topic.
        place: Its partition and its offset.
        timestamp: In milliseconds since 1970, and of which type it is.
        key: Bytes, or what a deserializer has made of them.
        headers: Names with bytes.
        value: As the key.
    """
    kind, body = _packed_value(value)
    own = (*place, *timestamp, _packed(key), kind)
    lines = [header_line(name, each) for name, each in zip(_OWN, own, strict=True)]
    lines += [header_line(name, _packed(each)) for name, each in headers or ()]
    return IncomingMessage(framework, topic, headers=tuple(lines), body=body)


def _packed_value(value: Any) -> tuple[str, bytes]:
    if value is None:
        return _NOTHING, b""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _BYTES, bytes(value)
    return _MADE, json.dumps(as_json(value)).encode()


def _packed(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return {_MADE: as_json(value)}
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return {_BASE64: base64.b64encode(value).decode()}


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return value[_MADE] if _MADE in value else base64.b64decode(value[_BASE64])
    return value.encode() if isinstance(value, str) else value


def kafka_given(topic: str, headers: Iterable[Iterable[str]], body: str) -> GivenRecord:
    """The message of the header lines and the body that `kafka_message` has made."""
    lines = [(name, header_value(value)) for name, value in headers]
    partition, offset, timestamp, kind, key, made_of = (value for _, value in lines[: len(_OWN)])
    raw = body.encode("latin-1")
    value: Any = {_NOTHING: None, _BYTES: raw}.get(made_of) if made_of != _MADE else json.loads(raw)
    own = [(name, _unpacked(each)) for name, each in lines[len(_OWN) :]]
    return GivenRecord(topic, partition, offset, timestamp, kind, _unpacked(key), value, own)


Given: TypeAlias = list[GivenRecord]
"""What one call gives: one message, or several."""


@dataclass(slots=True, eq=False)
class _Consumer:
    topics: Collection[str] | None
    """None where the app names them by a pattern."""
    coming: queue.SimpleQueue[Given | None] = field(default_factory=queue.SimpleQueue)
    has_one: bool = False

    def takes(self, topics: Iterable[str]) -> bool:
        return self.topics is None or all(each in self.topics for each in topics)


class Verified:
    """The messages that ``timetracer-otel verify`` gives to the consumers of this process. Safe from any thread.

    Args:
        framework: The client.
        again: Makes the messages of what the command has told: the topics, the header lines and the body.
        topics_in: Gives the topics that are named together.
    """

    def __init__(
        self, framework: str, again: Callable[..., Given], topics_in: Callable[[str], Collection[str]]
    ) -> None:
        self._framework = framework
        self._again, self._topics_in = again, topics_in
        self._consumers: dict[int, _Consumer] = {}
        self._asks = threading.Condition()
        self._wire: Any = None

    def next(self, source: str, consumer: Any, topics: Collection[str] | None, *, several: bool) -> Given | None:
        """Wait for what a consumer has next, which is done with what it had before; None at the end.

        Args:
            source: Where the command listens.
            consumer: Who asks.
            topics: Those that it consumes; None where that is not known.
            several: Whether it asks for several messages at once.
        """
        with self._asks:
            found = self._consumers.get(id(consumer))
            if found is None:
                found = self._consumers[id(consumer)] = _Consumer(topics)
            found.topics = topics
            if len(self._consumers) == 1 and not found.has_one and self._wire is None:
                self._wire = ...
                threading.Thread(target=self._give, args=(source,), name="timetracer-verify", daemon=True).start()
            self._asks.notify_all()
        self._tell_done(found)
        while (given := found.coming.get()) is not None and len(given) > 1 and not several:
            tell(self._wire, {"unknown": True, "text": _ONE_AT_A_TIME.format(len(given))})
        found.has_one = given is not None
        return given

    def leaves(self, consumer: Any) -> None:
        """The app closes a consumer: it is done with its last message."""
        found = self._consumers.get(id(consumer))
        if found is not None:
            self._tell_done(found)

    def _tell_done(self, consumer: _Consumer) -> None:
        if consumer.has_one:
            consumer.has_one = False
            tell(self._wire, {"value": None})

    def _give(self, source: str) -> None:
        otel_context.attach(otel_context.set_value(SESSION_KEY, OUTSIDE_JOBS))
        try:
            with connected(source, self._framework) as self._wire:
                for line in self._wire:
                    told = json.loads(line)
                    consumer = self._of(self._topics_in(told["name"]))
                    if consumer is None:
                        tell(self._wire, {"unknown": True})
                    else:
                        consumer.coming.put(self._again(told["name"], **told["kwargs"]))
        except Exception as fault:
            faults.contain(f"{self._framework}.verify", fault)
        finally:
            for each in list(self._consumers.values()):
                each.coming.put(None)

    def _of(self, topics: Collection[str]) -> _Consumer | None:
        def find() -> _Consumer | None:
            return next((each for each in self._consumers.values() if each.takes(topics)), None)

        with self._asks:
            self._asks.wait_for(find, _SECONDS_TO_ASK)
            return find()
