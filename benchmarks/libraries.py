"""The client libraries: how each opens a client, and makes one of the calls of `workload`.

Imported by `worker` in the interpreter that is measured, so nothing but the standard library is imported at the top.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from workload import CALLS, SIZES, Operation, value

Place = tuple[str, str]
"""Where the calls go: the server's address, and a name that is this subject's alone."""


class Library(NamedTuple):
    """One client library.

    Attributes:
        server: Which of `servers.SERVERS` it calls.
        plugin: Its name in the packages that record.
        client: Makes a client of a place; what a subject needs in its place comes as well. It calls nobody.
        call: Makes one call and gives its answer; an awaitable where the library is one of asyncio's.
        is_async: Whether it is.
        inside: Opens what the calls of one batch need besides the client, within the cassette.
        close: Ends the client.
        keeps_client: One client makes all batches, as a service has one.
        fill: Puts the values that are asked for into the server.
        empty: Takes them out again.
    """

    server: str
    plugin: str
    client: Callable[[Place, Any], Any]
    call: Callable[[Any, Place, Operation], Any]
    is_async: bool = False
    inside: Callable[[Any], AbstractContextManager[Any]] = contextlib.nullcontext
    close: Callable[[Any], Any] = lambda client: client.close()
    keeps_client: bool = False
    fill: Callable[[Place], None] = lambda place: None
    empty: Callable[[Place], None] = lambda place: None


def expected(library: Library, operation: Operation) -> bytes:
    """What the server answers."""
    return operation.answer if library.server == "http" else value(len(operation.answer), operation.number)


def key(operation: Operation) -> int:
    """The number under which a database has what an operation asks for."""
    return len(operation.answer) * 100 + operation.number


def _values() -> list[tuple[int, bytes]]:
    return [(size * 100 + at, value(size, at)) for name, size in SIZES.items() for at in range(CALLS[name])]


def _httpx(place: Place, transport: Any) -> Any:
    import httpx

    return httpx.Client(transport=transport, trust_env=False)


def _httpx_async(place: Place, transport: Any) -> Any:
    import httpx

    return httpx.AsyncClient(transport=transport, trust_env=False)


def _httpx_call(client: Any, place: Place, operation: Operation) -> Any:
    response = client.request(operation.method, place[0] + operation.path, content=operation.body)
    return response.content if response.status_code == 200 else response


async def _httpx_async_call(client: Any, place: Place, operation: Operation) -> Any:
    response = await client.request(operation.method, place[0] + operation.path, content=operation.body)
    return response.content if response.status_code == 200 else response


def _requests(place: Place, _: Any) -> Any:
    import requests

    session = requests.Session()
    session.trust_env = False
    return session


def _requests_call(client: Any, place: Place, operation: Operation) -> Any:
    response = client.request(operation.method, place[0] + operation.path, data=operation.body)
    return response.content if response.status_code == 200 else response


def _aiohttp(place: Place, _: Any) -> Any:
    import aiohttp

    return aiohttp.ClientSession()


async def _aiohttp_call(client: Any, place: Place, operation: Operation) -> Any:
    async with client.request(operation.method, place[0] + operation.path, data=operation.body) as response:
        return await response.read() if response.status == 200 else response


def _engine(place: Place, engine: Any) -> Any:
    import sqlalchemy

    return engine or sqlalchemy.create_engine(f"postgresql+psycopg://{place[0]}")


def _sql_call(connection: Any, place: Place, operation: Operation) -> Any:
    from sqlalchemy import text

    found = connection.execute(text(f"SELECT value FROM {place[1]} WHERE id = :id"), {"id": key(operation)})
    answer = found.scalar_one()
    return answer.encode() if isinstance(answer, str) else answer


def fill_sql(place: Place, engine: Any = None) -> None:
    """Make a table that has the values."""
    from sqlalchemy import text

    filling = _engine(place, engine)
    with filling.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {place[1]}"))
        connection.execute(text(f"CREATE TABLE {place[1]} (id INTEGER PRIMARY KEY, value TEXT)"))
        rows = [{"id": at, "value": stored.decode()} for at, stored in _values()]
        connection.execute(text(f"INSERT INTO {place[1]} VALUES (:id, :value)"), rows)
    if engine is None:
        filling.dispose()


def _empty_sql(place: Place) -> None:
    from sqlalchemy import text

    engine = _engine(place, None)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {place[1]}"))
    engine.dispose()


def _redis(place: Place, client: Any) -> Any:
    import redis

    return client or redis.Redis(unix_socket_path=place[0])


def _redis_call(client: Any, place: Place, operation: Operation) -> Any:
    return client.get(f"{place[1]}:{key(operation)}")


def fill_redis(place: Place, client: Any = None) -> None:
    """Set the values."""
    filling = _redis(place, client)
    filling.mset({f"{place[1]}:{at}": stored for at, stored in _values()})


def _empty_redis(place: Place) -> None:
    client = _redis(place, None)
    client.delete(*(f"{place[1]}:{at}" for at, _ in _values()))
    client.close()


LIBRARIES = {
    "httpx": Library("http", "httpx", _httpx, _httpx_call),
    "httpx, asyncio": Library(
        "http", "httpx", _httpx_async, _httpx_async_call, is_async=True, close=lambda client: client.aclose()
    ),
    "requests": Library("http", "requests", _requests, _requests_call),
    "aiohttp": Library("http", "aiohttp", _aiohttp, _aiohttp_call, is_async=True),
    "SQLAlchemy": Library(
        "postgresql",
        "sqlalchemy",
        _engine,
        _sql_call,
        inside=lambda engine: engine.connect(),
        close=lambda engine: engine.dispose(),
        keeps_client=True,
        fill=fill_sql,
        empty=_empty_sql,
    ),
    "redis": Library("redis", "redis", _redis, _redis_call, keeps_client=True, fill=fill_redis, empty=_empty_redis),
}
"""By the name that the tables have."""
