"""What apps do with a broker of AMQP by pika (blocking, and with asyncio) and by aio-pika, as plain values.

A case gets the URL of the broker. Queues are the connection's own, and exchanges go with their last queue: nothing is
left on the broker.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import re
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aio_pika
import pika
from aio_pika.abc import AbstractIncomingMessage
from pika import exceptions as pika_errors
from pika.adapters.asyncio_connection import AsyncioConnection

from tests.contract.framework import CaseList
from tests.contract.observation import class_name, observe_error

__all__ = ["CASES"]

CASES = CaseList(calls=None)
case = CASES()

HEADERS: dict[str, Any] = {
    "text": "café",
    "number": 7,
    "big": 2**40,
    # Not down to -128: pamqp 3, the last one for Python 3.10, cannot write these.
    "negative": -300,
    "truth": True,
    "nothing": None,
    "price": Decimal("12.34"),
    "list": [1, "two", {"three": 3}],
    "table": {"deep": {"deeper": "x"}},
    "when": dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc),
}


def plain(value: Any) -> Any:
    """What pika and pamqp give, as plain values with their types."""
    if isinstance(value, BaseException):
        # aio-pika's errors hang on each other in circles.
        is_pikas = type(value).__module__.startswith("pika")
        return (
            observe_error(value)
            if is_pikas
            else [re.sub("0x[0-9a-f]+", "", text) for text in (class_name(value), str(value), *map(str, value.args))]
        )
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (str, int, float, bytes, bytearray, type(None), Decimal, dt.datetime)):
        return f"{type(value).__name__} {value!r}"
    if type(value).__module__.startswith("pamqp"):
        return [type(value).__qualname__, plain(dict(value))]
    if type(value).__module__.startswith("pika"):
        return [type(value).__qualname__, plain(vars(value))]
    return type(value).__qualname__


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gives or raises."""
    try:
        return plain(function(*args, **kwargs))
    except Exception as error:
        return plain(error)


async def attempted(made: Awaitable[Any]) -> Any:
    """The same for what is awaited."""
    try:
        return plain(await made)
    except Exception as error:
        return plain(error)


def connect(url: str) -> pika.BlockingConnection:
    """A blocking connection of pika's."""
    return pika.BlockingConnection(pika.URLParameters(url))


# pika, blocking


