"""What the workloads of databases do by an engine of SQLAlchemy, whatever its driver.

SQLAlchemy is imported by the workload that runs, and not by the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from tests.suite_injection.servers import seen, seen_async

__all__ = ["AsyncWork", "Work", "by_async_engine", "by_engine", "inserting", "raw"]

Work: TypeAlias = Callable[[Any], Any]
"""Does something by an engine."""
AsyncWork: TypeAlias = Callable[[Any], Coroutine[Any, Any, Any]]
"""The same by an asyncio engine."""

_TAKEN = "INSERT INTO people (name) VALUES ('Ada')"


def raw(work: Work) -> Work:
    """Work by the driver's own connection."""

    def by_connection(engine: Any) -> Any:
        connection = engine.raw_connection()
        try:
            return work(connection)
        finally:
            connection.close()

    return by_connection


def inserting(rows: list[dict[str, str]]) -> Work:
    """Insert rows by one statement, and take that back."""

    def inserted(engine: Any) -> Any:
        import sqlalchemy as sa

        people = sa.table("people", sa.column("name"), sa.column("password"))
        with engine.connect() as connection:
            made = connection.execute(people.insert(), rows)
            connection.rollback()
            return made.rowcount

    return inserted


def by_engine(engine: Any, *works: Work) -> list[str]:
    """What an app sees of each work, and of a statement that the database refuses."""
    import sqlalchemy as sa

    def refused(engine: Any) -> Any:
        with engine.begin() as connection:
            connection.execute(sa.text(_TAKEN))

    found = [seen(partial(work, engine)) for work in (*works, refused)]
    engine.dispose()
    return found


def by_async_engine(url: str, *works: AsyncWork) -> list[str]:
    """The same by an asyncio engine of its own, and of rows that are streamed."""
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    async def streamed(engine: Any) -> Any:
        async with engine.connect() as connection:
            return [tuple(row) async for row in await connection.stream(sa.text("SELECT id, name FROM people"))]

    async def refused(engine: Any) -> Any:
        async with engine.begin() as connection:
            await connection.execute(sa.text(_TAKEN))

    async def main() -> list[str]:
        engine = create_async_engine(url)
        found = [await seen_async(partial(work, engine)) for work in (*works, streamed, refused)]
        await engine.dispose()
        return found

    return asyncio.run(main())
