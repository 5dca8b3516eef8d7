"""Lines about MySQL and MariaDB. ``MARIADB`` in the environment is a database's URL for SQLAlchemy."""

from __future__ import annotations

import asyncio
import os
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


@LINES.add
def errors_of_the_server() -> Any:
    def look(engine: sa.Engine) -> Any:
        try:
            with engine.connect() as connection:
                return connection.exec_driver_sql("SELECT nothing FROM nowhere").all()
        except sa.exc.SQLAlchemyError as error:
            return [type(error), type(error.orig), error.orig.args]  # type: ignore[attr-defined]
        finally:
            engine.dispose()

    return look(_engine("pymysql"))
