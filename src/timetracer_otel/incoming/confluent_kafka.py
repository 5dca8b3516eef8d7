"""confluent-kafka: the methods by which a loop of the app asks for messages. Their class is written in C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from functools import partial
from types import ModuleType
from typing import Any

from timetracer_otel.base.c_classes import InPlace, can_be_changed
from timetracer_otel.base.patching import Function, Seams, Undoable
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.kafka_messages import GivenRecord, Verified, kafka_message
from timetracer_otel.incoming.messages import Handling, IncomingMessage, begins_root

__all__ = ["SEAMS"]

_verified = Verified("confluent_kafka")
_handlings: dict[int, Handling] = {}
"""By identity of the consumer, until that is closed. Objects in C have no attributes of their own."""
_topics: dict[int, Collection[str]] = {}


def _done(consumer: Any, *_: Any) -> None:
    found = _handlings.pop(id(consumer), None)
    if found is not None:
        found.done()


def _given(consumer: Any, message: Any) -> None:
    if message is not None and message.error() is None:
        handling = _handlings[id(consumer)] = Handling()
        handling.given(partial(_message, message))


def _message(message: Any) -> IncomingMessage:
    kind, timestamp = message.timestamp()
    place = (message.partition(), message.offset())
    headers = message.headers() or ()
    topic, key, value = message.topic(), message.key(), message.value()
    return kafka_message("confluent_kafka", topic, place, (timestamp, kind), key, headers, value)


def _made(given: GivenRecord) -> Any:
    """A message of confluent-kafka's."""
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


def _asking(several: bool, original: Function) -> Function:
    """A loop asks for a message, or for several. If it gets one, that has a session of its own."""

    def begin(_: None, consumer: Any, *args: Any, **kwargs: Any) -> Flow | None:
        looked("confluent_kafka.done", _done, consumer)
        if not begins_root():
            return None
        source = job_source()
        if source is None:
            return _handed(several, consumer, AppStep(original, consumer, *args, **kwargs))
        return _from_verify(several, source, consumer, AppStep(original, consumer, *args, **kwargs))

    return around("confluent_kafka", original, begin)


def _handed(several: bool, consumer: Any, step: AppStep) -> Flow:
    found = yield step
    if not several:
        _given(consumer, found)
    elif len(found) == 1:
        _given(consumer, found[0])
    return found


def _from_verify(several: bool, source: str, consumer: Any, step: AppStep) -> Flow:
    given = yield OurStep(_verified.next, source, consumer, _topics.get(id(consumer)))
    if given is None:
        # There are no more messages. The app asks on and on, as of an empty topic.
        return (yield step)
    message = _made(given)
    _given(consumer, message)
    return [message] if several else message


def _subscribing(original: Function) -> Function:
    return noting("confluent_kafka", original, before=_subscribed)


def _subscribed(consumer: Any, topics: Any = (), *_: Any) -> None:
    named = [getattr(each, "topic", each) for each in topics]
    if any(name.startswith("^") for name in named):
        _topics.pop(id(consumer), None)
    else:
        _topics[id(consumer)] = named


def _closing(original: Function) -> Function:
    """The app closes a consumer."""
    return noting("confluent_kafka", original, before=_closed)


def _closed(consumer: Any, *_: Any) -> None:
    _done(consumer)
    _verified.leaves(consumer)
    _topics.pop(id(consumer), None)


_WRAPS: dict[str, Callable[[Function], Function]] = {
    "poll": partial(_asking, False),
    "consume": partial(_asking, True),
    "subscribe": _subscribing,
    "assign": _subscribing,
    "close": _closing,
}


def _patches(module: ModuleType) -> list[Undoable]:
    consumer: Any = module.Consumer
    return [InPlace(consumer, name, wrap) for name, wrap in _WRAPS.items()] if can_be_changed(consumer) else []


SEAMS = (Seams("confluent_kafka", ["confluent_kafka.cimpl"], _patches),)
