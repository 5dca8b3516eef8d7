"""Workloads of clients of AMQP: pika, blocking, and aio-pika."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen

__all__ = ["AMQP"]


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

    with pika.BlockingConnection(pika.URLParameters(servers.amqp)) as connection:
        channel = connection.channel()
        told = [seen(lambda: channel.queue_declare("tea", exclusive=True).method.message_count)]
        channel.confirm_delivery()
        told.append(seen(lambda: channel.basic_publish("", "tea", b"1")))
        told.append(seen(lambda: channel.basic_get("tea", auto_ack=True)[2]))
        try:
            channel.basic_publish("", "nowhere", b"lost", mandatory=True)
        except exceptions.UnroutableError as error:
            told.append(str(error))
        told.append(seen(lambda: consumed(connection, channel)))
        told.append(seen(lambda: connection.channel().queue_declare("nothing", passive=True)))
    return told


def aio_pika_asyncio(servers: Servers) -> list[str]:
    import aio_pika

    async def work() -> list[str]:
        told: list[str] = []

        async def attempt(made: Any) -> None:
            try:
                told.append(type(await made).__qualname__)
            except Exception as error:
                told.append(f"raised {type(error).__qualname__}: {error}")

        async with await aio_pika.connect(servers.amqp) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("coffee", exclusive=True)
            await attempt(channel.default_exchange.publish(aio_pika.Message(b"1"), "coffee"))
            got = await queue.get()
            assert got is not None
            told.append(repr(got.body))
            await got.ack()
            await attempt(queue.get())
            await attempt((await connection.channel()).declare_queue("nothing", passive=True))
        return told

    return asyncio.run(work())


AMQP: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (pika_blocking, aio_pika_asyncio)}
