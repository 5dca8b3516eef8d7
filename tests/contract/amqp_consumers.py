"""Run in a process of its own: a consumer of AMQP, which asks an API about each message, and tells what came of it.

Usage: ``amqp_consumers.py pika|pika-loop|aio-pika|aio-pika-loop BROKER UPSTREAM N``. It ends behind N
messages of the queue ``orders``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aio_pika
import httpx
import pika
from aio_pika.abc import AbstractIncomingMessage


def _asked(upstream: str, body: bytes) -> bytes:
    order = json.loads(body)
    if order["user"] == 13:
        raise ValueError("no such user")
    answer = httpx.get(f"{upstream}/users/{order['user']}")
    print(f"order {order['user']} is of {answer.json()['name']}", flush=True)
    return json.dumps({"user": order["user"], "name": answer.json()["name"]}).encode()


def by_pika(broker: str, upstream: str, count: int, *, loops: bool) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        channel = connection.channel()
        channel.queue_declare("orders")
        channel.queue_declare("done")
        channel.basic_qos(prefetch_count=1)
        left = count

        def handle(where: Any, method: Any, _: Any, body: bytes) -> None:
            nonlocal left
            left -= 1
            try:
                where.basic_publish("", "done", _asked(upstream, body))
            finally:
                where.basic_ack(method.delivery_tag)
            if not left and not loops:
                where.stop_consuming()

        if not loops:
            channel.basic_consume("orders", handle)
            channel.start_consuming()
            return
        for method, properties, body in channel.consume("orders"):
            handle(channel, method, properties, body)
            if not left:
                break
        channel.cancel()


async def by_aio_pika(broker: str, upstream: str, count: int, *, loops: bool) -> None:
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("orders")
        await channel.declare_queue("done")
        await channel.set_qos(prefetch_count=1)
        left, done = count, asyncio.Event()

        async def handle(message: AbstractIncomingMessage) -> None:
            nonlocal left
            left -= 1
            try:
                async with message.process():
                    made = aio_pika.Message(_asked(upstream, message.body))
                    await channel.default_exchange.publish(made, "done")
            finally:
                if not left:
                    done.set()

        if not loops:
            await queue.consume(handle)
            await done.wait()
            return
        async with queue.iterator() as messages:
            async for each in messages:
                await handle(each)
                if not left:
                    break


def main(kind: str, broker: str, upstream: str, count: int) -> None:
    if kind.startswith("pika"):
        by_pika(broker, upstream, count, loops=kind.endswith("-loop"))
    else:
        asyncio.run(by_aio_pika(broker, upstream, count, loops=kind.endswith("-loop")))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
