"""Workloads of clients of AMQP: pika, blocking, and aio-pika. And their consumers: what these get is a request each.

The broker of consumers is there in a replay as well: its messages come from it, and what the app asks beside that is
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.suite_injection.incoming import read
from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["AMQP", "AMQP_CONSUMERS"]

_STEPS = 9


def pika_blocking(servers: Servers) -> list[str]:
    import pika
    from pika import exceptions

    answers: list[bytes] = []

    def answer(where: Any, method: Any, _: Any, body: bytes) -> None:
        answers.append(body)
        where.basic_ack(method.delivery_tag)

    def consumed(connection: Any, channel: Any) -> list[bytes]:
        channel.basic_consume("tea", answer)
        channel.basic_publish("", "tea", b"2")
        for _ in range(20):
            if not answers:
                connection.process_data_events(time_limit=0.5)
        return answers

    opened: list[Any] = []

    def connect() -> bool:
        connection = pika.BlockingConnection(pika.URLParameters(servers.amqp))
        opened.extend((connection, connection.channel()))
        return bool(connection.is_open)

    def returned() -> None:
        try:
            opened[1].basic_publish("", "nowhere", b"lost", mandatory=True)
        except exceptions.UnroutableError as error:
            raise ValueError(str(error)) from None

    told = [seen(connect)]
    if not opened:
        # Without a connection, nothing else can be tried.
        return told * _STEPS
    connection, channel = opened
    told.append(seen(lambda: channel.queue_declare("tea", exclusive=True).method.message_count))
    told.append(seen(channel.confirm_delivery))
    told.append(seen(lambda: channel.basic_publish("", "tea", b"1")))
    told.append(seen(lambda: channel.basic_get("tea", auto_ack=True)[2]))
    told.append(seen(returned))
    told.append(seen(lambda: consumed(connection, channel)))
    told.append(seen(lambda: connection.channel().queue_declare("nothing", passive=True)))
    told.append(seen(connection.close))
    return told


def aio_pika_calls(servers: Servers) -> list[str]:
    import aio_pika

    async def work() -> list[str]:
        opened: list[Any] = []
        answers: list[bytes] = []

        async def connect() -> bool:
            opened.append(await aio_pika.connect(servers.amqp))
            opened.append(await opened[0].channel())
            return True

        async def declare() -> int | None:
            opened.append(await opened[1].declare_queue("cake", exclusive=True))
            count: int | None = opened[2].declaration_result.message_count
            return count

        async def publish(body: bytes, key: str) -> str:
            return type(await opened[1].default_exchange.publish(aio_pika.Message(body), key)).__name__

        async def get() -> bytes:
            body: bytes = (await opened[2].get(no_ack=True)).body
            return body

        async def consumed() -> list[bytes]:
            came = asyncio.Event()

            async def answer(message: Any) -> None:
                async with message.process():
                    answers.append(message.body)
                    came.set()

            tag = await opened[2].consume(answer)
            await publish(b"2", "cake")
            await asyncio.wait_for(came.wait(), 10)
            await opened[2].cancel(tag)
            return answers

        async def refused() -> None:
            await (await opened[0].channel()).declare_queue("nothing", passive=True)

        async def closed() -> None:
            await opened[0].close()

        told = [await seen_async(connect)]
        steps = (
            declare,
            lambda: publish(b"1", "cake"),
            get,
            lambda: publish(b"lost", "nowhere"),
            consumed,
            refused,
        )
        if not len(opened) > 1:
            # Without a channel, nothing else can be tried.
            return told * (2 + len(steps))
        for step in steps:
            # Each step stands on the one before.
            told.append(await seen_async(step) if "Mismatch" not in told[-1] else told[-1])
        return [*told, await seen_async(lambda: asyncio.wait_for(closed(), 10))]

    return asyncio.run(work())


def _asked(servers: Servers, body: bytes) -> str:
    """What a consumer does with a message."""
    return f"{body!r} {read(servers, int(body))}"


def pika_consumer(servers: Servers) -> list[str]:
    """A function of the app is called for two messages; a loop takes two more."""
    import pika

    told: list[str] = []

    def answer(where: Any, method: Any, _: Any, body: bytes) -> None:
        told.append(_asked(servers, body))
        where.basic_ack(method.delivery_tag)

    with pika.BlockingConnection(pika.URLParameters(servers.broker)) as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        channel.exchange_declare("shop", auto_delete=True)
        channel.queue_bind(name, "shop", "order")
        for body in (b"1", b"2", b"3", b"4"):
            channel.basic_publish("shop", "order", body)
        channel.basic_qos(prefetch_count=1)
        tag = channel.basic_consume(name, answer)
        for _ in range(40):
            if len(told) < 2:
                connection.process_data_events(time_limit=0.25)
        channel.basic_cancel(tag)
        for method, _, body in channel.consume(name, inactivity_timeout=10):
            if method is None:
                break
            told.append(_asked(servers, body))
            channel.basic_ack(method.delivery_tag)
            if len(told) >= 4:
                break
        channel.cancel()
    return told


def aio_pika_consumer(servers: Servers) -> list[str]:
    """A function of the app is called for two messages; a loop takes two more."""
    import aio_pika

    async def work() -> list[str]:
        told: list[str] = []
        async with await aio_pika.connect(servers.broker) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)
            queue = await channel.declare_queue(exclusive=True)
            exchange = await channel.declare_exchange("shop", auto_delete=True)
            await queue.bind(exchange, "order")
            for body in (b"1", b"2", b"3", b"4"):
                await exchange.publish(aio_pika.Message(body), "order")
            came: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            async def answer(message: Any) -> None:
                try:
                    async with message.process():
                        told.append(_asked(servers, message.body))
                except Exception as error:
                    # Of the call that tells the broker what became of the message.
                    came.set_exception(error)
                if len(told) >= 2 and not came.done():
                    came.set_result(None)

            tag = await queue.consume(answer)
            await asyncio.wait_for(came, 10)
            await queue.cancel(tag)
            async with queue.iterator(timeout=10) as messages:
                async for message in messages:
                    async with message.process():
                        told.append(_asked(servers, message.body))
                    if len(told) >= 4:
                        break
        return told

    return asyncio.run(work())


AMQP: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (pika_blocking, aio_pika_calls)}
AMQP_CONSUMERS: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (pika_consumer, aio_pika_consumer)
}