@case
def pika_publishes_and_gets(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        seen = [plain(channel.queue_declare("tea", exclusive=True).method)]
        properties = pika.BasicProperties(
            "application/json",
            "utf-8",
            HEADERS,
            2,
            5,
            "c1",
            "answers",
            "60000",
            "m1",
            1700000000,
            "order",
            None,
            "shop",
        )
        seen.append(plain(channel.basic_publish("", "tea", b'{"pot": 1}', properties)))
        channel.basic_publish("", "tea", b"")
        channel.basic_publish("", "tea", bytes(range(256)) * 2000)
        time.sleep(0.2)
        for _ in range(4):
            got = channel.basic_get("tea")
            seen.append(plain(got))
            if got[0] is not None:
                channel.basic_ack(got[0].delivery_tag)
        return seen


@case
def pika_is_confirmed(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        channel.basic_publish("", "tea", b"before")
        channel.confirm_delivery()
        seen = [attempt(channel.basic_publish, "", "tea", b"%d" % number) for number in range(3)]
        seen.append(attempt(channel.basic_publish, "", "nowhere", b"lost", mandatory=True))
        seen.append(attempt(channel.basic_publish, "", "nowhere", b"lost without a word"))
        return seen


@case
def pika_is_refused_by_a_full_queue(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare("small", exclusive=True, arguments=arguments)
        channel.confirm_delivery()
        return [attempt(channel.basic_publish, "", "small", b"%d" % number) for number in range(3)]


@case
def pika_gets_messages_back(url: str) -> Any:
    returned: list[Any] = []
    with connect(url) as connection:
        channel = connection.channel()
        channel.add_on_return_callback(lambda *args: returned.append(plain(args[1:])))
        channel.basic_publish("", "nowhere", b"back", pika.BasicProperties(headers={"a": 1}), mandatory=True)
        channel.queue_declare("tea", exclusive=True)
        connection.process_data_events()
        return returned


@case
def pika_declares_and_binds(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        seen = [plain(channel.exchange_declare("shop", "topic", auto_delete=True).method)]
        seen.append(plain(channel.queue_declare("tea", exclusive=True).method))
        seen.append(plain(channel.queue_bind("tea", "shop", "tea.#").method))
        channel.basic_publish("shop", "tea.green", b"1")
        channel.basic_publish("shop", "cake", b"2")
        time.sleep(0.2)
        seen.append(plain(channel.queue_declare("tea", passive=True).method))
        seen.append(plain(channel.queue_purge("tea").method))
        seen.append(plain(channel.queue_unbind("tea", "shop", "tea.#").method))
        seen.append(plain(channel.queue_delete("tea").method))
        return seen


@case
def pika_channel_is_closed_by_the_broker(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        seen = [attempt(channel.queue_declare, "nothing", passive=True), channel.is_open]
        seen.append(attempt(channel.basic_publish, "", "x", b""))
        channel = connection.channel()
        seen.append(attempt(channel.basic_publish, "no-exchange", "x", b""))
        seen.append(attempt(channel.queue_declare, "tea", exclusive=True))
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        seen.append(attempt(channel.queue_declare, "tea", durable=True))
        return [*seen, channel.is_open, connection.is_open]


@case
def pika_commits_and_rolls_back(url: str) -> Any:
    with connect(url) as connection:
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        seen = [plain(channel.tx_select().method)]
        channel.basic_publish("", "tea", b"kept")
        seen.append(plain(channel.tx_commit().method))
        channel.basic_publish("", "tea", b"not kept")
        seen.append(plain(channel.tx_rollback().method))
        other = connection.channel()
        seen.append(plain(other.basic_get("tea", auto_ack=True)))
        return [*seen, plain(other.basic_get("tea", auto_ack=True))]


@case
def pika_gets_answers_to_its_requests(url: str) -> Any:
    answers: list[Any] = []
    with connect(url) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_qos(prefetch_count=1)

        def answer(where: Any, method: Any, properties: Any, body: bytes) -> None:
            answers.append(plain([method.delivery_tag, method.redelivered, properties.correlation_id, body]))
            where.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, answer)
        for number in range(3):
            properties = pika.BasicProperties(reply_to=queue, correlation_id=f"c{number}")
            channel.basic_publish("", queue, b"request %d" % number, properties)
            while len(answers) <= number:
                connection.process_data_events(time_limit=1)
        return answers


@case
def pika_loops_over_messages(url: str) -> Any:
    seen: list[Any] = []
    with connect(url) as connection:
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        for number in range(3):
            channel.basic_publish("", "tea", b"%d" % number)
        for method, _, body in channel.consume("tea", inactivity_timeout=5):
            seen.append(plain([method.delivery_tag, method.routing_key, body]))
            if len(seen) == 2:
                channel.basic_nack(method.delivery_tag, requeue=False)
                break
            channel.basic_ack(method.delivery_tag)
        seen.append(plain(channel.cancel()))
    return seen


@case
def pika_cannot_connect(url: str) -> Any:
    refused = pika.ConnectionParameters("127.0.0.1", 1, connection_attempts=2, retry_delay=0)
    seen = [attempt(pika.BlockingConnection, refused)]
    seen.append(attempt(connect, url.replace("guest:guest", "guest:wrong")))
    seen.append(attempt(connect, url.replace("%2F", "nowhere")))
    try:
        pika.BlockingConnection(refused)
    except pika_errors.AMQPConnectionError as error:
        seen.append(repr(error))
    return seen


@case
def pika_tells_of_its_connection(url: str) -> Any:
    with connect(url) as connection:
        implementation: Any = connection._impl
        seen = [
            connection.is_open,
            connection.basic_nack_supported,
            connection.publisher_confirms_supported,
            implementation.params.channel_max,
            implementation.params.frame_max,
            implementation.params.heartbeat,
            plain(implementation.server_properties["product"]),
        ]
        first, second = connection.channel(), connection.channel()
        seen += [first.channel_number, second.channel_number]
        first.close()
        seen += [first.is_open, second.is_open]
    return [*seen, connection.is_open, attempt(second.basic_publish, "", "x", b"")]


# pika with asyncio: callbacks


@case
def pika_asyncio_confirms(url: str) -> Any:
    seen: list[Any] = []

    async def main() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def confirmed(frame: Any) -> None:
            # A broker confirms several at once or one by one, as it has time.
            if frame.method.delivery_tag == 3:
                seen.append(frame.method.NAME)
                connection.close()

        def declared(frame: Any) -> None:
            seen.append(plain(frame.method))
            channel = frame.channel_of_test
            channel.confirm_delivery(confirmed)
            for number in range(3):
                channel.basic_publish("", "tea", b"%d" % number)

        def opened(channel: Any) -> None:
            def told(frame: Any) -> None:
                frame.channel_of_test = channel
                declared(frame)

            channel.queue_declare("tea", exclusive=True, callback=told)

        def closed(_: Any, reason: BaseException) -> None:
            seen.append(plain(reason))
            done.set_result(None)

        connection: Any = AsyncioConnection(
            pika.URLParameters(url),
            on_open_callback=lambda made: made.channel(on_open_callback=opened),
            on_close_callback=closed,
        )
        await done

    asyncio.run(main())
    return seen


# aio-pika


def awaited(function: Callable[[str], Awaitable[Any]]) -> Callable[[str], Any]:
    """A case that is a coroutine function."""

    async def main(url: str) -> Any:
        return await function(url)

    def run(url: str) -> Any:
        return asyncio.run(main(url))

    run.__name__ = function.__name__
    run.__module__, run.__qualname__ = function.__module__, function.__qualname__
    assert inspect.iscoroutinefunction(function)
    return run


@case
@awaited
async def aio_pika_publishes_and_gets(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("tea", exclusive=True)
        seen = [plain(queue.declaration_result)]
        message = aio_pika.Message(
            b'{"pot": 1}',
            headers=HEADERS,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            priority=5,
            correlation_id="c1",
            reply_to="answers",
            expiration=60,
            message_id="m1",
            timestamp=1700000000,
            type="order",
            app_id="shop",
        )
        seen.append(plain(await channel.default_exchange.publish(message, "tea")))
        await channel.default_exchange.publish(aio_pika.Message(b""), "tea")
        await channel.default_exchange.publish(aio_pika.Message(bytes(range(256)) * 2000), "tea")
        for _ in range(3):
            got = await queue.get()
            assert got is not None
            info = {name: value for name, value in got.info().items() if name != "message_id"}
            seen.append([plain(info), plain(got.body), plain(got.headers)])
            await got.ack()
        return [*seen, plain(await queue.get(fail=False)), await attempted(queue.get())]


@case
@awaited
async def aio_pika_is_confirmed(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.declare_queue("tea", exclusive=True)
        exchange = channel.default_exchange
        several = await asyncio.gather(
            *(exchange.publish(aio_pika.Message(b"%d" % number), "tea") for number in range(5))
        )
        # The broker confirms several at once or one by one, as it has time.
        seen = [[type(each).__qualname__ for each in several]]
        seen.append(await attempted(exchange.publish(aio_pika.Message(b"lost", message_id="m1"), "nowhere")))
        seen.append(await attempted(exchange.publish(aio_pika.Message(b"lost"), "nowhere", mandatory=False)))
        small = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await channel.declare_queue("small", exclusive=True, arguments=small)
        first, second = (aio_pika.Message(b"%d" % number) for number in range(2))
        seen.append(await attempted(exchange.publish(first, "small")))
        return [*seen, await attempted(exchange.publish(second, "small"))]


@case
@awaited
async def aio_pika_without_confirmations(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue("tea", exclusive=True)
        seen = [plain(await channel.default_exchange.publish(aio_pika.Message(b"1"), "tea"))]
        async with channel.transaction():
            await channel.default_exchange.publish(aio_pika.Message(b"2"), "tea")
        try:
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"not kept"), "tea")
                raise ValueError("the order was cancelled")
        except ValueError as error:
            seen.append(plain(error))
        for _ in range(2):
            got = await queue.get(no_ack=True)
            assert got is not None
            seen.append(plain(got.body))
        return [*seen, await attempted(queue.get())]


@case
@awaited
async def aio_pika_declares_and_binds(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("shop", aio_pika.ExchangeType.TOPIC, auto_delete=True)
        one, other = await channel.declare_queue(exclusive=True), await channel.declare_queue(exclusive=True)
        seen = [plain(await one.bind(exchange, "tea.#")), plain(await other.bind(exchange, "cake.#"))]
        await exchange.publish(aio_pika.Message(b"1"), "tea.green")
        await exchange.publish(aio_pika.Message(b"2"), "cake.apple")
        for queue in (other, one):
            got = await queue.get()
            assert got is not None
            seen.append(plain([got.body, got.routing_key, got.exchange]))
            await got.reject(requeue=False)
        seen.append(plain(await one.purge()))
        seen.append(plain(await one.unbind(exchange, "tea.#")))
        seen.append(plain(await one.delete()))
        return [*seen, one.name != other.name]


@case
@awaited
async def aio_pika_channel_is_closed_by_the_broker(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        seen = [await attempted(channel.declare_queue("nothing", passive=True)), channel.is_closed]
        channel = await connection.channel()
        exchange = await channel.get_exchange("no-exchange", ensure=False)
        seen.append(await attempted(exchange.publish(aio_pika.Message(b""), "x")))
        return [*seen, channel.is_closed, connection.is_closed]


@case
@awaited
async def aio_pika_gets_answers_to_its_requests(url: str) -> Any:
    async with await aio_pika.connect_robust(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.declare_queue(exclusive=True)
        answers: list[Any] = []
        came = asyncio.Event()

        async def answer(message: AbstractIncomingMessage) -> None:
            async with message.process():
                answers.append(plain([message.delivery_tag, message.correlation_id, message.body]))
            came.set()

        tag = await queue.consume(answer)
        for number in range(3):
            came.clear()
            message = aio_pika.Message(b"request %d" % number, correlation_id=f"c{number}", reply_to=queue.name)
            await channel.default_exchange.publish(message, queue.name)
            await came.wait()
        seen = plain(await queue.cancel(tag))
        return [*answers, seen[0]]


@case
@awaited
async def aio_pika_loops_over_messages(url: str) -> Any:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("tea", exclusive=True)
        for number in range(2):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), "tea")
        seen = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    seen.append(plain([message.delivery_tag, message.body]))
                if len(seen) == 2:
                    break
        return seen


@case
@awaited
async def aio_pika_cannot_connect(url: str) -> Any:
    seen = [await attempted(aio_pika.connect("amqp://guest:guest@127.0.0.1:1/"))]
    seen.append(await attempted(aio_pika.connect(url.replace("guest:guest", "guest:wrong"))))
    return [*seen, await attempted(aio_pika.connect(url.replace("%2F", "nowhere")))]
