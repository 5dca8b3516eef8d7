"""What all workloads have: where their servers are, and what an app saw, as plain text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Servers", "seen", "seen_async"]


@dataclass(frozen=True)
class Servers:
    """Where the servers are.

    Attributes:
        http: The address of a `tests.loopback.Loopback`.
        nothing: An address where nobody listens.
        redis: The URL of a Redis server.
        postgres: User, host and database of a PostgreSQL server, as a URL has them behind its scheme.
        folder: A folder for databases.
        broker: Where a broker is that is there in a replay, too: jobs or messages come from it.
        mysql: As ``postgres``, of a server of MariaDB.
        mongo: The URL of a server of MongoDB's protocol.
        grpc: The address of a server of gRPC.
        websocket: The URL of a server of WebSockets.
        amqp: The URL of a broker of AMQP.
        aws: The URL of a server that plays AWS.
        metadata: The URL of its metadata service, which gives credentials.
        kafka: Where a broker of Kafka's protocol listens.
    """

    http: str
    nothing: str
    redis: str
    postgres: str
    folder: str
    broker: str = ""
    mysql: str = ""
    mongo: str = ""
    grpc: str = ""
    websocket: str = ""
    amqp: str = ""
    aws: str = ""
    metadata: str = ""
    kafka: str = ""


def seen(call: Callable[[], Any]) -> str:
    try:
        value = call()
    except Exception as error:
        return f"raised {type(error).__module__}.{type(error).__qualname__}: {error}"
    return f"{type(value).__qualname__} {value!r}"


async def seen_async(call: Callable[[], Any]) -> str:
    try:
        value = await call()
    except Exception as error:
        return f"raised {type(error).__module__}.{type(error).__qualname__}: {error}"
    return f"{type(value).__qualname__} {value!r}"
