"""The clients whose instructions are counted: each opens itself, and gives a function that makes so many calls.

`idle` counts what they cost outside sessions, and `recording` what it costs to record them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

Calls = Callable[[int], object]
"""Makes so many calls."""
ROWS = 1000
COMMANDS = 100


class Client(NamedTuple):
    """One client.

    Attributes:
        server: Which of `servers.SERVERS` it calls.
        plugin: Which of ours records it.
        opened: Opens the client, from the server's address and a folder, and gives what makes its calls.
        fewer: How many times fewer calls are made, since each is long.
    """

    server: str
    plugin: str
    opened: Callable[[str, Path], Calls]
    fewer: int = 1


def repeated(call: Callable[[], object]) -> Calls:
    def calls(number: int) -> None:
        for _ in range(number):
            call()

    return calls


def awaited(make: Callable[[], Awaitable[Callable[[], Awaitable[object]]]]) -> Calls:
    """The same for a client of asyncio's, which is made in its loop."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    call = loop.run_until_complete(_awaited(make))

    async def calls(number: int) -> None:
        for _ in range(number):
            await call()

    return lambda number: loop.run_until_complete(calls(number))


async def _awaited(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()


def httpx_get(address: str, _: Path) -> Calls:
    import httpx

    client, url = httpx.Client(trust_env=False), f"{address}/300"
    return repeated(lambda: client.get(url))


def httpx_async_get(address: str, _: Path) -> Calls:
    import httpx

    async def make() -> Callable[[], Awaitable[object]]:
        client = httpx.AsyncClient(trust_env=False)
        return lambda: client.get(f"{address}/300")

    return awaited(make)


def requests_get(address: str, _: Path) -> Calls:
    import requests

    session, url = requests.Session(), f"{address}/300"
    session.trust_env = False
    return repeated(lambda: session.get(url))


def urllib3_get(address: str, _: Path) -> Calls:
    import urllib3

    pool, url = urllib3.PoolManager(), f"{address}/300"
    return repeated(lambda: pool.request("GET", url))


def aiohttp_get(address: str, _: Path) -> Calls:
    import aiohttp

    async def make() -> Callable[[], Awaitable[object]]:
        session = aiohttp.ClientSession()

        async def call() -> None:
            async with session.get(f"{address}/300") as response:
                await response.read()

        return call

    return awaited(make)


def redis_get(address: str, _: Path) -> Calls:
    import redis

    client = redis.Redis(unix_socket_path=address)
    client.set("key", "some value of a user")
    return repeated(lambda: client.get("key"))


def redis_async_get(address: str, _: Path) -> Calls:
    import redis.asyncio

    async def make() -> Callable[[], Awaitable[object]]:
        client = redis.asyncio.Redis(unix_socket_path=address)
        await client.set("key", "some value of a user")
        return lambda: client.get("key")

    return awaited(make)


def redis_pipeline(address: str, _: Path) -> Calls:
    import redis

    client = redis.Redis(unix_socket_path=address)

    def call() -> None:
        pipeline = client.pipeline(transaction=False)
        for command in range(COMMANDS // 2):
            pipeline.set(f"key {command}", f"some value of {command}")
            pipeline.get(f"key {command}")
        assert len(pipeline.execute()) == COMMANDS

    return repeated(call)


def select(url: str) -> Calls:
    """`SELECT 1` over a connection of the pool."""
    import sqlalchemy

    engine, statement = sqlalchemy.create_engine(url), sqlalchemy.text("SELECT 1")

    def call() -> None:
        with engine.connect() as connection:
            connection.execute(statement).scalar()

    return repeated(call)


def sqlite_select(_: str, folder: Path) -> Calls:
    return select(f"sqlite:///{folder / 'database'}")


def psycopg_select(address: str, _: Path) -> Calls:
    return select(f"postgresql+psycopg://{address}")


def psycopg_select_within(address: str, _: Path) -> Calls:
    """In one transaction, so that its begin and its end, which are calls of their own, are not counted."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{address}")
    connection, statement = engine.connect(), sqlalchemy.text("SELECT 1")
    return repeated(lambda: connection.execute(statement).scalar())


def asyncpg_select(address: str, _: Path) -> Calls:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    async def make() -> Callable[[], Awaitable[object]]:
        engine = create_async_engine(f"postgresql+asyncpg://{address}")
        statement = sqlalchemy.text("SELECT 1")

        async def call() -> None:
            async with engine.connect() as connection:
                (await connection.execute(statement)).scalar()

        return call

    return awaited(make)


def asyncpg_direct(address: str, statement: str) -> Calls:
    """A statement over a connection that the app has opened itself."""
    import asyncpg

    async def make() -> Callable[[], Awaitable[object]]:
        connection = await asyncpg.connect(f"postgresql://{address}")
        return lambda: connection.fetch(statement)

    return awaited(make)


def asyncpg_one(address: str, _: Path) -> Calls:
    """`SELECT 1` by asyncpg itself."""
    return asyncpg_direct(address, "SELECT 1")


def asyncpg_rows(address: str, _: Path) -> Calls:
    """A SELECT of a thousand rows of five columns, by asyncpg itself."""
    columns = (
        "n, 'name of ' || n AS name, n / 3.0::float8 AS price, now() + n * interval '1 ms' AS at, n % 2 = 0 AS even"
    )
    return asyncpg_direct(address, f"SELECT {columns} FROM generate_series(1, {ROWS}) AS n")


def sqlite_rows(_: str, __: Path) -> Calls:
    """A SELECT of a thousand rows of five columns."""
    import sqlalchemy
    from sqlalchemy.pool import StaticPool

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(":memory:", check_same_thread=False)
        made.execute("CREATE TABLE items (id INTEGER, name TEXT, mail TEXT, price REAL, kind TEXT)")
        rows = [(at, f"name of {at}", f"user{at}@example.com", at * 1.5, "text") for at in range(ROWS)]
        made.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
        made.commit()
        return made

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    connection, statement = engine.connect(), sqlalchemy.text("SELECT id, name, mail, price, kind FROM items")

    def call() -> None:
        assert len(connection.execute(statement).all()) == ROWS

    return repeated(call)
