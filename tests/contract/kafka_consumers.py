"""Run in a process of its own: a consumer of Kafka, which asks an API about each message, and tells what came of it.

Usage: ``kafka_consumers.py aiokafka|aiokafka-many|confluent|confluent-many|kafka-python|kafka-python-many BROKER
UPSTREAM N``. It ends behind N messages of the topic ``orders``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiokafka
import confluent_kafka
import httpx
import kafka

GROUP = "shop"


def _asked(upstream: str, key: Any, value: Any, headers: Any) -> bytes:
    order = json.loads(value)
    answer = httpx.get(f"{upstream}/users/{order['user']}")
    print(f"order {order['user']} of {key!r} with {dict(headers)!r} is of {answer.json()['name']}", flush=True)
    return json.dumps({"user": order["user"], "name": answer.json()["name"]}).encode()


async def by_aiokafka(broker: str, upstream: str, count: int, *, many: bool) -> None:
    settings = {"bootstrap_servers": broker, "group_id": GROUP, "enable_auto_commit": False}
    consumer = aiokafka.AIOKafkaConsumer("orders", auto_offset_reset="earliest", **settings)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    await consumer.start()
    left = count

    async def records() -> AsyncIterator[Any]:
        while many:
            for found in (await consumer.getmany(timeout_ms=200, max_records=1)).values():
                for each in found:
                    yield each
        async for record in consumer:
            yield record

    try:
        async for record in records():
            made = _asked(upstream, record.key, record.value, record.headers)
            await producer.send_and_wait("done", made, key=record.key)
            await consumer.commit({aiokafka.TopicPartition(record.topic, record.partition): record.offset + 1})
            left -= 1
            if not left:
                break
    finally:
        await consumer.stop()
        await producer.stop()


def by_kafka_python(broker: str, upstream: str, count: int, *, many: bool) -> None:
    settings = {"bootstrap_servers": broker, "group_id": GROUP, "enable_auto_commit": False}
    consumer = kafka.KafkaConsumer("orders", auto_offset_reset="earliest", **settings)
    producer = kafka.KafkaProducer(bootstrap_servers=broker)
    left = count

    def records() -> Iterator[Any]:
        while many:
            for found in consumer.poll(timeout_ms=200, max_records=1).values():
                yield from found
        yield from consumer

    for record in records():
        made = _asked(upstream, record.key, record.value, record.headers)
        producer.send("done", made, key=record.key).get(10)
        consumer.commit()
        left -= 1
        if not left:
            break
    consumer.close()
    producer.close()


def by_confluent(broker: str, upstream: str, count: int, *, many: bool) -> None:
    settings: Any = {"group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker, **settings})
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    consumer.subscribe(["orders"])
    left = count
    while left:
        found = consumer.consume(1, 0.2) if many else [consumer.poll(0.2)]
        for message in found:
            if message is None or message.error() is not None:
                continue
            made = _asked(upstream, message.key(), message.value(), message.headers() or ())
            producer.produce("done", made, key=message.key())
            producer.flush()
            consumer.commit(message=message, asynchronous=False)
            left -= 1
    consumer.close()


def main(kind: str, broker: str, upstream: str, count: int) -> None:
    many, library = kind.endswith("-many"), kind.removesuffix("-many")
    if library == "aiokafka":
        asyncio.run(by_aiokafka(broker, upstream, count, many=many))
    elif library == "confluent":
        by_confluent(broker, upstream, count, many=many)
    else:
        by_kafka_python(broker, upstream, count, many=many)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
