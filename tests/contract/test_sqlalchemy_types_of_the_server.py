"""What an app asks the server about its types: ``register_vector`` of pgvector, ``TypeInfo.fetch`` of psycopg, and
the ``register_...`` functions of psycopg2."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from pgvector.asyncpg import register_vector as register_for_asyncpg
from pgvector.psycopg import register_vector, register_vector_async
from pgvector.psycopg2 import register_vector as register_for_psycopg2
from psycopg import sql
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.range import RangeInfo, register_range
from psycopg2 import extensions, extras
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.sql_observation import seen
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette

DRIVERS: dict[str, Callable[[Any], Any]] = {
    "psycopg": register_vector,
    "psycopg2": register_for_psycopg2,
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
        "CREATE TYPE home AS (first place, others place[])",
        "CREATE TYPE span AS RANGE (subtype = float8)",
        # The server here has no extension hstore. For psycopg2 it is a type of that name, whose texts it reads.
        """CREATE TYPE hstore AS ENUM ('"a"=>"1"')""",
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
    classes: list[Any] = []

    def look(connection: Any) -> None:
        colour, place = EnumInfo.fetch(connection, "colour"), CompositeInfo.fetch(connection, sql.Identifier("place"))
        infos = [colour, place, RangeInfo.fetch(connection, "span"), RangeInfo.fetch(connection, "nothing")]
        found.append([info and seen({**vars(info), "typemod": None}) for info in infos])
        assert colour is not None
        assert place is not None
        register_enum(colour, connection)
        register_composite(place, connection)
        classes.append(place.python_type)

    def work(url: sa.URL) -> None:
        ((row,),) = _rows("psycopg", url, look, (None,), "SELECT '(1,a)'::place, ARRAY['(2,b)'::place]")
        assert type(row[0]) is type(row[1][0]) is classes[-1]
        found[-1].append([seen(value) for value in row])

    work(url)
    with record(tmp_path / "x.msgpack"):
        work(url)
    with replay(tmp_path / "x.msgpack"):
        work(url.set(port=1))
    bare, recorded, replayed = found
    assert replayed == recorded == bare
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match=r"Not recorded: TypeInfo\.fetch\('other'\)"),
    ):
        _rows(
            "psycopg", url.set(port=1), lambda connection: psycopg.types.TypeInfo.fetch(connection, "other"), (None,)
        )


REGISTERED = """
    SELECT '(1,a)'::place, ARRAY['(2,b)'::place], '{"k": 1}'::json, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
    '"a"=>"1"'::hstore, ARRAY['"a"=>"1"'::hstore], '10.0.0.1'::inet, '[1,2)'::int4range
"""


def registered(scope: Any, classes: list[Any]) -> list[Any]:
    """What psycopg2 says of types; it asks the server for most of them."""
    place, span = extras.register_composite("place", scope), extras.register_range("span", "Span", scope)
    json_types = extras.register_json(scope, name="json", loads=lambda text: {"read": text})
    extras.register_hstore(scope)
    extras.register_uuid(None, scope)
    with pytest.raises(psycopg2.ProgrammingError) as unknown:
        extras.register_composite("nothing", scope)
    with pytest.raises(psycopg2.ProgrammingError) as no_json:
        extras.register_json(scope, name="nojson")
    classes.append(place.type)
    return [
        [place.name, place.schema, place.attnames, place.atttypes, repr(place.type(1, "a"))],
        [place.typecaster.values, place.array_typecaster.values, span.typecaster.values, span.range.__name__],
        [kind.values for kind in json_types],
        [seen(unknown.value), str(no_json.value)],
    ]


@pytest.fixture
def _adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of psycopg2 register how values are bound, and classes, for the whole process."""
    for key in [(dict, extensions.ISQLQuote), *extensions.adapters]:
        monkeypatch.setitem(extensions.adapters, key, extensions.adapters.get(key))
    monkeypatch.delitem(extensions.adapters, (dict, extensions.ISQLQuote))


@pytest.mark.usefixtures("_adapters")
@pytest.mark.parametrize("where", ["in a listener", "within the recording", "on a cursor"])
def test_what_psycopg2_registers(url: sa.URL, tmp_path: Path, where: str) -> None:
    def work(url: sa.URL) -> list[Any]:
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg2"))
        found: list[Any] = []
        classes: list[Any] = []
        if where == "in a listener":
            sa.event.listen(engine, "connect", lambda connection, _: found.append(registered(connection, classes)))
        with engine.connect() as connection:
            if where == "within the recording":
                assert connection.scalar(sa.text("SELECT 7")) == 7
                found.append(registered(connection.connection.dbapi_connection, classes))
                rows = connection.exec_driver_sql(REGISTERED).all()
            elif where == "on a cursor":
                cursor = connection.connection.cursor()
                found.append(registered(cursor, classes))
                cursor.execute(REGISTERED)
                rows = cursor.fetchall()
                cursor.close()
            else:
                rows = connection.exec_driver_sql(REGISTERED).all()
        engine.dispose()
        assert type(rows[0][0]) is type(rows[0][1][0]) is classes[-1]
        return [*found, [list(map(seen, row)) for row in rows]]

    bare = work(url)
    with record(tmp_path / "x.msgpack"):
        recorded = work(url)
    with replay(tmp_path / "x.msgpack", fail_on_unused=True):
        replayed = work(url.set(port=1))
    assert recorded == bare
    assert replayed == bare


