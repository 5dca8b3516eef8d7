"""What apps do with a Kafka cluster by aiokafka, confluent-kafka and kafka-python, as plain values.

A case gets the address of a broker, which has the topics `TOPICS` and nothing in them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka
import confluent_kafka
import kafka
from confluent_kafka import aio, serialization

from tests.contract.amqp_cases import attempt, attempted, awaited
from tests.contract.framework import CaseList
from tests.contract.observation import class_name

__all__ = ["CASES", "TOPICS"]

CASES = CaseList(calls=None)
case = CASES()
changing = CASES(repeatable=False)
"""What differs from run to run by nature: times of a broker, partitions that are chosen by chance."""

TOPICS: dict[str, tuple[int, dict[str, str]]] = {
    "three": (3, {}),
    "one": (1, {}),
    "small": (1, {"max.message.bytes": "100"}),
}
"""By name: how many partitions, and settings."""
AT = 1700000000000
HEADERS: list[tuple[str, str | bytes | None]] = [
    ("shop", b"corner"),
    ("try", b"1"),
    ("try", b"2"),
    ("raw", bytes(range(256))),
]
NOBODY = "127.0.0.1:1"


def told(message: str, error: Any, found: Any) -> list[Any]:
    """A delivery report of confluent-kafka, but for how long it took."""
    seen = [found.topic(), found.partition(), found.offset(), found.key(), found.value(), found.headers()]
    return [message, problem(error), problem(found.error()), len(found), found.leader_epoch(), *map(repr, seen)]


def seen_by(seen: list[Any], message: str, *args: Any) -> None:
    """Note a delivery report."""
    seen.append(told(message, *args))


def problem(error: Any) -> Any:
    """A ``KafkaError``."""
    return None if error is None else [repr(error), error.code(), error.name(), error.fatal(), error.retriable()]


class Upper(kafka.serializer.Serializer):  # type: ignore[misc]
    """A serializer of kafka-python's."""

    def serialize(self, topic: str, headers: Any, data: Any = None) -> Any:
        """Before kafka-python 3, it has no headers."""
        data = headers if data is None else data
        return str(data).upper().encode()


# aiokafka


