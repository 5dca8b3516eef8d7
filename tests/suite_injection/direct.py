"""Workloads of drivers that an app uses itself, with no ORM above them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["DIRECT", "DIRECT_MYSQL"]

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

    def in_turn() -> Any:
        given = connection.executemany("INSERT INTO people (name) VALUES (?)", ((name,) for name in ("Dora", "Eve")))
        return given.rowcount, list(connection.iterdump())

    def in_pieces() -> Any:
        if not hasattr(connection, "blobopen"):  # It came with Python 3.11.
            return None
        with connection.blobopen("people", "name", 1, readonly=True) as blob:
            return blob.read(2), len(blob)

    works = (filled, rows, by_function, rolled_back, in_turn, in_pieces, partial(connection.execute, _TAKEN))
    return [seen(work).partition(" object at ")[0] for work in (*works, connection.close)]


def aiosqlite_direct(servers: Servers) -> list[str]:
    import aiosqlite

    file = Path(servers.folder, "waiting.db")
    file.unlink(missing_ok=True)

    async def works() -> list[str]:
        connection = await aiosqlite.connect(file)

        async def filled() -> Any:
            await connection.executescript("CREATE TABLE people (id INTEGER PRIMARY KEY, name UNIQUE)")
            cursor = await connection.executemany("INSERT INTO people (name) VALUES (?)", [("Ada",), ("Bob",)])
            await connection.commit()
            return cursor.rowcount

        async def rows() -> Any:
            return [row async for row in await connection.execute(_PEOPLE)]

        each = (filled, rows, partial(connection.execute, _TAKEN), connection.close)
        return [(await seen_async(work)).partition(" object at ")[0] for work in each]

    return asyncio.run(works())


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


def psycopg2_direct(servers: Servers) -> list[str]:
    import psycopg2  # type: ignore[import-untyped]
    from psycopg2.extras import RealDictCursor, execute_values  # type: ignore[import-untyped]

    connection = psycopg2.connect(f"postgresql://{servers.postgres}")

    def rows() -> Any:
        with connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(_PEOPLE)
            found = cursor.fetchone(), cursor.fetchall(), [column.name for column in cursor.description]
            cursor.scroll(0, "absolute")
            return found, cursor.fetchmany(1), cursor.rownumber, cursor.query, cursor.statusmessage

    def on_server() -> Any:
        with connection.cursor("people") as cursor:
            cursor.execute(_PEOPLE)
            return cursor.fetchone(), list(cursor)

    def inserted() -> Any:
        with connection.cursor() as cursor:
            execute_values(cursor, "INSERT INTO people (name) VALUES %s", [("Cem",), ("Dia",)])
            cursor.executemany("SELECT %s", iter([(1,), (2,)]))
            connection.rollback()
            return cursor.rowcount, connection.status

    def copied() -> Any:
        with connection.cursor() as cursor:
            came = io.StringIO()
            cursor.copy_to(came, "people", columns=("name",))
            cursor.copy_from(io.StringIO("Eve\n"), "people", columns=("name",))
            connection.rollback()
            return came.getvalue()

    def told() -> Any:
        connection.set_session(isolation_level="SERIALIZABLE")
        return connection.poll(), connection.info.dbname, connection.isolation_level, connection.notices

    def taken() -> Any:
        with connection, connection.cursor() as cursor:
            cursor.execute(_TAKEN)

    def nobody() -> Any:
        return psycopg2.connect(servers.nothing.replace("http", "postgresql"))

    works = (told, rows, on_server, inserted, copied, taken, connection.commit, nobody, connection.close)
    return [seen(work) for work in works]


def asyncpg_direct(servers: Servers) -> list[str]:
    import asyncpg  # type: ignore[import-untyped,unused-ignore]

    async def main() -> list[str]:
        connection = await asyncpg.connect(f"postgresql://{servers.postgres}")

        async def rows() -> Any:
            return await connection.fetch(_PEOPLE), await connection.fetchval("SELECT count(*) FROM people")

        async def prepared() -> Any:
            statement = await connection.prepare("SELECT name FROM people WHERE id > $1 ORDER BY id")
            return await statement.fetch(0), await statement.fetchrow(1)

        async def by_cursor() -> Any:
            async with connection.transaction():
                return [row["name"] async for row in connection.cursor(_PEOPLE)]

        async def taken() -> Any:
            async with connection.transaction():
                return await connection.execute(_TAKEN)

        async def many() -> Any:
            transaction = connection.transaction()
            await transaction.start()
            await connection.executemany("INSERT INTO people (name) VALUES ($1)", [("Cem",), ("Dia",)])
            await connection.executemany("INSERT INTO people (name) VALUES ($1)", ([name] for name in ("Eve", "Fay")))
            await transaction.rollback()

        async def copied() -> Any:
            came: list[bytes] = []

            async def sink(data: bytes) -> None:
                came.append(data)

            told = [await connection.copy_from_query("SELECT name FROM people ORDER BY id", output=sink)]
            transaction = connection.transaction()
            await transaction.start()
            told.append(await connection.copy_records_to_table("people", records=[("Gil",)], columns=["name"]))
            told.append(await connection.copy_to_table("people", source=io.BytesIO(b"Hal\n"), columns=["name"]))
            await transaction.rollback()
            return told, came

        async def pooled() -> Any:
            async with asyncpg.create_pool(f"postgresql://{servers.postgres}", min_size=1, max_size=1) as pool:
                return await pool.fetchval("SELECT name FROM people ORDER BY id LIMIT 1")

        found = [await seen_async(work) for work in (rows, prepared, by_cursor, many, copied, taken, pooled)]
        return [*found, await seen_async(connection.close)]

    return asyncio.run(main())


def django_orm(servers: Servers) -> list[str]:
    import django
    from django.conf import settings

    file = Path(servers.folder, "shop.db")
    file.unlink(missing_ok=True)
    if not settings.configured:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
        settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["tests.django_shop"], USE_TZ=True)
        django.setup()

    from django.db import connection, transaction
    from django.db.models import Sum

    from tests.django_shop.models import Item, Order

    def made() -> Any:
        with connection.schema_editor() as editor:
            editor.create_model(Item)
            editor.create_model(Order)
        items = [Item(name=name, price=number, tags=["new"]) for number, name in enumerate(("cup", "pot", "tea"))]
        return [item.pk for item in Item.objects.bulk_create(items)]

    def rows() -> Any:
        found = Item.objects.filter(price__gte=1).values_list("name", "price", "code", "tags")
        return list(found), [item.name for item in Item.objects.iterator(chunk_size=2)]

    def saved() -> Any:
        with transaction.atomic():
            order = Order.objects.create(item=Item.objects.select_for_update().get(name="tea"), count=2)
            with transaction.atomic():
                Order.objects.all().delete()
                transaction.set_rollback(True)
        return order.pk, Order.objects.aggregate(Sum("count")), order.item.name

    def by_cursor() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM django_shop_item WHERE name > %s ORDER BY name", ["cup"])
            return cursor.fetchone(), list(cursor), cursor.description

    def taken() -> Any:
        return Item.objects.create(name="tea", price=1)

    return [seen(work) for work in (made, rows, saved, by_cursor, taken, connection.close)]


def mysqlconnector_direct(servers: Servers) -> list[str]:
    return _by_mysqlconnector(servers, use_pure=True)


def mysqlconnector_in_c(servers: Servers) -> list[str]:
    return _by_mysqlconnector(servers, use_pure=False)


def _by_mysqlconnector(servers: Servers, **options: Any) -> list[str]:
    import mysql.connector

    connection: Any = mysql.connector.connect(**_of_mysql(servers), **options)

    def rows() -> Any:
        found: list[Any] = []
        for kind in ({}, {"buffered": True}, {"dictionary": True}):
            with connection.cursor(**kind) as cursor:
                cursor.execute("SELECT name, born FROM people WHERE id > %s ORDER BY id", (0,))
                found += [cursor.fetchone(), cursor.fetchall(), cursor.description, cursor.rowcount]
        return found

    def inserted() -> Any:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO people (name) VALUES (%s)", [("Cem",), ("Dia",)])
            connection.rollback()
            return cursor.rowcount, connection.in_transaction, connection.get_server_info()

    def taken() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(_TAKEN)

    return [seen(work) for work in (rows, inserted, taken, connection.commit, connection.close)]


def aiomysql_direct(servers: Servers) -> list[str]:
    import aiomysql  # type: ignore[import-untyped,unused-ignore]

    return asyncio.run(_by_mysql_async(partial(aiomysql.connect, **_of_mysql(servers, "db"))))


def asyncmy_direct(servers: Servers) -> list[str]:
    import asyncmy

    return asyncio.run(_by_mysql_async(partial(asyncmy.connect, **_of_mysql(servers, "db"))))


async def _by_mysql_async(connect: Callable[[], Any]) -> list[str]:
    connection = await connect()

    async def rows() -> Any:
        async with connection.cursor() as cursor:
            await cursor.execute(_PEOPLE)
            return await cursor.fetchone(), await cursor.fetchall()

    async def inserted() -> Any:
        async with connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO people (name) VALUES (%s)", [("Cem",), ("Dia",)])
            return cursor.rowcount

    async def taken() -> Any:
        async with connection.cursor() as cursor:
            return await cursor.execute(_TAKEN)

    found = [await seen_async(work) for work in (rows, inserted, taken, connection.rollback)]
    connection.close()
    return found


def _of_mysql(servers: Servers, database: str = "database") -> dict[str, Any]:
    from sqlalchemy.engine import make_url

    url = make_url(f"mysql://{servers.mysql}")
    given = {"user": url.username, "password": url.password or "", "host": url.host, database: url.database}
    return {**given, **({"port": url.port} if url.port else {}), **url.query}


DIRECT: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work
    for work in (
        sqlite3_direct,
        aiosqlite_direct,
        psycopg_direct,
        psycopg_direct_async,
        psycopg2_direct,
        asyncpg_direct,
        django_orm,
    )
}
DIRECT_MYSQL: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (mysqlconnector_direct, mysqlconnector_in_c, aiomysql_direct, asyncmy_direct)
}
