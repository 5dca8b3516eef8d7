"""What apps do with engines: pools, events, dispose, streams. Each case makes its engines from a URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import sqlalchemy as sa
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload

from tests.contract.sql_cases import Author, Base, Book, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["ASYNC_CASES", "ENGINE_CASES"]

ENGINE_CASES: dict[str, Callable[[sa.URL], Any]] = {}
ASYNC_CASES: dict[str, Callable[[sa.URL], Coroutine[Any, Any, Any]]] = {}


def _sync(case: Callable[[sa.URL], Any]) -> Callable[[sa.URL], Any]:
    ENGINE_CASES[case.__name__] = case
    return case


def _async(case: Callable[[sa.URL], Coroutine[Any, Any, Any]]) -> Callable[[sa.URL], Any]:
    ASYNC_CASES[case.__name__] = case
    return case


def _filled(engine: sa.Engine, rows: int = 5) -> sa.Table:
    with engine.connect() as connection:
        return items(connection, rows)


@_sync
def pools_of_every_kind(url: sa.URL) -> Any:
    found: list[Any] = []
    table = None
    for kind in (pool.QueuePool, pool.NullPool, pool.StaticPool, pool.SingletonThreadPool, pool.AssertionPool):
        engine = sa.create_engine(url, poolclass=kind)
        if table is None:
            table = _filled(engine)
        for _ in range(3):
            with engine.connect() as connection:
                found.append(connection.scalar(sa.select(sa.func.count()).select_from(table)))
        engine.dispose()
        with engine.connect() as connection:
            found.append(seen(connection.execute(sa.select(table.c.id).limit(1)).scalar()))
        engine.dispose()
    return found


@_sync
def pre_ping_and_recycling(url: sa.URL) -> Any:
    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=1, pool_recycle=3600)
    table = _filled(engine)
    found: list[Any] = []
    for _ in range(3):
        with engine.connect() as connection:
            found.append(connection.scalar(sa.select(sa.func.count()).select_from(table)))
    connections = [engine.connect() for _ in range(3)]
    found.append(engine.pool.status())  # type: ignore[no-untyped-call]
    connections[0].invalidate()
    for connection in connections:
        connection.close()
    found.append(engine.pool.status())  # type: ignore[no-untyped-call]
    with engine.begin() as connection:
        found.append(connection.scalar(sa.select(sa.func.max(table.c.id))))
    engine.dispose()
    found.append(engine.pool.status())  # type: ignore[no-untyped-call]
    return found


@_sync
def every_event_fires(url: sa.URL) -> Any:
    engine = sa.create_engine(url)
    fired: list[str] = []
    for name in ("connect", "first_connect", "checkout", "checkin", "reset", "close"):
        sa.event.listen(engine, name, lambda *_, name=name: fired.append(name))
    for name in ("begin", "commit", "rollback", "savepoint", "release_savepoint", "after_cursor_execute"):
        sa.event.listen(engine, name, lambda *_, name=name: fired.append(name))

    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def _change(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
        fired.append(statement)
        return statement.replace("SELECT 41", "SELECT 42"), parameters

    @sa.event.listens_for(engine, "handle_error")
    def _note(context: sa.ExceptionContext) -> None:
        fired.append(type(context.original_exception).__name__)

    with engine.connect() as connection:
        fired.append(str(connection.scalar(sa.text("SELECT 41"))))
        with connection.begin_nested():
            connection.execute(sa.text("SELECT 1"))
        connection.commit()
        attempt(connection.execute, sa.text("SELECT * FROM nowhere"))
        connection.rollback()
    engine.dispose()
    return fired


@_sync
def engine_options_and_listeners_that_set_connections_up(url: sa.URL) -> Any:
    engine = sa.create_engine(url, isolation_level="SERIALIZABLE", connect_args={})

    @sa.event.listens_for(engine, "connect")
    def _set_up(dbapi_connection: Any, record: Any) -> None:
        cursor = dbapi_connection.cursor()
        settings = {"sqlite": "PRAGMA foreign_keys=ON", "postgresql": "SET statement_timeout = 60000"}
        cursor.execute(settings.get(engine.dialect.name, "SET SESSION max_statement_time = 60"))
        cursor.close()
        if engine.dialect.name != "sqlite":
            dbapi_connection.commit()

    with engine.connect() as connection:
        found: list[Any] = [connection.get_isolation_level(), connection.default_isolation_level]
        connection.rollback()
        found.append(engine.dialect.server_version_info)  # type: ignore[attr-defined]
        found.append(engine.dialect.default_schema_name)
        # psycopg and psycopg2 tell it of their own connection as well.
        info = getattr(connection.connection.driver_connection, "info", None)
        found.append(getattr(info, "server_version", None))
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        found.append(connection.scalar(sa.text("SELECT 7")))
    engine.dispose()
    return found


@_sync
def errors_on_connect(url: sa.URL) -> Any:
    missing = "/nowhere/at/all.db" if url.get_backend_name() == "sqlite" else "no_such_database"
    engine = sa.create_engine(url.set(database=missing))
    found = [attempt(lambda: engine.connect().close()) for _ in range(2)]
    engine.dispose()
    for nowhere in _nowhere(url):
        engine = sa.create_engine(nowhere)
        found.append(attempt(lambda engine=engine: engine.connect().close()))
        engine.dispose()
    return found


def _nowhere(url: sa.URL) -> list[sa.URL]:
    """Where a server would be, and nobody listens."""
    return [] if url.get_backend_name() == "sqlite" else [url.set(host="127.0.0.1", port=1, query={})]


@_sync
def several_engines_side_by_side(url: sa.URL) -> Any:
    first, second = sa.create_engine(url), sa.create_engine(url, echo=False)
    table = _filled(first)
    found: list[Any] = []
    with first.connect() as one, second.connect() as two:
        found.append(one.scalar(sa.select(sa.func.count()).select_from(table)))
        found.append(two.scalar(sa.select(sa.func.max(table.c.id))))
        found.append(sa.inspect(two).get_table_names())
    first.dispose()
    second.dispose()
    return found


@_sync
def raw_connections(url: sa.URL) -> Any:
    engine = sa.create_engine(url)
    _filled(engine)
    raw = engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found = [seen([tuple(row) for row in cursor.fetchall()])]
    cursor.close()
    raw.commit()
    raw.close()
    engine.dispose()
    return found


@_sync
def two_phases(url: sa.URL) -> Any:
    engine = sa.create_engine(url)
    table = _filled(engine)
    found: list[Any] = []
    for ending in ("commit", "rollback"):
        with engine.connect() as connection:
            transaction = attempt(lambda connection=connection: connection.begin_twophase("timetracer") and None)
            found.append(transaction)
            if transaction is not None:
                break
            two_phase = connection.get_transaction()
            connection.execute(table.insert().values(name=ending))
            two_phase.prepare()  # type: ignore[union-attr]
            getattr(two_phase, ending)()
            found.append(seen(connection.scalars(sa.select(table.c.name).order_by(table.c.id)).all()))
    engine.dispose()
    return found


@_async
async def streams(url: sa.URL) -> Any:
    engine = create_async_engine(url)
    found: list[Any] = []
    async with engine.connect() as connection:
        table = await connection.run_sync(items, 120)
        query = sa.select(table.c.id, table.c.name).order_by(table.c.id)
        result = await connection.stream(query)
        found += [seen(await result.fetchone()), seen(await result.fetchmany(4))]
        await result.close()
        async with connection.stream(query.execution_options(yield_per=50)) as result:
            found += [seen(part) async for part in result.partitions()]
        async with connection.stream(query) as result:
            async for row in result:
                found.append(seen(row))
                if row.id == 70:
                    break
        found.append(seen(await (await connection.stream_scalars(query)).all()))
        found.append(seen((await connection.execute(query)).fetchmany(2)))
    await engine.dispose()
    return found


@_async
async def async_sessions(url: sa.URL) -> Any:
    engine = create_async_engine(url, pool_pre_ping=True)
    found: list[Any] = []
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add_all([Author(name=f"a{n}", books=[Book(title=f"t{n}")]) for n in range(3)])
        await session.commit()
        query = sa.select(Author).options(selectinload(Author.books)).order_by(Author.id)
        # Held, since what the session still knows of them depends on when they are collected.
        authors = (await session.scalars(query)).all()
        found.append([(author.name, [book.title for book in author.books]) for author in authors])
        author = await session.get(Author, 1)
        assert author is not None
        await session.refresh(author, ["books"])
        await session.delete(author)
        async with session.begin_nested():
            session.add(Author(name="nested"))
        await session.commit()
        session.add(Author(name="nested"))
        try:
            await session.commit()
        except Exception as error:
            found.append(seen(error))
        await session.rollback()
        found.append(seen((await session.scalars(sa.select(Author.name).order_by(Author.name))).all()))
        found.append(
            [author.name async for author in await session.stream_scalars(sa.select(Author).order_by(Author.id))]
        )
    await engine.dispose()
    return found


@_async
async def many_tasks_at_once(url: sa.URL) -> Any:
    engine = create_async_engine(url, poolclass=pool.AsyncAdaptedQueuePool, pool_size=5, max_overflow=5)
    async with engine.connect() as connection:
        table = await connection.run_sync(items, 30)

    async def one(number: int) -> Any:
        async with engine.connect() as connection:
            await asyncio.sleep(((number * 7) % 10) / 1000)
            found = await connection.execute(sa.select(table.c.name).where(table.c.id == number))
            return seen(found.all())

    found = await asyncio.gather(*(one(number) for number in range(1, 31)))
    await engine.dispose()
    return found


@_async
async def async_errors_on_connect(url: sa.URL) -> Any:
    missing = "/nowhere/at/all.db" if url.get_backend_name() == "sqlite" else "no_such_database"
    engine = create_async_engine(url.set(database=missing))
    found = []
    for _ in range(2):
        try:
            async with engine.connect():
                found.append("connected")
        except Exception as error:
            found.append(seen(error))
    await engine.dispose()
    for nowhere in _nowhere(url):
        engine = create_async_engine(nowhere)
        try:
            async with engine.connect():
                found.append("connected")
        except Exception as error:
            found.append(seen(error))
        await engine.dispose()
    # The thread of an aiosqlite connection that failed has one more word for this loop.
    await asyncio.sleep(0.1)
    return found


@_async
async def async_isolation_and_raw_driver(url: sa.URL) -> Any:
    engine = create_async_engine(url, isolation_level="SERIALIZABLE")
    async with engine.connect() as connection:
        found: list[Any] = [await connection.get_isolation_level()]
        await connection.rollback()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        found.append(await connection.scalar(sa.text("SELECT 5")))
    await engine.dispose()
    return found
