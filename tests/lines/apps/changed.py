"""Lines of an app that was changed after it was recorded: ``CHANGED`` in the environment says so.

``UPSTREAM`` is a server's URL, ``REDIS_PORT`` a port on this machine, ``POSTGRES`` a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp
import httpx
import redis
import sqlalchemy as sa
from psycopg.types import TypeInfo

from tests.contract.aiohttp_oddities import OwnRequest
from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
CHANGED = "CHANGED" in os.environ
NAME = ("_",) if int(redis.__version__.partition(".")[0]) < 6 else ()
"""What a pool wants to know with redis-py 5, and warns of later."""
LINES = Lines()


def _post(number: int, source: str) -> Any:
    values = {"order": number, "n": 1, "build": "b-2" if CHANGED else "b-1", "node": {"shard": 5 if CHANGED else 4}}
    return httpx.post(f"{UPSTREAM}/v1/{source}", json=values).status_code


@LINES.add
def values_that_change() -> Any:
    return _post(7, "orders")


@LINES.add
def other_values_that_change() -> Any:
    return _post(8, "bills")


def _redis() -> Any:
    return redis.Redis(port=int(os.environ.get("REDIS_PORT", "1")))


@LINES.add
def another_users_key() -> Any:
    with _redis() as client:
        return client.get("user:8" if CHANGED else "user:7")


@LINES.add
def replies_that_were_never_read() -> Any:
    client = _redis()
    connection = client.connection_pool.get_connection(*NAME)
    connection.send_command("SET", "unread", "value")
    try:
        return connection.read_response() if CHANGED else None
    finally:
        connection.disconnect()
        client.close()


@LINES.add
def calls_after_the_last_answer() -> Any:
    for _ in range(2 if CHANGED else 1):
        found = httpx.get(f"{UPSTREAM}/users/1").json()
    return found


@LINES.add
def requests_that_nobody_can_read() -> Any:
    async def ask() -> Any:
        async with (
            aiohttp.ClientSession(request_class=OwnRequest) as client,
            client.get(f"{UPSTREAM}/users/2") as response,
        ):
            return await response.json()

    return asyncio.run(ask())


def _connection(driver: str) -> Any:
    return sa.create_engine(POSTGRES.set(drivername=f"postgresql+{driver}"), poolclass=sa.NullPool).connect()


@LINES.add
def prepared_transactions_by_psycopg() -> Any:
    with _connection("psycopg") as connection:
        return connection.connection.tpc_recover()


@LINES.add
def prepared_transactions_by_psycopg2() -> Any:
    with _connection("psycopg2") as connection:
        return connection.connection.tpc_recover()


@LINES.add
def methods_that_were_not_recorded() -> Any:
    with _connection("psycopg2") as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT 1")
        found = hasattr(cursor, "mogrify"), cursor.fetchall()
        return (*found, cursor.mogrify("SELECT %s", (2,))) if CHANGED else (*found, b"SELECT 2")


@LINES.add
def types_that_were_not_asked_for() -> Any:
    with _connection("psycopg") as connection:
        names = ["uuid", "inet"] if CHANGED else ["uuid"]
        found = [TypeInfo.fetch(connection.connection.dbapi_connection, name) for name in names]
        return [info and info.oid for info in found][:1]
