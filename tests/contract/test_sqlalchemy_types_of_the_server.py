"""What a listener asks the server about its types: ``register_vector`` of pgvector, ``TypeInfo.fetch`` of psycopg."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pgvector.asyncpg import register_vector as register_for_asyncpg
from pgvector.psycopg import register_vector, register_vector_async
from psycopg import sql
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.range import RangeInfo
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.sql_observation import seen
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette

DRIVERS: dict[str, Callable[[Any], Any]] = {
    "psycopg": register_vector,
    "psycopg_async": lambda connection: connection.run_async(register_vector_async),
    "asyncpg": lambda connection: connection.run_async(register_for_asyncpg),
}
QUERY = "SELECT embedding, small, few FROM item ORDER BY embedding <-> '[1,2,4]'"


@pytest.fixture
def url(postgres: Postgres) -> sa.URL:
    postgres.start()
    postgres.clear()
    postgres.execute(
        "DROP EXTENSION IF EXISTS vector",
        "CREATE EXTENSION vector",
        "CREATE TABLE item (embedding vector(3), small halfvec(2), few sparsevec(5), bits bit(3))",
        "INSERT INTO item VALUES ('[1,2,3]', '[0.5,1.5]', '{1:2.5,3:-1}/5', '101'), (NULL, NULL, NULL, NULL)",
        "CREATE TYPE colour AS ENUM ('red', 'blue')",
        "CREATE TYPE place AS (x int, y text)",
        "CREATE TYPE span AS RANGE (subtype = float8)",
    )
    return postgres.url("psycopg")


@pytest.mark.parametrize("driver", DRIVERS)
def test_vectors_registered_by_a_listener(driver: str, url: sa.URL, tmp_path: Path) -> None:
    url = url.set(drivername=f"postgresql+{driver.removesuffix('_async')}")
    cassettes = [tmp_path / name for name in ("first.msgpack", "second.msgpack")]

    def work(url: sa.URL, *around: Any) -> list[Any]:
        return [
            [type(value) for value in row] + [value if value is None else str(value.to_text()) for value in row]
            for rows in _rows(driver, url, DRIVERS[driver], around)
            for row in rows
        ]

    bare = work(url, None, None)
    assert len(bare) == 4
    # The second recording begins when its connection is there already.
    assert work(url, *(lambda cassette=cassette: record(cassette) for cassette in cassettes)) == bare
    assert [event.not_replayable for file in cassettes for event in read_cassette(file).events if event.call] == [
        None
    ] * sum(len(read_cassette(file).events) for file in cassettes)
    dead = url.set(port=1)
    for cassette in cassettes:
        assert work(dead, lambda cassette=cassette: replay(cassette)) == bare[:2]


def test_what_psycopg_fetches(url: sa.URL, tmp_path: Path) -> None:
    found: list[Any] = []

    def look(connection: Any) -> None:
        colour, place = EnumInfo.fetch(connection, "colour"), CompositeInfo.fetch(connection, sql.Identifier("place"))
        infos = [colour, place, RangeInfo.fetch(connection, "span"), RangeInfo.fetch(connection, "nothing")]
        found.append([info and seen({**vars(info), "typemod": None}) for info in infos])
        assert colour is not None
        assert place is not None
        register_enum(colour, connection)
        register_composite(place, connection)

    _rows("psycopg", url, look, (None,))
    with record(tmp_path / "x.msgpack"):
        _rows("psycopg", url, look, (None,))
    with replay(tmp_path / "x.msgpack"):
        _rows("psycopg", url.set(port=1), look, (None,))
    bare, recorded, replayed = found
    assert replayed == recorded == bare
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match=r"Not recorded: TypeInfo\.fetch\('other'\)"),
    ):
        _rows(
            "psycopg", url.set(port=1), lambda connection: psycopg.types.TypeInfo.fetch(connection, "other"), (None,)
        )


def _rows(driver: str, url: sa.URL, listener: Callable[[Any], Any], around: Any) -> list[Any]:
    """The rows, as often as there are blocks around the query; the engine is the same."""

    async def run() -> list[Any]:
        engine = create_async_engine(url)
        sa.event.listen(engine.sync_engine, "connect", lambda connection, _: listener(connection))
        found = []
        for block in around:
            with block() if block is not None else nullcontext():
                async with engine.connect() as connection:
                    found.append((await connection.exec_driver_sql(QUERY)).all())
        await engine.dispose()
        return found

    if driver != "psycopg":
        return asyncio.run(run())
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", lambda connection, _: listener(connection))
    found = []
    for block in around:
        with block() if block is not None else nullcontext(), engine.connect() as connection:
            found.append(connection.exec_driver_sql(QUERY).all())
    engine.dispose()
    return found
