"""Lines about transactions: how they begin and end, on SQLite and by each driver of PostgreSQL.

``POSTGRES`` in the environment is a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from tests.lines._line import Lines

POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
LINES = Lines()
SYNC = ("sqlite", "psycopg", "psycopg2")
ASYNC = ("asyncpg", "psycopg")
COUNT = sa.text("SELECT count(*) FROM entry")
INSERT = sa.text("INSERT INTO entry VALUES (:id)")


def _url(driver: str) -> sa.URL:
    return sa.make_url("sqlite://") if driver == "sqlite" else POSTGRES.set(drivername=f"postgresql+{driver}")


def _on_each(work: Callable[[sa.Engine], Any], *drivers: str, **options: Any) -> dict[str, Any]:
    """What a function sees by each driver, in a database with an empty table."""
    found = {}
    for driver in drivers or SYNC:
        engine = sa.create_engine(_url(driver), **options)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS entry"))
            connection.execute(sa.text("CREATE TABLE entry (id INTEGER PRIMARY KEY)"))
        found[driver] = work(engine)
        engine.dispose()
    return found


def _outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except sa.exc.DBAPIError as error:
        return type(error), type(error.orig), str(error.orig)


@LINES.add
def committed_and_rolled_back() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.begin() as connection:
            connection.execute(INSERT, {"id": 1})
            connection.execute(INSERT, {"id": 2})
        with engine.connect() as connection:
            connection.execute(INSERT, {"id": 3})
            connection.rollback()
            connection.execute(INSERT, {"id": 4})
            connection.commit()
            return connection.execute(COUNT).scalar()

    return _on_each(work)


@LINES.add
def without_a_statement() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.begin():
            pass
        with engine.connect() as connection:
            connection.begin()
            connection.rollback()
            with connection.begin():
                return connection.execute(COUNT).scalar()

    return _on_each(work)


@LINES.add
def failing_at_commit() -> Any:
    """A deferred constraint is checked at the end of the transaction, so that COMMIT is what fails."""

    def work(engine: sa.Engine) -> Any:
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS child"))
            reference = "REFERENCES entry (id) DEFERRABLE INITIALLY DEFERRED"
            connection.execute(sa.text(f"CREATE TABLE child (entry INTEGER {reference})"))

        def orphan() -> None:
            with engine.begin() as connection:
                if engine.dialect.name == "sqlite":
                    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
                connection.execute(sa.text("INSERT INTO child VALUES (7)"))

        if engine.dialect.name == "sqlite":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("PRAGMA foreign_keys = ON"))
        found = [_outcome(orphan), _outcome(orphan)]
        with engine.begin() as connection:
            found.append(connection.execute(sa.text("SELECT count(*) FROM child")).scalar())
            connection.execute(sa.text("DROP TABLE child"))
        return found

    return _on_each(work)


@LINES.add
def failing_to_serialize() -> Any:
    """Two transactions read what the other one writes: PostgreSQL refuses the second, at its COMMIT or before."""

    def work(engine: sa.Engine) -> Any:
        first, second = (engine.connect().execution_options(isolation_level="SERIALIZABLE") for _ in range(2))
        with first, second:
            seen = [connection.execute(COUNT).scalar() for connection in (first, second)]
            first.execute(INSERT, {"id": 1})
            second.execute(INSERT, {"id": 2})
            first.commit()
            seen.append(_outcome(second.commit))
            second.rollback()
            return [*seen, first.execute(COUNT).scalar()]

    return _on_each(work, "psycopg", "psycopg2")


@LINES.add
def interleaved_on_two_connections() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.connect() as first, engine.connect() as second:
            found = [first.execute(COUNT).scalar(), second.execute(COUNT).scalar()]
            first.execute(INSERT, {"id": 1})
            second.execute(INSERT, {"id": 2})
            second.rollback()
            first.commit()
            return [*found, second.execute(COUNT).scalar()]

    return _on_each(work, "psycopg", "psycopg2")


@LINES.add
def savepoints() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.connect() as connection:
            connection.execute(INSERT, {"id": 1})
            with connection.begin_nested():
                connection.execute(INSERT, {"id": 2})
            inner = connection.begin_nested()
            connection.execute(INSERT, {"id": 3})
            inner.rollback()
            connection.commit()
            return connection.execute(COUNT).scalar()

    return _on_each(work)


@LINES.add
def autocommit() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.connect() as connection:
            connection.execute(INSERT, {"id": 1})
            connection.rollback()
            level = connection.get_isolation_level()
            return level, connection.execute(COUNT).scalar()

    return _on_each(work, isolation_level="AUTOCOMMIT")


@LINES.add
def two_phases() -> Any:
    def work(engine: sa.Engine) -> Any:
        with engine.connect() as connection:
            for number, ends in enumerate(("commit", "rollback"), 1):
                transaction = connection.begin_twophase(f"line {number}")
                connection.execute(INSERT, {"id": number})
                transaction.prepare()
                getattr(transaction, ends)()
            return connection.execute(COUNT).scalar()

    return _on_each(work, "psycopg", "psycopg2")


@LINES.add
def left_to_the_pool() -> Any:
    """A pool rolls back what comes back to it in a transaction; the next one to use the connection begins anew."""

    def work(engine: sa.Engine) -> Any:
        found = []
        for _ in range(2):
            raw = engine.raw_connection()
            cursor = raw.cursor()
            cursor.execute("INSERT INTO entry VALUES (1)")
            cursor.close()
            raw.close()
            with engine.begin() as connection:
                found.append(connection.execute(COUNT).scalar())
        return found

    return _on_each(work, pool_size=1)


@LINES.add
def of_raw_connections() -> Any:
    def work(engine: sa.Engine) -> Any:
        raw = engine.raw_connection()
        cursor = raw.cursor()
        for number, end in enumerate((raw.commit, raw.rollback, raw.commit)):
            cursor.execute(f"INSERT INTO entry VALUES ({number})")
            end()
        cursor.execute("SELECT count(*) FROM entry")
        found = cursor.fetchall()
        cursor.close()
        raw.close()
        return [tuple(row) for row in found]

    return _on_each(work)


@LINES.add
def of_the_orm() -> Any:
    def work(engine: sa.Engine) -> Any:
        with Session(engine) as session:
            session.execute(INSERT, {"id": 1})
            session.commit()
            session.execute(INSERT, {"id": 2})
            session.rollback()
            with session.begin():
                return session.execute(COUNT).scalar()

    return _on_each(work)


@LINES.add
def of_asyncio() -> Any:
    async def work(driver: str) -> Any:
        engine = create_async_engine(_url(driver))
        async with engine.begin() as connection:
            await connection.execute(sa.text("DROP TABLE IF EXISTS entry"))
            await connection.execute(sa.text("CREATE TABLE entry (id INTEGER PRIMARY KEY)"))
        async with engine.connect() as first, engine.connect() as second:
            await first.execute(INSERT, {"id": 1})
            await second.execute(INSERT, {"id": 2})
            await second.rollback()
            await first.commit()
            found = (await second.execute(COUNT)).scalar()
        await engine.dispose()
        return found

    return {driver: asyncio.run(work(driver)) for driver in ASYNC}


@LINES.add
def begun_by_a_listener() -> Any:
    """As SQLAlchemy's documentation advises for SQLite, an app sends BEGIN by itself."""

    def work(engine: sa.Engine) -> Any:
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SELECT 'begun'"))
        with engine.begin() as connection:
            connection.execute(INSERT, {"id": 1})
        with engine.connect() as connection:
            return connection.execute(COUNT).scalar()

    return _on_each(work)
