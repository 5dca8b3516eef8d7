"""Lines about MySQL and MariaDB. ``MARIADB`` in the environment is a database's URL for SQLAlchemy."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import create_async_engine

from tests.lines._line import Lines

MARIADB = sa.make_url(os.environ.get("MARIADB", "mysql://nowhere"))
META = sa.MetaData()
DISHES = sa.Table(
    "dishes",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tags", mysql.SET("hot", "sweet", "vegan", "cheap")),
    sa.Column("name", sa.String(20)),
)
TAGS = {"vegan", "hot", "cheap"}
LINES = Lines()


def _engine(driver: str) -> sa.Engine:
    return sa.create_engine(MARIADB.set(drivername=f"mysql+{driver}"))


def _tables(engine: sa.Engine) -> None:
    META.drop_all(engine)
    META.create_all(engine)


def _values_of_sets(connection: sa.Connection) -> Any:
    made = connection.execute(DISHES.insert(), [{"tags": TAGS, "name": "soup"}, {"tags": {"hot"}, "name": "tea"}])
    found = connection.execute(sa.select(DISHES).order_by(DISHES.c.id)).all()
    return [made.rowcount, [tuple(row) for row in found]]


@LINES.add
def columns_of_the_type_set() -> Any:
    """SQLAlchemy writes the members of a Python set in the order that this process has."""
    found = []
    for driver in ("pymysql", "mysqldb"):
        if driver == "mysqldb" and "NO_MYSQLCLIENT" in os.environ:
            continue
        engine = _engine(driver)
        _tables(engine)
        with engine.begin() as connection:
            found.append(_values_of_sets(connection))
        engine.dispose()
    return found


@LINES.add
def columns_of_the_type_set_by_asyncio() -> Any:
    async def run(driver: str) -> Any:
        engine = create_async_engine(MARIADB.set(drivername=f"mysql+{driver}"))
        async with engine.begin() as connection:
            await connection.run_sync(META.drop_all)
            await connection.run_sync(META.create_all)
            found = await connection.run_sync(_values_of_sets)
        await engine.dispose()
        return found

    return [asyncio.run(run(driver)) for driver in ("aiomysql", "asyncmy")]


@LINES.add
def several_rows_at_once() -> Any:
    """Their parameters come from a set (``insertmanyvalues``): the ORM's way of an INSERT with RETURNING."""
    engine = _engine("pymysql")
    _tables(engine)
    with engine.begin() as connection:
        rows = [{"name": f"n{n}", "tags": TAGS - {"hot"}} for n in range(5)]
        made = connection.execute(DISHES.insert().returning(DISHES.c.id, DISHES.c.name), rows)
        found = sorted(tuple(row) for row in made)
    engine.dispose()
    return found


DRIVERS = ("pymysql", *(() if "NO_MYSQLCLIENT" in os.environ else ("mysqldb",)), "aiomysql", "asyncmy")


def _on(url: sa.URL, look: Callable[[sa.Connection], Any]) -> Any:
    """What a function sees on a new connection, or the error that SQLAlchemy makes of it."""

    async def by_asyncio() -> Any:
        asynchronous = create_async_engine(url, poolclass=sa.NullPool)
        async with asynchronous.connect() as connection:
            return await connection.run_sync(look)

    try:
        if url.get_driver_name() in ("aiomysql", "asyncmy"):
            return asyncio.run(by_asyncio())
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            return look(connection)
    except sa.exc.SQLAlchemyError as error:
        return error


@LINES.add
def errors_of_the_server() -> Any:
    found: dict[str, Any] = {}
    for driver in DRIVERS:
        url = MARIADB.set(drivername=f"mysql+{driver}")
        for statement in ("SELECT nothing FROM nowhere", "SELECT * FROM (SELECT 1) a JOIN", "KILL 4294967295"):
            error = _on(url, lambda connection, asked=statement: connection.exec_driver_sql(asked).all())  # type: ignore[misc]
            found[f"{driver}: {statement}"] = [error, type(error.orig), error.orig.args]
    return found


@LINES.add
def connections_that_nobody_takes() -> Any:
    """What SQLAlchemy and the app see of them: the driver's error, and what caused that."""
    found: dict[str, Any] = {}
    for driver in DRIVERS:
        url = sa.URL.create(f"mysql+{driver}", username="app", host="127.0.0.1", port=9, database="shop")
        error = _on(url, lambda connection: connection.exec_driver_sql("SELECT 1").all())
        found[driver] = [
            error,
            type(error.orig),
            error.orig.args,
            type(error.orig.__cause__),
            error.connection_invalidated,
        ]
    return found


@LINES.add
def rows_that_the_server_keeps() -> Any:
    """A cursor of another class of the driver's reads them as the app asks."""

    def look(connection: sa.Connection) -> Any:
        names = connection.connection.dbapi_connection.character_set_name()  # type: ignore[union-attr]
        result = connection.execution_options(stream_results=True).exec_driver_sql(
            "SELECT seq, seq * 2.5 AS price FROM seq_1_to_9 ORDER BY seq"
        )
        found = [names, type(result.cursor).__name__, [tuple(row) for row in result.fetchmany(2)]]
        found += [tuple(result.fetchone() or ()), [tuple(row) for row in result.partitions(4)]]
        return found

    return {driver: _on(MARIADB.set(drivername=f"mysql+{driver}"), look) for driver in DRIVERS}