async def produced(url: str, work: Callable[[Any], Awaitable[Any]], **settings: Any) -> Any:
    """What a producer of aiokafka's gives."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=url, **settings)
    try:
        await producer.start()
        return await work(producer)
    finally:
        await producer.stop()


@case
@awaited
async def aiokafka_sends_and_is_told(url: str) -> Any:
    async def work(producer: Any) -> Any:
        seen: list[Any] = [repr(await producer.send_and_wait("three", b"1", b"k", 1, AT, HEADERS))]
        first = await producer.send("one", b"2", timestamp_ms=AT)
        second = await producer.send("one", value=None, key=b"gone", timestamp_ms=AT + 1)
        seen.append([first.done(), second.done()])
        seen += map(repr, await asyncio.gather(first, second))
        third = await producer.send(topic="one", value=b"3", timestamp_ms=AT)
        third.add_done_callback(lambda done: seen.append(["called", repr(done.result())]))
        await producer.flush()
        return [*seen, third.done(), sorted(await producer.partitions_for("three"))]

    return await produced(url, work)


@case
@awaited
async def aiokafka_serializes(url: str) -> Any:
    calls: list[Any] = []

    def serialize(value: Any) -> bytes:
        calls.append(value)
        return json.dumps(value).encode()

    async def work(producer: Any) -> Any:
        return [
            repr(await producer.send_and_wait("one", {"pot": 1}, "k", timestamp_ms=AT)),
            await attempted(producer.send_and_wait("one", {1}, "k")),
            repr(await producer.send_and_wait("one", [1, "two"], timestamp_ms=AT)),
            calls,
        ]

    return await produced(url, work, value_serializer=serialize, key_serializer=lambda key: key and key.encode())


@case
@awaited
async def aiokafka_is_refused(url: str) -> Any:
    async def work(producer: Any) -> Any:
        failed = await producer.send("small", b"x" * 200)
        seen = [await attempted(failed)]
        seen += [
            await attempted(made)
            for made in (
                producer.send("one"),
                producer.send("one", b"1", partition=9),
                producer.send("one", b"x" * 2_000_000),
                producer.send_and_wait("small", b"x" * 300),
                producer.begin_transaction(),
            )
        ]
        return [*seen, repr(await producer.send_and_wait("small", b"1", timestamp_ms=AT))]

    return await produced(url, work)


@case
@awaited
async def aiokafka_sends_batches(url: str) -> Any:
    async def work(producer: Any) -> Any:
        batch = producer.create_batch()
        seen: list[Any] = [bool(batch.append(key="k", value={"pot": 1}, timestamp=AT, headers=HEADERS))]
        seen += [repr(batch.append(key=None, value=[2], timestamp=AT + 1)), await attempted(_async(batch.append))]
        seen.append(await attempted(_async(batch.append, key=None, value={1}, timestamp=AT)))
        future = await producer.send_batch(batch, "three", partition=1)
        seen += [repr(await future), batch.record_count()]
        seen.append(batch.append(key=None, value=3, timestamp=AT))
        large = producer.create_batch()
        large.append(key=None, value="x" * 200, timestamp=AT)
        seen += [await attempted(await producer.send_batch(large, "small", partition=0))]
        other = producer.create_batch()
        other.append(timestamp=AT, key=None, value=4)
        seen += [
            await attempted(producer.send_batch(other, "one", partition=9)),
            await attempted(_async(producer.send_batch, batch=other)),
            repr(await (await producer.send_batch(topic="one", batch=other, partition=0))),
        ]
        full, count = producer.create_batch(), 0
        while full.append(key=None, value="x" * 1_000, timestamp=AT) is not None:
            count += 1
        return [*seen, count, repr(await (await producer.send_batch(full, "one", partition=0)))]

    return await produced(
        url,
        work,
        value_serializer=lambda value: json.dumps(value).encode(),
        key_serializer=lambda key: key and key.encode(),
        max_batch_size=4_000,
    )


async def _async(function: Callable[..., Any], **named: Any) -> Any:
    found = function(**named)
    return await found if hasattr(found, "__await__") else found


@case
@awaited
async def aiokafka_cannot_connect(url: str) -> Any:
    seen = await attempted(produced(NOBODY, lambda producer: producer.send_and_wait("one", b"1")))
    return seen[0]


@case
@awaited
async def aiokafka_commits_and_aborts(url: str) -> Any:
    async def work(producer: Any) -> Any:
        async with producer.transaction():
            seen = [repr(await producer.send_and_wait("one", b"1", timestamp_ms=AT))]
        try:
            async with producer.transaction():
                await producer.send_and_wait("one", b"2", timestamp_ms=AT)
                raise KeyError("changed my mind")
        except KeyError as error:
            seen.append(repr(error))
        return [*seen, await attempted(producer.send("one", b"outside"))]

    return await produced(url, work, transactional_id="shop")


@changing
@awaited
async def aiokafka_lets_the_broker_choose(url: str) -> Any:
    async def work(producer: Any) -> Any:
        made = [await producer.send("three", b"%d" % number) for number in range(12)]
        return [repr(each) for each in await asyncio.gather(*made)]

    return await produced(url, work, enable_idempotence=True)


# kafka-python


@case
def kafka_python_sends_and_is_told(url: str) -> Any:
    seen: list[Any] = []
    with kafka.KafkaProducer(bootstrap_servers=[url], client_id="shop") as producer:
        seen.append(repr(producer.send("three", b"1", b"k", HEADERS, 1, AT).get(10)))
        first = producer.send("one", b"2", timestamp_ms=AT)
        second = producer.send("one", key=b"gone", timestamp_ms=AT + 1)
        second.add_callback(lambda found: seen.append(["called", repr(found)])).add_errback(seen.append)
        producer.flush()
        seen += [first.is_done, first.succeeded(), repr(first.value), second.retriable(), repr(second.get())]
        seen += [sorted(producer.partitions_for("three")), producer.bootstrap_connected()]
    return [*seen, attempt(producer.send, "one", b"closed")]


@case
def kafka_python_serializes(url: str) -> Any:
    with kafka.KafkaProducer(bootstrap_servers=url, value_serializer=Upper(), key_serializer=Upper()) as producer:
        seen = [repr(producer.send("one", "tea", 7, timestamp_ms=AT).get(10))]
        return [*seen, repr(producer.send("one", 12, "k", timestamp_ms=AT).get(10))]


@case
def kafka_python_is_refused(url: str) -> Any:
    failures: list[Any] = []
    with kafka.KafkaProducer(bootstrap_servers=url) as producer:
        failed = producer.send("small", b"x" * 200).add_errback(lambda error: failures.append(class_name(error)))
        seen = [attempt(failed.get, 10), failed.failed(), class_name(failed.exception)]
        seen += [
            attempt(producer.send, "one"),
            attempt(producer.send, "one", 7),
            attempt(producer.send, "one", b"1", headers={"a": b"1"}),
            attempt(producer.send, "one", b"1", partition=9),
            attempt(producer.send, "one", b"x" * 2_000_000),
        ]
        return [*seen, failures]


@case
def kafka_python_cannot_connect(url: str) -> Any:
    return attempt(
        kafka.KafkaProducer, bootstrap_servers=NOBODY, bootstrap_timeout_ms=100, api_version_auto_timeout_ms=100
    )[:1]


@case
def kafka_python_commits_and_aborts(url: str) -> Any:
    with kafka.KafkaProducer(bootstrap_servers=url, transactional_id="shop") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        future = producer.send("one", b"1", timestamp_ms=AT)
        producer.commit_transaction()
        seen = [repr(future.get(10))]
        producer.begin_transaction()
        producer.abort_transaction()
        return [*seen, attempt(producer.commit_transaction)]


@changing
def kafka_python_lets_the_client_choose(url: str) -> Any:
    with kafka.KafkaProducer(bootstrap_servers=url, linger_ms=5) as producer:
        made = [producer.send("three", b"%d" % number) for number in range(12)]
        return [repr(each.get(10)) for each in made]


# confluent-kafka


@case
def confluent_kafka_sends_and_is_told(url: str) -> Any:
    seen: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": url})
    producer.produce(
        "three", b"1", b"k", 1, lambda *args: seen.append(told("first", *args)), timestamp=AT, headers=HEADERS
    )
    producer.produce("one", "text", key="k", on_delivery=lambda *args: seen.append(told("second", *args)))
    producer.produce("one", headers={"a": "1", "b": None}, callback=lambda *args: seen.append(told("third", *args)))
    producer.produce("one", b"nobody is told")
    seen.append(len(producer))
    seen += [producer.flush(), len(producer), producer.poll(0), producer.flush(0.1)]
    # Partitions answer in any order.
    return [seen[0], *sorted(seen[1:4]), *seen[4:]]


@case
def confluent_kafka_tells_a_function_of_its_own(url: str) -> Any:
    seen: list[Any] = []
    settings = {"bootstrap.servers": url, "on_delivery": lambda *args: seen.append(told("any", *args))}
    producer = confluent_kafka.SerializingProducer({**settings, "value.serializer": serialization.StringSerializer()})
    producer.produce(topic="one", value="tea")
    producer.produce(topic="one", value="cake", on_delivery=lambda *args: seen.append(told("one", *args)))
    while len(producer):
        producer.poll(0.05)
    seen.append(attempt(producer.produce, topic="one", value=7))
    return [*seen, producer.flush()]


@case
def confluent_kafka_sends_batches(url: str) -> Any:
    seen: list[Any] = []

    def report(message: str) -> Any:
        return lambda *args: seen.append(told(message, *args))

    producer: Any = confluent_kafka.Producer({"bootstrap.servers": url, "on_delivery": report("default")})
    orders: list[dict[str, Any]] = [
        {"value": b"1", "key": "k", "callback": report("own")},
        {"value": "2", "partition": 0},
        {"key": b"3"},
        {"value": b"x" * 2_000_000, "callback": report("too large")},
    ]
    seen.append(producer.produce_batch("one", orders))
    seen.append([problem(each.get("_error")) for each in orders])
    seen.append(["callback" in each for each in orders])
    seen += [producer.flush(), len(producer)]
    seen.append(producer.produce_batch("three", [{"value": b"4"}, {"value": b"5"}], 2, report("of the batch")))
    seen.append(producer.flush())
    twice: dict[str, Any] = {"value": b"x" * 2_000_000, "callback": report("of both")}
    small: dict[str, Any] = {"value": b"twice", "callback": report("of both")}
    seen += [producer.produce_batch("one", [twice, small, twice, small]), problem(twice["_error"]), "_error" in small]
    seen += [producer.flush(), producer.produce_batch("one", []), attempt(producer.produce_batch, "one", 7)]
    return [*seen, attempt(producer.produce_batch, "one", [{"value": b"6", "timestamp": AT}])]


@case
@awaited
async def confluent_kafka_sends_by_asyncio(url: str) -> Any:
    producer = aio.AIOProducer({"bootstrap.servers": url}, buffer_timeout=0)
    try:
        futures = [await producer.produce("one", b"%d" % number, key="k") for number in range(3)]
        too_large = await producer.produce("one", b"x" * 2_000_000)
        await producer.flush()
        found = [told("", None, await each) for each in futures]
        return [found, await attempted(too_large)]
    finally:
        await producer.close()


@case
def confluent_kafka_is_refused(url: str) -> Any:
    seen: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": url, "queue.buffering.max.messages": 1, "log_level": 0})
    producer.produce("small", b"x" * 200, on_delivery=lambda *args: seen.append(told("too long", *args)))
    seen += [attempt(producer.produce, "one", b"no room"), producer.flush()]

    def fails(*_: Any) -> None:
        raise KeyError("of the app")

    producer.produce("one", b"1", on_delivery=fails)
    seen.append(attempt(producer.flush))
    seen += [
        attempt(producer.produce, "one", 7),
        attempt(producer.produce, "one", b"1", nonsense=1),
        attempt(producer.begin_transaction),
        attempt(confluent_kafka.Producer, {"nonsense": 1}),
    ]
    producer.list_topics("one")
    try:
        producer.produce("one", b"1", partition=9)
        seen.append(producer.flush())
    except confluent_kafka.KafkaException as error:
        seen.append([repr(error), problem(error.args[0])])
    return seen


@case
def confluent_kafka_cannot_connect(url: str) -> Any:
    seen: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": NOBODY, "message.timeout.ms": 10, "log_level": 0})
    producer.produce("one", b"1", on_delivery=lambda *args: seen.append(told("late", *args)))
    seen.append(producer.flush())
    try:
        producer.list_topics(timeout=0.05)
    except confluent_kafka.KafkaException as error:
        seen.append([type(error).__name__, error.args[0].name()])
    return seen


@case
def confluent_kafka_commits_and_aborts(url: str) -> Any:
    seen: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": url, "transactional.id": "shop", "log_level": 0})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("one", b"1", on_delivery=lambda *args: seen.append(told("kept", *args)))
    producer.commit_transaction(10)
    seen.append("committed")
    producer.begin_transaction()
    producer.produce("one", b"2", on_delivery=lambda *args: seen.append(args[1].topic()))
    producer.abort_transaction(10)
    return [*seen, "aborted", attempt(producer.commit_transaction, 1)[:1]]


@changing
def confluent_kafka_lets_the_client_choose(url: str) -> Any:
    seen: list[Any] = []

    def report(error: Any, found: Any) -> None:
        seen.append([*told("", error, found), found.timestamp(), found.latency()])

    producer = confluent_kafka.Producer({"bootstrap.servers": url, "enable.idempotence": True})
    for number in range(12):
        producer.produce("three", b"%d" % number, on_delivery=report)
        seen.append(producer.poll(0))
    found = producer.list_topics("three")
    topics = {name: sorted(each.partitions) for name, each in found.topics.items()}
    return [*seen, producer.flush(), topics, found.cluster_id, [*map(str, found.brokers.values())]]
