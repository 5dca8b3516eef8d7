"""Workloads of drivers that an app uses itself, with no ORM above them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["DIRECT"]

_TAKEN = "INSERT INTO people (name) VALUES ('Ada')"
_PEOPLE = "SELECT id, name FROM people ORDER BY id"


def sqlite3_direct(servers: Servers) -> list[str]:
    import sqlite3

    file = Path(servers.folder, "direct.db")
    file.unlink(missing_ok=True)
    connection = sqlite3.connect(file)

    def filled() -> Any:
        connection.executescript(
            "DROP TABLE IF EXISTS people; CREATE TABLE people (id INTEGER PRIMARY KEY, name UNIQUE)"
        )
        with connection:
            return connection.executemany("INSERT INTO people (name) VALUES (?)", [("Ada",), ("Bob",)]).rowcount

    def rows() -> Any:
        connection.row_factory = sqlite3.Row
        cursor = connection.execute(_PEOPLE)
        first = tuple(cursor.fetchone())
        return first, [tuple(row) for row in cursor], cursor.description

    def by_function() -> Any:
        connection.create_function("twice", 1, lambda value: value * 2)
        return [tuple(row) for row in connection.execute("SELECT twice(name) FROM people")]

    def rolled_back() -> Any:
        made = connection.execute("INSERT INTO people (name) VALUES ('Cem')").lastrowid
        connection.rollback()
        return made, tuple(connection.execute("SELECT count(*) FROM people").fetchone())

    works = (filled, rows, by_function, rolled_back, partial(connection.execute, _TAKEN), connection.close)
    return [seen(work).partition(" object at ")[0] for work in works]


def psycopg_direct(servers: Servers) -> list[str]:
    import psycopg
    from psycopg.rows import dict_row

    connection = psycopg.connect(f"postgresql://{servers.postgres}")

    def rows() -> Any:
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(_PEOPLE)
            return cursor.fetchone(), cursor.fetchall(), [column.name for column in cursor.description or ()]

    def on_server() -> Any:
        with connection.transaction(), connection.cursor("people") as cursor:
            cursor.execute(_PEOPLE)
            return cursor.fetchone(), list(cursor)

    def inserted() -> Any:
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO people (name) VALUES (%s)", [("Cem",), ("Dia",)])
            return cursor.rowcount

    def taken() -> Any:
        with connection.transaction():
            return connection.execute(_TAKEN)

    def nobody() -> Any:
        return psycopg.connect(servers.nothing.replace("http", "postgresql"))

    return [seen(work) for work in (rows, on_server, inserted, taken, connection.commit, nobody, connection.close)]


def psycopg_direct_async(servers: Servers) -> list[str]:
    import psycopg

    async def main() -> list[str]:
        connection = await psycopg.AsyncConnection.connect(f"postgresql://{servers.postgres}")

        async def rows() -> Any:
            async with connection.cursor() as cursor:
                await cursor.execute(_PEOPLE)
                return await cursor.fetchone(), [row async for row in cursor]

        async def taken() -> Any:
            async with connection.transaction():
                return await connection.execute(_TAKEN)

        found = [await seen_async(work) for work in (rows, taken, connection.commit)]
        return [*found, await seen_async(connection.close)]

    return asyncio.run(main())


DIRECT: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (sqlite3_direct, psycopg_direct, psycopg_direct_async)
}
