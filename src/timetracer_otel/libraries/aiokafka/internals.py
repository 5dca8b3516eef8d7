"""aiokafka's objects as plain values and back.

The only file with its private names, besides `private_names`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.producer import AIOKafkaProducer
from aiokafka.structs import PartitionMetadata, RecordMetadata, TopicPartition

from timetracer_otel.libraries.kits.kafka.call import Record, Report
from timetracer_otel.libraries.kits.kafka.serialized import Serialized

__all__ = [
    "BATCH",
    "CLIENT",
    "CONSUMER",
    "ERROR_MODULES",
    "LIB",
    "PARTITION",
    "PRODUCER",
    "error_of",
    "future_of",
    "given",
    "has_started",
    "know",
    "report_of",
    "serialized",
    "servers_of",
]

LIB: Final = "aiokafka"
BATCH: Final = BatchBuilder
ERROR_MODULES: Final = frozenset({"aiokafka"})
CLIENT: Final = AIOKafkaClient
CONSUMER: Final = AIOKafkaConsumer
PARTITION: Final = TopicPartition
PRODUCER: Final = AIOKafkaProducer
_FIELDS: Final = ("partition", "offset", "timestamp", "timestamp_type", "log_start_offset")


def servers_of(client: Any) -> Any:
    """The brokers that an app names for a producer or a consumer."""
    found = client.client if isinstance(client, AIOKafkaProducer) else client._client
    return found._bootstrap_servers


def has_started(producer: Any) -> bool:
    """Whether a producer has started to send for real."""
    return producer._sender.sender_task is not None


def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Record | None:
    """The message that an app gives to ``send``; None where the library raises at once."""

    def send(
        topic: Any,
        value: Any = None,
        key: Any = None,
        partition: Any = None,
        timestamp_ms: Any = None,
        headers: Any = None,
    ) -> Record | None:
        if value is None and key is None:
            return None
        return Record(topic, key, value, headers or (), partition, timestamp_ms)

    try:
        return send(*args, **kwargs)
    except TypeError:
        return None


def serialized(producer: Any, record: Record) -> tuple[Record, Serialized]:
    """A message with the bytes of its key and value, and the same for the producer."""
    made = Serialized()
    pair = made.make(producer._serialize, record.key, record.value, record.headers or [])
    if pair is not None:
        record = record._replace(key=pair[0], value=pair[1])
    return record, made


def know(client: Any, topic: str, partitions: Iterable[int]) -> None:
    """Let a client know the partitions of a topic, each of which has a leader."""
    client.cluster._partitions.setdefault(
        topic,
        {
            each: PartitionMetadata(topic=topic, partition=each, leader=0, replicas=[0], isr=[0], error=None)
            for each in partitions
        },
    )


def report_of(metadata: Any) -> dict[str, Any]:
    """Where a message is. Without acknowledgements (``acks=0``) nobody knows it."""
    return {} if metadata is None else {name: getattr(metadata, name) for name in _FIELDS}


def error_of(future: Any) -> BaseException | None:
    """What a future failed with. To ask the future itself would tell asyncio that the app knows of it."""
    error: BaseException | None = future._exception
    return error


def future_of(topic: str, report: Report) -> Any:
    """A future that is resolved when the loop runs next, and never where that was not known in the recording."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    if report.error is not None:
        loop.call_soon(_set, future.set_exception, report.error, future)
    elif report.fields is not None:
        metadata = None
        if report.fields:
            partition = TopicPartition(topic, report.fields["partition"])
            metadata = RecordMetadata(topic=topic, topic_partition=partition, **report.fields)
        loop.call_soon(_set, future.set_result, metadata, future)
    return future


def _set(outcome: Any, value: Any, future: Any) -> None:
    if not future.done():
        outcome(value)
