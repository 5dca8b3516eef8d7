"""Workloads of clients of Kafka: producers, and consumers, of which each message is a request.

The broker of consumers is there in a replay as well: its messages come from it, and what the app asks beside that is
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from tests.suite_injection.incoming import read
from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["KAFKA", "KAFKA_CONSUMERS", "WITH_THREADS_IN_C", "with_orders"]

_AT = 1700000000000
_HEADERS: list[Any] = [("shop", b"corner"), ("password", b"Hm4kLq9sWe")]
_ORDERS = 3
_AT_ONCE = 2
"""So many of them come by the first call of a consumer: they have one session."""


def with_orders(broker: str) -> None:
    """Make the topic ``tea``, and ``orders`` with some messages.

    Args:
        broker: Where the broker listens.
    """
    import confluent_kafka
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": broker})
    for each in admin.create_topics([NewTopic(name, 1, 1) for name in ("tea", "orders")]).values():
        each.result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    for user in range(1, _ORDERS + 1):
        # At this time: a broker deletes messages that are older than a week.
        producer.produce("orders", str(user), key=f"k{user}")
    producer.flush()


def _without_offsets(found: Any) -> str:
    """Where a message is. Each run finds the messages of those before it in the topic."""
    return f"{type(found).__name__} {found.topic} {found.partition} {found.timestamp}"


def aiokafka_producer(servers: Servers) -> list[str]:
    import aiokafka

    async def work() -> list[str]:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers.kafka, value_serializer=str.encode)

        async def waited() -> str:
            return _without_offsets(await producer.send_and_wait("tea", "1", b"k", 0, _AT, _HEADERS))

        async def batched() -> str:
            batch = producer.create_batch()
            added = [batch.append(key=b"k", value=each, timestamp=_AT, headers=_HEADERS) for each in "12"]
            future = await producer.send_batch(batch, "tea", partition=0)
            return f"{[*map(bool, added)]} {_without_offsets(await asyncio.wait_for(future, 10))} {batch.closed()}"

        async def later() -> str:
            future = await producer.send("tea", "2", timestamp_ms=_AT)
            called: list[Any] = []
            future.add_done_callback(called.append)
            await asyncio.wait_for(producer.flush(), 10)
            return f"{future.done()} {len(called)} {_without_offsets(await asyncio.wait_for(future, 10))}"

        steps = (
            producer.start,
            lambda: producer.partitions_for("tea"),
            waited,
            batched,
            later,
            lambda: producer.send("tea", 7),
            lambda: producer.send("tea", "x" * 2_000_000),
            producer.begin_transaction,
            producer.stop,
        )
        return [await seen_async(step) for step in steps]

    return asyncio.run(work())


def kafka_python_producer(servers: Servers) -> list[str]:
    import kafka

    made: list[Any] = []

    def connect() -> None:
        made.append(kafka.KafkaProducer(bootstrap_servers=servers.kafka, value_serializer=str.encode))

    told = [seen(connect)]
    if not made:
        # Without a producer, nothing else can be tried.
        return told * 8
    (producer,) = made

    def later() -> str:
        called: list[Any] = []
        future = producer.send("tea", "2", timestamp_ms=_AT).add_callback(called.append)
        producer.flush(timeout=10)
        return f"{future.is_done} {len(called)} {_without_offsets(future.get(10))}"

    return [
        *told,
        seen(lambda: producer.partitions_for("tea")),
        seen(lambda: _without_offsets(producer.send("tea", "1", b"k", _HEADERS, 0, _AT).get(10))),
        seen(later),
        seen(lambda: producer.send("tea", 7)),
        seen(lambda: producer.send("tea", "x" * 2_000_000)),
        seen(producer.begin_transaction),
        seen(lambda: producer.close(timeout=10)),
    ]


def confluent_kafka_producer(servers: Servers) -> list[str]:
    import confluent_kafka

    reports: list[Any] = []

    def told(error: Any, message: Any) -> None:
        reports.append([error and error.name(), message.topic(), message.partition(), message.value()])

    made: list[Any] = []

    def make() -> None:
        settings: Any = {"bootstrap.servers": servers.kafka, "on_delivery": told, "log_level": 0}
        made.append(confluent_kafka.Producer(settings))

    found = [seen(make)]
    if not made:
        # Without a producer, nothing else can be tried.
        return found * 8
    producer: Any = made[0]

    def flushed() -> Any:
        reports.clear()
        producer.produce("tea", b"1", b"k", 0, headers=_HEADERS, timestamp=_AT)
        return [producer.flush(10), len(producer), reports]

    def batched() -> Any:
        reports.clear()
        messages: list[Any] = [{"value": b"3"}, {"value": b"x" * 2_000_000}]
        count = producer.produce_batch("tea", messages)
        return [count, ["_error" in each for each in messages], producer.flush(10), reports]

    def polled() -> Any:
        # A list of its own: where a flush is a miss, its reports come now.
        values: list[Any] = []
        producer.produce("tea", b"2", on_delivery=lambda _, message: values.append(message.value()))
        for _ in range(100):
            if not values:
                producer.poll(0.1)
        return values

    return [
        *found,
        seen(lambda: sorted(producer.list_topics("tea", 10).topics["tea"].partitions)),
        seen(flushed),
        seen(batched),
        seen(polled),
        seen(lambda: producer.produce("tea", 7)),
        seen(producer.begin_transaction),
        seen(lambda: producer.flush(10)),
    ]


def _asked(servers: Servers, key: Any, value: Any) -> str:
    """What a consumer does with a message."""
    return f"{key!r} {value!r} {read(servers, int(value))}"


def _lines(told: list[str], ended: str) -> list[str]:
    """What a consumer told of each message, and how it ended; the latter for messages that did not come, too."""
    return told + [ended] * (_ORDERS + 1 - len(told))


def aiokafka_consumer(servers: Servers) -> list[str]:
    import aiokafka

    async def work() -> list[str]:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=servers.broker, group_id="injected", enable_auto_commit=False
        )
        place = aiokafka.TopicPartition("orders", 0)
        consumer.assign([place])
        told: list[str] = []

        async def read_all() -> None:
            await consumer.start()
            await consumer.seek_to_beginning(place)
            for records in (await consumer.getmany(timeout_ms=10_000, max_records=_AT_ONCE)).values():
                told.extend(_asked(servers, record.key, record.value) for record in records)
            async for record in consumer:
                told.append(_asked(servers, record.key, record.value))
                await consumer.commit({place: record.offset + 1})
                if len(told) >= _ORDERS:
                    break

        ended = await seen_async(lambda: asyncio.wait_for(read_all(), 20))
        return [*_lines(told, ended), await seen_async(consumer.stop)]

    return asyncio.run(work())


def kafka_python_consumer(servers: Servers) -> list[str]:
    import kafka

    told: list[str] = []
    place = kafka.TopicPartition("orders", 0)

    def read_all() -> None:
        with kafka.KafkaConsumer(
            bootstrap_servers=servers.broker,
            group_id="injected",
            enable_auto_commit=False,
            consumer_timeout_ms=10_000,
        ) as consumer:
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            for records in consumer.poll(timeout_ms=10_000, max_records=_AT_ONCE).values():
                told.extend(_asked(servers, record.key, record.value) for record in records)
            for record in consumer:
                told.append(_asked(servers, record.key, record.value))
                consumer.commit({place: kafka.OffsetAndMetadata(record.offset + 1, "", -1)})
                if len(told) >= _ORDERS:
                    break

    return _lines(told, seen(read_all))


def confluent_kafka_consumer(servers: Servers) -> list[str]:
    import confluent_kafka

    told: list[str] = []

    def messages(consumer: Any) -> Iterator[Any]:
        yield from consumer.consume(_AT_ONCE, 10)
        while (message := consumer.poll(10)) is not None:
            yield message

    def read_all() -> None:
        settings: Any = {"bootstrap.servers": servers.broker, "group.id": "injected", "enable.auto.commit": False}
        consumer = confluent_kafka.Consumer({**settings, "log_level": 0})
        consumer.assign([confluent_kafka.TopicPartition("orders", 0, 0)])
        for message in messages(consumer):
            told.append(_asked(servers, message.key(), message.value()))
            consumer.commit(message=message, asynchronous=False)
            if len(told) >= _ORDERS:
                break
        consumer.close()

    return _lines(told, seen(read_all))


_Works = dict[str, Callable[[Servers], list[str]]]
KAFKA: _Works = {work.__name__: work for work in (aiokafka_producer, kafka_python_producer, confluent_kafka_producer)}
KAFKA_CONSUMERS: _Works = {
    work.__name__: work for work in (aiokafka_consumer, kafka_python_consumer, confluent_kafka_consumer)
}
WITH_THREADS_IN_C = frozenset({"confluent_kafka_producer", "confluent_kafka_consumer"})
"""Those whose clients have threads of a library in C: a process that has run one cannot be forked."""
