"""Workloads of PostgreSQL's drivers, which SQLAlchemy uses: with what their own functions register about types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

from tests.suite_injection.engines import by_async_engine, by_engine, inserting, raw
from tests.suite_injection.servers import Servers

__all__ = ["POSTGRES", "SCHEMA"]

SCHEMA = (
    "CREATE TYPE point3 AS (x int, y int, label text)",
    "CREATE TYPE mood AS ENUM ('SAD', 'OK')",
    "CREATE TYPE span AS RANGE (subtype = int4)",
    "CREATE TABLE people (id serial PRIMARY KEY, name text UNIQUE, password text, feels mood)",
    "INSERT INTO people (name, password, feels) VALUES ('Ada', 'Hm4kLq9sWe', 'OK'), ('Bob', 'Hm4kLq9sWf', 'SAD')",
)
"""What the workloads find in their database. They leave it as it was."""


@dataclass
class Point:
    x: int
    y: int
    label: str


class Mood(Enum):
    SAD = 1
    OK = 2


_SELECT = "SELECT id, name, feels, ROW(1, 2, 'a')::point3 AS at FROM people WHERE id > %s ORDER BY id"


def psycopg(servers: Servers) -> list[str]:
    import sqlalchemy as sa
    from psycopg.rows import namedtuple_row
    from psycopg.types import TypeInfo
    from psycopg.types.composite import CompositeInfo, register_composite
    from psycopg.types.enum import EnumInfo, register_enum

    def registered(connection: Any) -> Any:
        driver = connection.dbapi_connection
        composite, enum = CompositeInfo.fetch(driver, "point3"), EnumInfo.fetch(driver, "mood")
        assert composite is not None
        assert enum is not None
        register_composite(composite, driver, Point)
        register_enum(enum, driver, Mood)
        with connection.cursor() as cursor:
            cursor.execute(_SELECT, (0,))
            return composite.name, enum.labels, cursor.fetchall(), [column.name for column in cursor.description]

    def unknown(connection: Any) -> Any:
        return TypeInfo.fetch(connection.dbapi_connection, "nothing")

    def rows(connection: Any) -> Any:
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute("SELECT id, name FROM people ORDER BY id").fetchall()

    def selected(engine: Any) -> Any:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT name FROM people ORDER BY id"))]

    engine = sa.create_engine(f"postgresql+psycopg://{servers.postgres}")
    return by_engine(engine, *map(raw, (registered, unknown, rows)), selected)


def psycopg_async(servers: Servers) -> list[str]:
    from psycopg.types.composite import CompositeInfo

    async def fetched(engine: Any) -> Any:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            info: Any = await CompositeInfo.fetch(driver, "point3")
            return info.name, info.field_names

    return by_async_engine(f"postgresql+psycopg_async://{servers.postgres}", fetched)


def psycopg2(servers: Servers) -> list[str]:
    import sqlalchemy as sa

    extensions, extras, sql = (import_module(f"psycopg2.{name}") for name in ("extensions", "extras", "sql"))

    class Points(extras.CompositeCaster):  # type: ignore[misc,name-defined]
        def make(self, values: Any) -> Any:
            return Point(*values)

    def registered(connection: Any) -> Any:
        with connection.cursor() as cursor:
            caster = extras.register_composite("point3", cursor, factory=Points)
            ranges = extras.register_range("span", "Span", cursor)
            cursor.execute(_SELECT, (0,))
            first = cursor.fetchall()
            cursor.execute("SELECT '[1,4)'::span")
            return caster.name, ranges.name if hasattr(ranges, "name") else None, first, repr(cursor.fetchone())

    def quoted(connection: Any) -> Any:
        with connection.cursor() as cursor:
            name = extensions.quote_ident("people", cursor)
            extensions.register_type(extensions.UNICODE, cursor)
            cursor.execute(sql.SQL("SELECT name FROM {} ORDER BY id").format(sql.Identifier("people")))
            return name, cursor.fetchall()

    def unknown(connection: Any) -> Any:
        return extras.register_composite("nothing", connection.dbapi_connection)

    def rows(connection: Any) -> Any:
        with connection.cursor(cursor_factory=extras.NamedTupleCursor) as cursor:
            cursor.execute("SELECT id, name FROM people ORDER BY id")
            return cursor.fetchall()

    inserted = inserting([{"name": "Cem", "password": "Hm4kLq9sWg"}, {"name": "Dia"}])
    engine = sa.create_engine(f"postgresql+psycopg2://{servers.postgres}", executemany_mode="values_plus_batch")
    return by_engine(engine, *map(raw, (registered, quoted, unknown, rows)), inserted)


def asyncpg(servers: Servers) -> list[str]:
    import sqlalchemy as sa

    async def selected(engine: Any) -> Any:
        async with engine.connect() as connection:
            found = await connection.execute(sa.text("SELECT id, name FROM people WHERE id > :id"), {"id": 1})
            return [tuple(row) for row in found]

    return by_async_engine(f"postgresql+asyncpg://{servers.postgres}", selected)


POSTGRES: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (psycopg, psycopg_async, psycopg2, asyncpg)
}
