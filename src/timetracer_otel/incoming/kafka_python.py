"""kafka-python: the methods by which a loop of the app asks for messages."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep, only
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import looked, noting
from timetracer_otel.config import job_source
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.kafka_messages import GivenRecord, Verified, kafka_message
from timetracer_otel.incoming.messages import Handling, IncomingMessage, begins_root
from timetracer_otel.incoming.seams import on
from timetracer_otel.libraries.kits.kafka.consumers import TOPICS, WITHOUT_BROKER

__all__ = ["SEAMS"]

_HANDLING = "_timetracer_handling"
_verified = Verified("kafka_python")
_iterates: CallAbove[bool] = CallAbove("kafka_python-iterator")
"""Set while the iterator of a consumer polls it."""


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
    return kafka_message("kafka_python", record.topic, place, timestamp, record.key, record.headers, record.value)


def _made(given: GivenRecord) -> Any:
    """A message of kafka-python's."""
    fetcher: Any = sys.modules["kafka.consumer.fetcher"]
    known = {name: getattr(given, name) for name in GivenRecord.__slots__}
    sizes = {
        "serialized_key_size": len(given.key) if isinstance(given.key, bytes) else -1,
        "serialized_value_size": len(given.value) if isinstance(given.value, bytes) else -1,
        "serialized_header_size": sum(len(name.encode()) + len(each or b"") for name, each in given.headers) or -1,
    }
    return fetcher.ConsumerRecord(**{**dict.fromkeys(fetcher.ConsumerRecord._fields), **known, **sizes})


def _iterating(original: Function) -> Function:
    """A loop asks for the next message."""

    def begin(_: None, consumer: Any) -> Flow | None:
        looked("kafka_python.done", _done, consumer)
        step = AppStep(original, consumer)
        if not begins_root():
            return _iterates.around(True, step)
        source = job_source()
        if source is not None:
            return _from_verify(source, consumer)
        if vars(consumer).get(WITHOUT_BROKER):
            return only(OurStep(threading.Event().wait))
        return _handed(consumer, step)

    return around("kafka_python", original, begin)


def _handed(consumer: Any, step: AppStep) -> Flow:
    record = yield from _iterates.around(True, step)
    _handling(consumer).given(partial(_message, record))
    return record


def _from_verify(source: str, consumer: Any) -> Flow:
    topics: Collection[str] | None = vars(consumer).get(TOPICS)
    given = yield OurStep(_verified.next, source, consumer, topics or None)
    if given is None:
        # As where the consumer is closed: a loop ends by it.
        return (yield AppStep(_end))
    record = _made(given)
    _handling(consumer).given(partial(_message, record))
    return record


def _end() -> None:
    raise StopIteration("the verification has ended")


def _polling(original: Function) -> Function:
    """A loop asks for several messages. If it gets one, that has a session of its own."""

    def begin(_: None, consumer: Any, *args: Any, **kwargs: Any) -> Flow | None:
        if _iterates.get():
            return None
        looked("kafka_python.done", _done, consumer)
        if not begins_root():
            return None
        source = job_source()
        if source is not None:
            return _many_from_verify(source, consumer)
        if vars(consumer).get(WITHOUT_BROKER):
            return only(OurStep(threading.Event().wait))
        return _many_handed(consumer, AppStep(original, consumer, *args, **kwargs))

    return around("kafka_python", original, begin)


def _many_handed(consumer: Any, step: AppStep) -> Flow:
    found = yield step
    records = [record for each in found.values() for record in each]
    if len(records) == 1:
        _handling(consumer).given(partial(_message, records[0]))
    return found


def _many_from_verify(source: str, consumer: Any) -> Flow:
    record = yield from _from_verify(source, consumer)
    structs: Any = sys.modules["kafka.structs"]
    return {structs.TopicPartition(record.topic, record.partition): [record]}


def _closing(original: Function) -> Function:
    """The app closes a consumer."""
    return noting("kafka_python", original, before=_left)


def _left(consumer: Any, *_: Any) -> None:
    _done(consumer)
    _verified.leaves(consumer)


SEAMS = (
    Seams("kafka_python", ["kafka.consumer.group"], on("KafkaConsumer", "__next__", _iterating)),
    Seams("kafka_python", ["kafka.consumer.group"], on("KafkaConsumer", "poll", _polling)),
    Seams("kafka_python", ["kafka.consumer.group"], on("KafkaConsumer", "close", _closing)),
)
