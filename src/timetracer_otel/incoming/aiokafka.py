"""aiokafka: the methods by which a loop of the app asks for messages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep, only
from timetracer_otel.calls.noting import looked, noting_async
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around_async
from timetracer_otel.incoming.kafka_messages import GivenRecord, Verified, kafka_message
from timetracer_otel.incoming.messages import Handling, IncomingMessage, begins_root
from timetracer_otel.incoming.seams import on
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER

__all__ = ["SEAMS"]

_HANDLING = "_timetracer_handling"
_verified = Verified("aiokafka")


def _handling(consumer: Any) -> Handling:
    kept: dict[str, Any] = vars(consumer)
    found: Handling | None = kept.get(_HANDLING)
    if found is None:
        found = kept[_HANDLING] = Handling()
    return found


def _done(consumer: Any, *_: Any) -> None:
    _handling(consumer).done()


def _message(record: Any) -> IncomingMessage:
    place, timestamp = (record.partition, record.offset), (record.timestamp, record.timestamp_type)
    return kafka_message("aiokafka", record.topic, place, timestamp, record.key, record.headers, record.value)


def _topics(consumer: Any) -> Collection[str] | None:
    subscription = consumer._subscription
    pattern = getattr(subscription, "subscribed_pattern", None)
    topics: Collection[str] = subscription.topics
    return None if pattern is not None or not topics else topics


def _made(given: GivenRecord) -> Any:
    """A message of aiokafka's."""
    structs: Any = sys.modules["aiokafka.structs"]
    sizes = [len(each) if isinstance(each, bytes) else -1 for each in (given.key, given.value)]
    return structs.ConsumerRecord(
        given.topic,
        given.partition,
        given.offset,
        given.timestamp,
        given.timestamp_type,
        given.key,
        given.value,
        None,
        *sizes,
        tuple(given.headers),
    )


def _asking(original: Function, handed: Callable[..., Flow], from_verify: Callable[..., Flow]) -> Function:
    """A loop asks for what the consumer has next.

    Args:
        original: The method of the consumer.
        handed: What is done with what the library gives, given the consumer and that step.
        from_verify: Gives the next message of a verification, given where that is told and the consumer.
    """

    def begin(_: None, consumer: Any, *args: Any, **kwargs: Any) -> Flow | None:
        looked("aiokafka.done", _done, consumer)
        if not begins_root():
            return None
        source = job_source()
        if source is not None:
            return from_verify(source, consumer)
        if vars(consumer).get(WITHOUT_BROKER):
            return only(OurStep(asyncio.Event().wait))
        return handed(consumer, AppStep(original, consumer, *args, **kwargs))

    return around_async("aiokafka", original, begin)


def _getting(original: Function) -> Function:
    """A loop asks for one message."""
    return _asking(original, _handed, _from_verify)


def _handed(consumer: Any, step: AppStep) -> Flow:
    record = yield step
    _handling(consumer).given(partial(_message, record))
    return record


def _from_verify(source: str, consumer: Any) -> Flow:
    given = yield OurStep(asyncio.to_thread, _verified.next, source, consumer, _topics(consumer))
    if given is None:
        errors: Any = sys.modules["aiokafka.errors"]
        # As where the consumer is stopped: a loop ends by it.
        return (yield AppStep(_raise, errors.ConsumerStoppedError()))
    record = _made(given)
    _handling(consumer).given(partial(_message, record))
    return record


async def _raise(error: Exception) -> None:
    raise error


def _getting_many(original: Function) -> Function:
    """A loop asks for several messages. If it gets one, that has a session of its own."""
    return _asking(original, _many_handed, _many_from_verify)


def _many_handed(consumer: Any, step: AppStep) -> Flow:
    found = yield step
    records = [record for each in found.values() for record in each]
    if len(records) == 1:
        _handling(consumer).given(partial(_message, records[0]))
    return found


def _many_from_verify(source: str, consumer: Any) -> Flow:
    record = yield from _from_verify(source, consumer)
    structs: Any = sys.modules["aiokafka.structs"]
    return {structs.TopicPartition(record.topic, record.partition): [record]}


def _stopping(original: Function) -> Function:
    """The app stops a consumer."""
    return noting_async("aiokafka", original, before=_left)


def _left(consumer: Any) -> None:
    _done(consumer)
    _verified.leaves(consumer)


SEAMS = (
    Seams("aiokafka", ["aiokafka.consumer.consumer"], on("AIOKafkaConsumer", "getone", _getting)),
    Seams("aiokafka", ["aiokafka.consumer.consumer"], on("AIOKafkaConsumer", "getmany", _getting_many)),
    Seams("aiokafka", ["aiokafka.consumer.consumer"], on("AIOKafkaConsumer", "stop", _stopping)),
)
