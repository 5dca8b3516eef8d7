"""What apps do with aiosqlite alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import aiosqlite

from tests.contract.direct_cases import Case
from tests.contract.framework import run_async
from tests.contract.sql_observation import seen

__all__ = ["AIOSQLITE_CASES"]

AIOSQLITE_CASES: dict[str, Case] = {}


class Database(Protocol):
    """A file."""

    def connect(self, **options: Any) -> aiosqlite.Connection:
        """Open a connection."""


def on_aiosqlite(case: Callable[[Database], Awaitable[Any]]) -> Case:
    """Add a case."""

    def run(database: Any) -> Any:
        return run_async(case(database))  # type: ignore[arg-type]

    AIOSQLITE_CASES[case.__name__] = run  # type: ignore[attr-defined]
    return run


async def attempt(waiting: Awaitable[Any]) -> Any:
    """What something that is awaited gives, or what it raises."""
    try:
        return seen(await waiting)
    except Exception as error:
        return seen(error)


async def items(connection: aiosqlite.Connection, rows: int = 0) -> None:
    """A fresh table, with some rows in it."""
    await connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price INTEGER)")
    values = [(f"item {number}", number * 10) for number in range(1, rows + 1)]
    await connection.executemany("INSERT INTO item (name, price) VALUES (?, ?)", values)
    await connection.commit()


@on_aiosqlite
async def select_insert_update_delete(database: Database) -> Any:
    found: list[Any] = []
    async with database.connect() as connection:
        await items(connection)
        for text, values in (
            ("INSERT INTO item (name, price) VALUES (?, ?)", ("tea", 3)),
            ("SELECT * FROM item", ()),
            ("UPDATE item SET price = :price WHERE name = :name", {"price": 4, "name": "tea"}),
            ("SELECT price FROM item WHERE name = ?", ["tea"]),
            ("DELETE FROM item", None),
            ("SELECT * FROM item", ()),
        ):
            cursor = await connection.execute(text, values)
            columns = [column[0] for column in cursor.description or ()]
            found.append([cursor.rowcount, cursor.lastrowid, columns, seen(await cursor.fetchall())])
            found.append([connection.in_transaction, connection.total_changes])
            await cursor.close()
        await connection.commit()
    return found


@on_aiosqlite
async def fetches_of_each_kind(database: Database) -> Any:
    async with database.connect() as connection:
        await items(connection, 9)
        async with connection.execute("SELECT id, name FROM item ORDER BY id") as cursor:
            cursor.arraysize = 2
            found = [await cursor.fetchone(), await cursor.fetchmany(), await cursor.fetchmany(3), cursor.arraysize]
            found += [await cursor.fetchall(), await cursor.fetchone(), await cursor.fetchall()]
        cursor = await connection.cursor()
        found.append(await cursor.fetchone())
        await cursor.execute("SELECT name FROM item ORDER BY id")
        found += [row async for row in cursor]
        found += [await connection.execute_fetchall("SELECT count(*) FROM item")]
        found += [await connection.execute_insert("INSERT INTO item (name) VALUES (?)", ("last",))]
    return seen(found)


@on_aiosqlite
async def half_read_and_let_go(database: Database) -> Any:
    found: list[Any] = []
    async with aiosqlite.connect(":memory:") as unused, database.connect(iter_chunk_size=2) as connection:
        found.append(unused.in_transaction)
        await items(connection, 5)
        async for row in await connection.execute("SELECT name FROM item ORDER BY id"):
            found.append(row)
            if len(found) == 4:
                break
        found.append(await connection.execute_fetchall("SELECT count(*) FROM item"))
    return seen(found)


@on_aiosqlite
async def commit_and_rollback(database: Database) -> Any:
    found: list[Any] = []
    async with database.connect() as connection, database.connect() as other:
        await items(connection)
        for name, end in (("kept", connection.commit), ("gone", connection.rollback)):
            await connection.execute("INSERT INTO item (name) VALUES (?)", (name,))
            found += [await other.execute_fetchall("SELECT name FROM item ORDER BY id"), connection.in_transaction]
            await end()
            found.append(connection.in_transaction)
            found.append(await other.execute_fetchall("SELECT name FROM item ORDER BY id"))
    return seen(found)


@on_aiosqlite
async def isolation_levels(database: Database) -> Any:
    found: list[Any] = []
    async with database.connect(isolation_level=None) as connection:
        await connection.execute("CREATE TABLE t (n)")
        found += [connection.isolation_level, connection.in_transaction]
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("INSERT INTO t VALUES (1)")
        found.append(connection.in_transaction)
        await connection.rollback()
        found.append(connection.in_transaction)
        connection.isolation_level = "EXCLUSIVE"
        await connection.execute("INSERT INTO t VALUES (2)")
        found += [connection.isolation_level, connection.in_transaction]
    async with database.connect() as connection:
        found += await connection.execute_fetchall("SELECT * FROM t")
    return seen(found)


@on_aiosqlite
async def errors(database: Database) -> Any:
    # First, as its thread ends a little later, and needs the loop for that.
    found: list[Any] = [await attempt(database.connect(fails=True))]
    async with database.connect() as connection:
        await items(connection, 1)
        for text, values in (
            ("SELECT * FROM nowhere", ()),
            ("INSERT INTO item (name) VALUES (?)", ("item 1",)),
            ("INSERT INTO item (name) VALUES (?)", ()),
        ):
            found.append(await attempt(connection.execute(text, values)))
        found.append(await attempt(connection.executescript("SELECT 1; SELECT * FROM nowhere")))
        await connection.rollback()
        found += await connection.execute_fetchall("SELECT count(*) FROM item")
    found.append(await attempt(connection.execute("SELECT 1")))
    return seen(found)


@on_aiosqlite
async def row_factories(database: Database) -> Any:
    query = "SELECT id, name FROM item ORDER BY id"
    found: list[Any] = []
    async with database.connect() as connection:
        await items(connection, 3)
        for factory in (sqlite3.Row, lambda _, row: list(row), None):
            connection.row_factory = factory  # type: ignore[assignment]
            found.append(connection.row_factory is factory)
            rows = [row async for row in await connection.execute(query)]
            found += [type(rows[0]).__name__, *(dict(row) if isinstance(row, sqlite3.Row) else row for row in rows)]
        cursor = await connection.cursor()
        cursor.row_factory = lambda _, row: row[0]  # type: ignore[assignment]
        await cursor.execute(query)
        found.append(await cursor.fetchall())
        connection.text_factory = bytes
        found += await connection.execute_fetchall("SELECT name FROM item")
    return seen(found)


@on_aiosqlite
async def functions_of_the_app(database: Database) -> Any:
    async with database.connect() as connection:
        await connection.create_function("twice", 1, lambda value: value * 2, deterministic=True)
        await connection.set_trace_callback(None)  # type: ignore[arg-type]
        await connection.set_progress_handler(lambda: 0, 1000)
        return seen(await connection.execute_fetchall("SELECT twice(?)", (21,)))


@on_aiosqlite
async def scripts_and_a_dump(database: Database) -> Any:
    async with database.connect() as connection:
        await connection.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (7), (8); CREATE INDEX i ON t (n)")
        return [line async for line in connection.iterdump()]


@on_aiosqlite
async def tasks_side_by_side(database: Database) -> Any:
    async with database.connect() as connection, database.connect(reads=True) as reading:
        await items(connection, 4)

        async def one(number: int) -> Any:
            chosen = connection if number % 2 else reading
            return await chosen.execute_fetchall("SELECT name FROM item WHERE id = ?", (number,))

        found: list[Any] = list(await asyncio.gather(*map(one, range(1, 5))))
        task = asyncio.create_task(one(1))
        await asyncio.sleep(0)
        task.cancel()
        found += [await attempt(reading.execute("DELETE FROM item")), task.cancelled()]
    return seen(found)


@on_aiosqlite
async def what_objects_look_like(database: Database) -> Any:
    async with database.connect() as connection:
        cursor = await connection.execute("SELECT 1 AS one")
        found = [type(connection) is aiosqlite.Connection, type(cursor) is aiosqlite.Cursor, cursor.description]
        found += [isinstance(cursor.connection, sqlite3.Connection), isinstance(connection._conn, sqlite3.Connection)]
        await connection.interrupt()
    return seen(found)
