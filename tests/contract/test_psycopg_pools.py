"""Pools of psycopg_pool, opened in a recording or a replay and before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool

from tests.servers.postgres import Postgres
from timetracer_otel import record, replay

Job = Callable[[], Any]


def _use(pool: Any) -> Any:
    found: list[Any] = []
    for number in range(3):
        with pool.connection() as connection:
            found.append(connection.execute("SELECT %s::int", (number,)).fetchone())
    with pool.connection() as first, pool.connection() as second:
        found += [first.execute("SELECT 1").fetchone(), second.execute("SELECT 2").fetchone()]
    with pytest.raises(ZeroDivisionError):
        _fails(pool)
    return found


def _fails(pool: Any) -> None:
    with pool.connection() as connection:
        connection.execute("SELECT 3")
        raise ZeroDivisionError


async def _by_asyncio(url: str) -> Any:
    async with AsyncConnectionPool(url, min_size=2, open=False) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            return await (await connection.execute("SELECT 5")).fetchall()


@pytest.fixture
def jobs(postgres: Postgres) -> Iterator[dict[str, Job]]:
    """By name: what an app does with a pool."""
    postgres.start()
    url = postgres.url("psycopg").set(drivername="postgresql").render_as_string(hide_password=False)
    kinds: dict[str, Callable[[], Any]] = {
        "pool": lambda: ConnectionPool(url, min_size=2, open=True),
        "null pool": lambda: NullConnectionPool(url, open=True),
    }

    def opened(kind: Callable[[], Any]) -> Any:
        with kind() as pool:
            pool.wait()
            return _use(pool)

    with ExitStack() as within:
        made: dict[str, Job] = {"asyncio": lambda: asyncio.run(_by_asyncio(url))}
        for name, kind in kinds.items():
            made[name] = lambda kind=kind: opened(kind)  # type: ignore[misc]
            kept = within.enter_context(kind())
            kept.wait()
            made[f"{name} of before"] = lambda kept=kept: _use(kept)  # type: ignore[misc]
        yield made


def test_statements_of_pools(jobs: dict[str, Job], postgres: Postgres, tmp_path: Path) -> None:
    bare = {name: job() for name, job in jobs.items()}
    for name, job in jobs.items():
        with record(tmp_path / f"{name}.msgpack"):
            assert job() == bare[name]
    postgres.stop()
    for name, job in jobs.items():
        with replay(tmp_path / f"{name}.msgpack") as session:
            assert job() == bare[name]
        assert session.verdict().ok, name