class Colour(enum.Enum):
    red = "r"
    blue = "b"


class Place:
    """An app's own class, with another shape than the type of the database."""

    def __init__(self, x: int, y: str, *, home: Any = None) -> None:
        self.where = (x, y)
        self.home = home

    def __eq__(self, other: object) -> bool:
        return type(other) is Place and vars(other) == vars(self)

    def __repr__(self) -> str:
        return f"Place({self.where}, {self.home})"

    __hash__ = None  # type: ignore[assignment]


class Slotted(NamedTuple):
    x: int
    y: str


class OwnRange(extras.Range):  # type: ignore[misc]
    """A range of the app's."""


class Places(extras.CompositeCaster):  # type: ignore[misc]
    def make(self, values: Any) -> Any:
        return Place(*values)


class Dicts(extras.CompositeCaster):  # type: ignore[misc]
    def make(self, values: Any) -> Any:
        return dict(zip(self.attnames, values, strict=True))


class Homes(extras.CompositeCaster):  # type: ignore[misc]
    """Of a type that has another one inside, and an array of it."""

    def make(self, values: Any) -> Any:
        return Place(1, "home", home=values)


OWN_TYPES = (
    "SELECT '(1,a)'::place, ARRAY['(2,b)'::place, NULL], ROW((3, 'c')::place, ARRAY[(4, NULL)::place])::home, "
    "'blue'::colour, '[1,2.5)'::span, 'empty'::span, '(,3]'::span, ARRAY['[1,2)'::span]"
)


def by_psycopg(connection: Any) -> None:
    for name, make in (("place", Slotted), ("home", lambda *parts: Place(1, "home", home=list(parts)))):
        info = CompositeInfo.fetch(connection, name)
        assert info is not None
        register_composite(info, connection, make)
    colour, span = EnumInfo.fetch(connection, "colour"), RangeInfo.fetch(connection, "span")
    assert colour is not None
    assert span is not None
    register_enum(colour, connection, Colour)
    register_range(span, connection)


def by_psycopg2(connection: Any) -> None:
    extras.register_composite("place", connection, factory=Places)
    extras.register_composite("home", connection, factory=Homes)
    extras.register_range("span", OwnRange, connection)


def in_dicts(connection: Any) -> None:
    extras.register_composite("place", connection, factory=Dicts)
    extras.register_composite("home", connection, factory=Dicts)
    extras.register_range("span", "Span", connection)


@pytest.mark.usefixtures("_adapters")
@pytest.mark.parametrize(
    ("driver", "register"),
    [("psycopg", by_psycopg), ("psycopg2", by_psycopg2), ("psycopg2", in_dicts)],
    ids=["psycopg", "psycopg2", "dicts"],
)
def test_values_are_of_the_classes_that_the_app_registered(
    driver: str,
    register: Callable[[Any], None],
    url: sa.URL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(url: sa.URL, listener: Callable[[Any], None] = register) -> tuple[Any, ...]:
        ((row,),) = _rows(driver, url.set(drivername=f"postgresql+{driver}"), listener, (None,), OWN_TYPES)
        return tuple(row)

    bare = work(url)
    with record(tmp_path / "x.msgpack"):
        recorded = work(url)
    assert [event.not_replayable for event in read_cassette(tmp_path / "x.msgpack").events] == [
        None
    ] * 4  # CONNECT, BEGIN, SELECT, ROLLBACK
    with replay(tmp_path / "x.msgpack", fail_on_unused=True):
        replayed = work(url.set(port=1))
    for row in (recorded, replayed):
        assert repr(row) == repr(bare)
        if register is not in_dicts:  # where psycopg2 makes another class in each registration of a range
            assert row == bare
            assert list(map(type, row)) == list(map(type, bare))
    monkeypatch.setattr("timetracer_otel.libraries.kits.dbapi.app_types._makers", {})
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="the app has registered nothing for the type"),
    ):
        work(url.set(port=1), lambda _: None)


def test_a_type_that_the_recording_did_not_ask_for_is_a_miss(url: sa.URL, tmp_path: Path) -> None:
    def work(url: sa.URL, name: str) -> None:
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg2"))
        with engine.connect() as connection:
            extras.register_composite(name, connection.connection.dbapi_connection)
            assert connection.scalar(sa.text("SELECT 7")) == 7
        engine.dispose()

    with record(tmp_path / "x.msgpack"):
        work(url, "place")
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match=r"FROM pg_type"),
    ):
        work(url.set(port=1), "other")


def _rows(driver: str, url: sa.URL, listener: Callable[[Any], Any], around: Any, query: str = QUERY) -> list[Any]:
    """The rows, as often as there are blocks around the query; the engine is the same."""

    async def run() -> list[Any]:
        engine = create_async_engine(url)
        sa.event.listen(engine.sync_engine, "connect", lambda connection, _: listener(connection))
        found = []
        for block in around:
            with block() if block is not None else nullcontext():
                async with engine.connect() as connection:
                    found.append((await connection.exec_driver_sql(query)).all())
        await engine.dispose()
        return found

    if driver not in {"psycopg", "psycopg2"}:
        return asyncio.run(run())
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", lambda connection, _: listener(connection))
    found = []
    for block in around:
        with block() if block is not None else nullcontext(), engine.connect() as connection:
            found.append(connection.exec_driver_sql(query).all())
    engine.dispose()
    return found
