"""Lines about calls of clients with and without a plugin, several at once, in threads and in tasks.

``STEPS`` in the environment are groups of calls as JSON: those of a group are made at once. ``UPSTREAM`` is a
server's URL, ``REDIS_PORT`` a port on this machine, ``POSTGRES`` a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import aiohttp
import httpx
import psycopg2  # type: ignore[import-untyped]
import redis
import redis.asyncio
import requests
import sqlalchemy as sa

from tests.lines._line import Lines

STEPS = json.loads(os.environ.get("STEPS", "[]"))
UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
REDIS: dict[str, Any] = {"port": int(os.environ.get("REDIS_PORT", "1"))}
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
LINES = Lines()


def _by_sql(engine: sa.Engine, number: int) -> Any:
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT :n + 100"), {"n": number})


def _by_urllib(number: int) -> Any:
    with urllib.request.urlopen(f"{UPSTREAM}/users/7{number}") as answer:
        return answer.read()


def _by_a_socket(number: int) -> Any:
    host, _, port = UPSTREAM.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"GET /users/8%d HTTP/1.0\r\n\r\n" % number)
        return answer.read().rpartition(b"\r\n")[2]


def _by_psycopg2(number: int) -> Any:
    where: dict[str, Any] = {"user": POSTGRES.username, "dbname": POSTGRES.database, "port": POSTGRES.port or 5432}
    where["host"] = POSTGRES.query.get("host", POSTGRES.host)
    with closing(psycopg2.connect(**where)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s + 200", (number,))
        return cursor.fetchall()


WITHOUT_PLUGIN: dict[str, Callable[[int], Any]] = {
    "socket": _by_a_socket,
    "psycopg2": _by_psycopg2,
}


def _attempt(call: Callable[[int], Any], number: int) -> Any:
    """What a call gives, or the class of its error: the other ones go on."""
    try:
        return call(number)
    except Exception as error:
        return type(error)


@LINES.add
def in_threads() -> Any:
    client = redis.Redis(**REDIS)
    engine = sa.create_engine(POSTGRES.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    calls = {
        "httpx": lambda number: httpx.get(f"{UPSTREAM}/users/5{number}").json(),
        "web": lambda number: requests.get(f"{UPSTREAM}/users/6{number}", timeout=30).json(),
        "redis": lambda number: client.incr(f"threads:{number}"),
        "sql": lambda number: _by_sql(engine, number),
        "urllib": _by_urllib,
        **WITHOUT_PLUGIN,
    }
    with ThreadPoolExecutor(4) as pool, closing(client):
        client.flushdb()
        return [
            [future.result() for future in [pool.submit(_attempt, calls[name], number) for name, number in group]]
            for group in STEPS
        ]


@LINES.add
def in_tasks() -> Any:
    async def run() -> Any:
        client = redis.asyncio.Redis(**REDIS)
        engine = sa.create_engine(POSTGRES.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)

        async def get(number: int) -> Any:
            return (await web.get(f"{UPSTREAM}/users/5{number}")).json()

        async def get_by_aiohttp(number: int) -> Any:
            async with session.get(f"{UPSTREAM}/users/6{number}") as answer:
                return await answer.json()

        calls: dict[str, Callable[[int], Any]] = {
            "httpx": get,
            "web": get_by_aiohttp,
            "redis": lambda number: client.incr(f"tasks:{number}"),
            "sql": lambda number: asyncio.to_thread(_by_sql, engine, number),
            "urllib": lambda number: asyncio.to_thread(_by_urllib, number),
        }
        for name, call in WITHOUT_PLUGIN.items():
            calls[name] = lambda number, call=call: asyncio.to_thread(_attempt, call, number)  # type: ignore[misc]
        async with httpx.AsyncClient() as web, aiohttp.ClientSession() as session:
            await client.flushdb()
            found = [await asyncio.gather(*(calls[name](number) for name, number in group)) for group in STEPS]
            # redis-py 5.0.0 has only the older name.
            await getattr(client, "aclose", client.close)()
            return found

    return asyncio.run(run())
