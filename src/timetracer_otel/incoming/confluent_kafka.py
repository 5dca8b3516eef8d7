"""confluent-kafka: the methods by which a loop of the app asks for messages. Their class is written in C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.c_classes import InPlace, can_be_changed
from timetracer_otel.base.patching import Function, Seams, Undoable
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.calls.noting import noting
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.kafka_loops import Loops
from timetracer_otel.incoming.kafka_messages import GivenRecord, kafka_message
from timetracer_otel.incoming.messages import Handling, IncomingMessage

__all__ = ["SEAMS"]


class _Loops(Loops):
    """What is noted of consumers stands by their identity, until they are closed: objects in C have no attributes."""

    def __init__(self) -> None:
        super().__init__("confluent_kafka", around)
        self._handlings: dict[int, Handling] = {}
        self._topics: dict[int, Collection[str]] = {}

    def topics_of(self, consumer: Any) -> Collection[str] | None:
        return self._topics.get(id(consumer))

    def subscribed(self, consumer: Any, topics: Any = (), *_: Any) -> None:
        """The app tells a consumer its topics."""
        named = [getattr(each, "topic", each) for each in topics]
        if any(name.startswith("^") for name in named):
            self._topics.pop(id(consumer), None)
        else:
            self._topics[id(consumer)] = named

    def made(self, given: GivenRecord) -> Any:
        cimpl: Any = sys.modules["confluent_kafka.cimpl"]
        return cimpl.Message(
            topic=given.topic,
            partition=given.partition,
            offset=given.offset,
            key=given.key,
            value=given.value,
            headers=given.headers or None,
            timestamp=(given.timestamp_type, given.timestamp),
        )

    def by_partition(self, records: Sequence[Any]) -> Any:
        return [*records]

    def ends(self, several: bool, step: AppStep) -> AppStep:
        # There are no more messages. The app asks on and on, as of an empty topic.
        return step

    def handling(self, consumer: Any) -> Handling:
        return self._handlings.setdefault(id(consumer), Handling())

    def is_without_broker(self, consumer: Any) -> bool:
        # It is asked for real, and has nothing.
        return False

    def message(self, record: Any) -> IncomingMessage:
        kind, timestamp = record.timestamp()
        place, headers = (record.partition(), record.offset()), record.headers() or ()
        topic, key, value = record.topic(), record.key(), record.value()
        return kafka_message("confluent_kafka", topic, place, (timestamp, kind), key, headers, value)

    def records_in(self, found: Any, several: bool) -> list[Any]:
        return [each for each in (found if several else [found]) if each is not None and each.error() is None]

    def left(self, consumer: Any, *_: Any) -> None:
        super().left(consumer)
        self._topics.pop(id(consumer), None)
        self._handlings.pop(id(consumer), None)


_loops = _Loops()


def _subscribing(original: Function) -> Function:
    return noting("confluent_kafka", original, before=_loops.subscribed)


def _closing(original: Function) -> Function:
    """The app closes a consumer."""
    return noting("confluent_kafka", original, before=_loops.left)


_WRAPS: dict[str, Callable[[Function], Function]] = {
    "poll": partial(_loops.asking, False),
    "consume": partial(_loops.asking, True),
    "subscribe": _subscribing,
    "assign": _subscribing,
    "close": _closing,
}


def _patches(module: ModuleType) -> list[Undoable]:
    consumer: Any = module.Consumer
    return [InPlace(consumer, name, wrap) for name, wrap in _WRAPS.items()] if can_be_changed(consumer) else []


SEAMS = (Seams("confluent_kafka", ["confluent_kafka.cimpl"], _patches),)
