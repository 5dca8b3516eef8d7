"""Run in a process of its own: a consumer of Kafka, which asks an API about each message, and tells what came.

Usage: ``kafka_consumers.py LIBRARY[-many|-batch] BROKER UPSTREAM N``. The library is ``aiokafka``, ``confluent`` or
``kafka-python``. The consumer asks for one message, for several of which it takes one (``-many``), or for two, whose
offsets it commits together (``-batch``). It ends behind N messages of the topic ``orders``; where N is 0, it never
ends by itself.
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


async def by_aiokafka(broker: str, upstream: str, count: int, at_once: int) -> None:
    settings = {"bootstrap_servers": broker, "group_id": GROUP, "enable_auto_commit": False}
    consumer = aiokafka.AIOKafkaConsumer("orders", auto_offset_reset="earliest", **settings)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    await consumer.start()
    left = count

    async def batches() -> AsyncIterator[list[Any]]:
        while at_once:
            for found in (await consumer.getmany(timeout_ms=200, max_records=at_once)).values():
                yield found
        async for record in consumer:
            yield [record]

    try:
        async for batch in batches():
            for record in batch:
                made = _asked(upstream, record.key, record.value, record.headers)
                await producer.send_and_wait("done", made, key=record.key)
            last = batch[-1]
            await consumer.commit({aiokafka.TopicPartition(last.topic, last.partition): last.offset + 1})
            left -= len(batch)
            if not left:
                break
    finally:
        await consumer.stop()
        await producer.stop()


def by_kafka_python(broker: str, upstream: str, count: int, at_once: int) -> None:
    settings = {"bootstrap_servers": broker, "group_id": GROUP, "enable_auto_commit": False}
    consumer = kafka.KafkaConsumer("orders", auto_offset_reset="earliest", **settings)
    producer = kafka.KafkaProducer(bootstrap_servers=broker)
    left = count

    def batches() -> Iterator[list[Any]]:
        while at_once:
            yield from consumer.poll(timeout_ms=200, max_records=at_once).values()
        for record in consumer:
            yield [record]

    for batch in batches():
        for record in batch:
            made = _asked(upstream, record.key, record.value, record.headers)
            producer.send("done", made, key=record.key).get(10)
        consumer.commit()
        left -= len(batch)
        if not left:
            break
    consumer.close()
    producer.close()


def by_confluent(broker: str, upstream: str, count: int, at_once: int) -> None:
    settings: Any = {"group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker, **settings})
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    consumer.subscribe(["orders"])
    left = count
    while left:
        found = consumer.consume(at_once, 2.0) if at_once else [consumer.poll(0.2)]
        batch = [each for each in found if each is not None and each.error() is None]
        for message in batch:
            made = _asked(upstream, message.key(), message.value(), message.headers() or ())
            producer.produce("done", made, key=message.key())
            producer.flush()
        if batch:
            consumer.commit(message=batch[-1], asynchronous=False)
            left -= len(batch)
    consumer.close()


def main(kind: str, broker: str, upstream: str, count: int) -> None:
    library, at_once = next(
        ((kind.removesuffix(suffix), number) for suffix, number in (("-many", 1), ("-batch", 2)) if suffix in kind),
        (kind, 0),
    )
    # Where the count is 0, what is left is never 0 again.
    count = count or -1
    if library == "aiokafka":
        asyncio.run(by_aiokafka(broker, upstream, count, at_once))
    elif library == "confluent":
        by_confluent(broker, upstream, count, at_once)
    else:
        by_kafka_python(broker, upstream, count, at_once)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
