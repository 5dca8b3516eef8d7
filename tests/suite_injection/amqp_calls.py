"""A workload of a client of AMQP: pika, blocking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen

__all__ = ["AMQP"]

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


AMQP: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (pika_blocking,)}
