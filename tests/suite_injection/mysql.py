"""Workloads of MySQL's drivers, which SQLAlchemy uses. They need a server of MariaDB (`tests.servers.mariadb`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.suite_injection.direct import DIRECT_MYSQL
from tests.suite_injection.engines import by_async_engine, by_engine, inserting, raw
from tests.suite_injection.servers import Servers, seen

__all__ = ["MYSQL", "MYSQL_SCHEMA"]

MYSQL_SCHEMA = (
    "CREATE TABLE people (id int AUTO_INCREMENT PRIMARY KEY, name char(9) UNIQUE, password text, born datetime(6))",
    "INSERT INTO people (name, password, born) VALUES ('Ada', 'Hm4kLq9sWe', '1815-12-10 08:00:00.5')",
    "INSERT INTO people (name, password) VALUES ('Bob', 'Hm4kLq9sWf')",
)
"""What the workloads find in their database. They leave it as it was."""


def pymysql(servers: Servers) -> list[str]:
    import sqlalchemy as sa
    from pymysql.cursors import DictCursor, SSCursor  # type: ignore[import-untyped,unused-ignore]

    def dictionaries(connection: Any) -> Any:
        with connection.cursor(DictCursor) as cursor:
            count = cursor.execute("SELECT name, born FROM people WHERE id > %s ORDER BY id", (0,))
            return count, cursor.fetchall(), cursor.description

    def unbuffered(connection: Any) -> Any:
        with connection.cursor(SSCursor) as cursor:
            cursor.execute("SELECT name FROM people ORDER BY id")
            return cursor.fetchone(), [column[0] for column in cursor.description], cursor.fetchall()

    def of_connection(connection: Any) -> Any:
        driver = connection.dbapi_connection
        return driver.character_set_name(), driver.get_autocommit(), driver.ping(reconnect=False)

    def selected(engine: Any) -> Any:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT name, born FROM people ORDER BY id"))]

    def streamed(engine: Any) -> Any:
        with engine.connect() as connection:
            found = connection.execution_options(stream_results=True).execute(sa.text("SELECT name FROM people"))
            return tuple(found.fetchone() or ()), found.scalars().all()

    inserted = inserting([{"name": name, "password": "Hm4kLq9sWg"} for name in ("Cem", "Dia")])
    works = (*map(raw, (dictionaries, unbuffered, of_connection)), selected, streamed, inserted)
    return by_engine(sa.create_engine(f"mysql+pymysql://{servers.mysql}"), *works)


def aiomysql(servers: Servers) -> list[str]:
    import sqlalchemy as sa

    async def selected(engine: Any) -> Any:
        async with engine.connect() as connection:
            found = await connection.execute(sa.text("SELECT id, born FROM people WHERE id > :id"), {"id": 0})
            return [tuple(row) for row in found]

    async def changed(engine: Any) -> Any:
        async with engine.connect() as connection:
            made = await connection.execute(sa.text("UPDATE people SET password = :new"), {"new": "Hm4kLq9sWh"})
            await connection.rollback()
            return made.rowcount

    return by_async_engine(f"mysql+aiomysql://{servers.mysql}", selected, changed)


def _place(servers: Servers) -> dict[str, Any]:
    import sqlalchemy as sa

    url = sa.make_url(f"mysql://{servers.mysql}")
    found = {"host": url.host or "localhost", "user": url.username, "password": url.password or "", **url.query}
    return {**found, "database": url.database, **({"port": url.port} if url.port else {})}


def _by_cursors(connect: Callable[[], Any], cursors: Any) -> list[str]:
    """What an app sees that uses a driver itself."""

    def selected(connection: Any) -> Any:
        found: list[Any] = []
        for kind in (cursors.Cursor, cursors.DictCursor, cursors.SSCursor):
            with connection.cursor(kind) as cursor:
                found += [cursor.execute("SELECT name, born FROM people WHERE id > %s ORDER BY id", (0,))]
                found += [cursor.fetchone(), cursor.fetchall(), cursor.description]
        return found

    def changed(connection: Any) -> Any:
        with connection.cursor() as cursor:
            rows = [("Cem", "Hm4kLq9sWg"), ("Dia", "Hm4kLq9sWg")]
            found = [cursor.executemany("INSERT INTO people (name, password) VALUES (%s, %s)", rows), cursor.rowcount]
        return [*found, connection.rollback()]

    def refused(connection: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO people (name) VALUES ('Ada')")

    connection = connect()
    found = [seen(partial(work, connection)) for work in (selected, changed, refused)]
    connection.commit()
    connection.close()
    return found


def pymysql_itself(servers: Servers) -> list[str]:
    import pymysql  # type: ignore[import-untyped,unused-ignore]

    return _by_cursors(lambda: pymysql.connect(**_place(servers)), pymysql.cursors)


def mysqlclient_itself(servers: Servers) -> list[str]:
    from MySQLdb import connections, cursors  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return _by_cursors(lambda: connections.Connection(**_place(servers)), cursors)


MYSQL: dict[str, Callable[[Servers], list[str]]] = {
    **{work.__name__: work for work in (pymysql, aiomysql, pymysql_itself, mysqlclient_itself)},
    **DIRECT_MYSQL,
}
