"""Lines about SQL by sqlite3 and PostgreSQL's drivers.

``POSTGRES`` in the environment is a database's URL for SQLAlchemy, ``SQLITE`` the path of a file.
"""

from __future__ import annotations

import array
import asyncio
import datetime as dt
import enum
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytz  # type: ignore[import-untyped]
import sqlalchemy as sa
from dateutil import tz  # type: ignore[import-untyped]
from pgvector.asyncpg import register_vector as register_for_asyncpg
from pgvector.psycopg import register_vector
from pgvector.psycopg2 import register_vector as register_for_psycopg2
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.range import Range as PsycopgRange
from psycopg.types.range import RangeInfo, register_range
from psycopg2 import extras  # type: ignore[import-untyped]
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.contract.own_zone import Zone
from tests.lines._line import Lines

POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
SQLITE = os.environ.get("SQLITE", "")
LINES = Lines()


def _engine(driver: str, **options: Any) -> sa.Engine:
    url = sa.make_url("sqlite://") if driver == "sqlite" else POSTGRES.set(drivername=f"postgresql+{driver}")
    return sa.create_engine(url, **options)


def _on(driver: str, look: Callable[[sa.Connection], Any], listener: Callable[[Any], Any] | None = None) -> Any:
    """What a function sees on a new connection."""
    if driver in ("asyncpg", "psycopg_async"):
        return asyncio.run(_on_async(driver, look, listener))
    engine = _engine(driver)
    if listener is not None:
        sa.event.listen(engine, "connect", lambda connection, _: listener(connection))
    try:
        with engine.connect() as connection:
            return look(connection)
    finally:
        engine.dispose()


async def _on_async(driver: str, look: Callable[[Any], Any], listener: Callable[[Any], Any] | None) -> Any:
    engine = create_async_engine(POSTGRES.set(drivername=f"postgresql+{driver.removesuffix('_async')}"))
    if listener is not None:
        sa.event.listen(engine.sync_engine, "connect", lambda connection, _: listener(connection))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(look)
    finally:
        await engine.dispose()


def _caught(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        return error


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "line_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    size: Mapped[int]
    note: Mapped[str | None]


@LINES.add
def orm_inserts_of_several_rows() -> Any:
    """SQLAlchemy builds an INSERT of several rows from a set, so that its parameters have another order each time."""
    found: list[Any] = []
    for driver in ("psycopg", "psycopg2"):
        engine = _engine(driver)
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            items = [Item(name=f"n{n}", size=n, note="even" if n % 2 == 0 else None) for n in range(7)]
            session.add_all(items)
            session.commit()
            found.append([(item.id, item.name, item.size, item.note) for item in items])
        engine.dispose()
    return found


@LINES.add
def statements_made_of_a_set() -> Any:
    """An IN list, an array and a mapping whose order is that of the process."""
    names = {"tea", "cake", "milk", "salt"}

    def look(connection: sa.Connection) -> Any:
        chosen = sa.text("SELECT n FROM (VALUES ('tea'), ('cake')) t(n) WHERE n IN :names ORDER BY n")
        return [
            connection.execute(
                chosen.bindparams(sa.bindparam("names", expanding=True)), {"names": sorted(names)}
            ).all(),
            connection.execute(sa.text("SELECT :a || :b || :c"), dict.fromkeys({"a", "b", "c"}, "x")).scalar(),
        ]

    return [_on(driver, look) for driver in ("psycopg", "psycopg2", "asyncpg")]


@LINES.add
def attributes_of_cursors() -> Any:
    """sentry_sdk asks for mogrify; other libraries for other ones."""
    asked = ("mogrify", "query", "statusmessage", "copy", "stream", "scroll", "lastrowid", "executescript", "nothing")

    def look(connection: sa.Connection) -> Any:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT 1")
        found = [hasattr(cursor, name) for name in asked]
        cursor.fetchall()
        cursor.close()
        return found

    return {driver: _on(driver, look) for driver in ("sqlite", "psycopg", "psycopg2", "asyncpg", "psycopg_async")}


@LINES.add
def probes_whose_error_is_swallowed() -> Any:
    """As ``pandas.read_sql(text(...))`` asks: whether there is a table, given a statement."""
    probe: Any = sa.text("SELECT 1")
    failed: list[str] = []

    def read_sql(connection: sa.Connection) -> Any:
        try:
            table = sa.inspect(connection).has_table(probe)
        except Exception as error:
            failed.append(type(error).__name__)
            table = False
            connection.rollback()
        return table, connection.execute(sa.text("SELECT 2 AS a")).all()

    return [_on(driver, read_sql) for driver in ("sqlite", "psycopg", "psycopg2")], failed


@LINES.add
def arguments_that_no_cassette_can_hold() -> Any:
    """The driver refuses them, and the app goes on: a replay has the driver's error again, and counts no miss."""

    def look(connection: sa.Connection) -> Any:
        error = _caught(lambda: connection.execute(sa.text("SELECT :value AS a"), {"value": iter([1])}).all())
        connection.rollback()
        return [type(error), type(getattr(error, "orig", None)), connection.scalar(sa.text("SELECT 2"))]

    return [_on(driver, look) for driver in ("sqlite", "psycopg", "psycopg2", "asyncpg")]


TYPES = (
    "DROP TYPE IF EXISTS home, place, span, colour CASCADE",
    "CREATE TYPE colour AS ENUM ('red', 'blue')",
    "CREATE TYPE place AS (x int, y text)",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "CREATE EXTENSION IF NOT EXISTS vector",
)
OF_OWN_TYPES = "SELECT '(1,a)'::place, ARRAY['(2,b)'::place, NULL], 'blue'::colour, '[1,2.5)'::span, 'empty'::span"
VECTORS = "SELECT '[1,2,3]'::vector, '[0.5,1.5]'::halfvec, '{1:2.5,3:-1}/5'::sparsevec, NULL::vector"


class Colour(enum.Enum):
    red = "r"
    blue = "b"


class Place:
    def __init__(self, x: int, y: str) -> None:
        self.where = x, y

    def __repr__(self) -> str:
        return f"Place{self.where}"


class OwnRange(extras.Range):  # type: ignore[misc]
    pass


class Places(extras.CompositeCaster):  # type: ignore[misc]
    def make(self, values: Any) -> Any:
        return Place(*values)


def _make_types() -> Any:
    def make(connection: sa.Connection) -> None:
        for statement in TYPES:
            connection.exec_driver_sql(statement)
        connection.commit()

    return _on("psycopg", make)


def _by_psycopg(connection: Any) -> Any:
    place, colour = CompositeInfo.fetch(connection, "place"), EnumInfo.fetch(connection, "colour")
    span, uuid = RangeInfo.fetch(connection, "span"), TypeInfo.fetch(connection, "uuid")
    assert place is not None
    assert colour is not None
    assert span is not None
    assert uuid is not None
    register_composite(place, connection, Place)
    register_enum(colour, connection, Colour)
    register_range(span, connection)
    return [place.field_names, colour.labels, span.subtype_oid, uuid.oid, TypeInfo.fetch(connection, "no_such_type")]


def _by_psycopg2(connection: Any) -> None:
    extras.register_composite("place", connection, factory=Places)
    extras.register_range("span", OwnRange, connection)


@LINES.add
def types_that_the_app_registers() -> Any:
    _make_types()
    fetched: list[Any] = []
    found = [
        _on("psycopg", lambda c: c.exec_driver_sql(OF_OWN_TYPES).all(), lambda c: fetched.append(_by_psycopg(c))),
        _on("psycopg2", lambda c: c.exec_driver_sql(OF_OWN_TYPES).all(), _by_psycopg2),
    ]
    # Without a listener, on the driver's own connection, behind a call.
    found.append(
        _on(
            "psycopg2",
            lambda c: [
                c.scalar(sa.text("SELECT 7")),
                _by_psycopg2(c.connection.dbapi_connection),  # type: ignore[func-returns-value]
                c.exec_driver_sql(OF_OWN_TYPES).all(),
            ],
        )
    )
    return [*fetched, *([tuple(row) if isinstance(row, sa.Row) else row for row in rows] for rows in found)]


@LINES.add
def vectors_of_pgvector() -> Any:
    listeners: dict[str, Callable[[Any], Any]] = {
        "psycopg": register_vector,
        "psycopg2": register_for_psycopg2,
        "asyncpg": lambda connection: connection.run_async(register_for_asyncpg),
    }

    def look(connection: sa.Connection) -> Any:
        row = connection.exec_driver_sql(VECTORS).one()
        return [type(value) for value in row], [value if value is None else str(value.to_text()) for value in row]

    return [_on(driver, look, listener) for driver, listener in listeners.items()]


@LINES.add
def results_that_are_left_half_read() -> Any:
    """A cursor that the session kept would lock the table."""
    found: list[Any] = []
    for driver, url in (("sqlite", f"sqlite:///{SQLITE}"), ("psycopg2", None)):
        engine = sa.create_engine(url) if url else _engine(driver)
        with engine.connect() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS half")
            connection.exec_driver_sql("CREATE TABLE half (x integer)")
            connection.exec_driver_sql("INSERT INTO half VALUES (1), (2), (3)")
            connection.commit()
            found.append(connection.exec_driver_sql("SELECT x FROM half ORDER BY x").fetchone())
            connection.exec_driver_sql("DROP TABLE half")
            connection.commit()
        raw = engine.raw_connection()
        raw.cursor().execute("CREATE TABLE half AS SELECT 1 AS x UNION SELECT 2")
        cursor = raw.cursor()
        cursor.execute("SELECT x FROM half ORDER BY x")
        found.append(cursor.fetchmany(1))
        del cursor
        raw.cursor().execute("DROP TABLE half")
        raw.close()
        engine.dispose()
    return [tuple(row) if isinstance(row, sa.Row) else row for row in found]


ZONES = (pytz.utc, pytz.timezone("Europe/Berlin"), pytz.FixedOffset(90), tz.UTC, tz.tzoffset("x", 3600), Zone())
"""Those of dateutil, pytz, and another."""


@LINES.add
def times_in_zones_of_other_packages() -> Any:
    def look(connection: sa.Connection) -> Any:
        days = [dt.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=zone) for zone in (*ZONES, tz.gettz("Europe/Paris"))]
        chosen = sa.select(sa.cast(sa.bindparam("t", type_=sa.DateTime(timezone=True)), sa.DateTime(timezone=True)))
        return [connection.execute(chosen, {"t": day}).scalar() for day in days]

    return [_on(driver, look) for driver in ("psycopg", "psycopg2", "asyncpg")]


class Point:
    """A class that sqlite3 adapts (PEP 246)."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __conform__(self, protocol: Any) -> str:
        return f"{self.x};{protocol.__name__}"


@LINES.add
def arguments_without_an_encoding() -> Any:
    def by_sqlite(connection: sa.Connection) -> Any:
        values: list[Any] = [array.array("i", [1, 2]), Point(3), memoryview(b"abc"), bytearray(b"xyz")]
        return [connection.exec_driver_sql("SELECT ?", (value,)).scalar() for value in values]

    def by_postgres(connection: sa.Connection) -> Any:
        chosen = sa.select(
            sa.cast(sa.bindparam("r", type_=postgresql.INT4RANGE), postgresql.INT4RANGE),
            sa.cast(sa.bindparam("d", type_=postgresql.TSTZRANGE), postgresql.TSTZRANGE),
        )
        day = dt.datetime(2020, 1, 2, tzinfo=Zone())
        return tuple(connection.execute(chosen, {"r": Range(1, 5), "d": Range(day, None)}).one())

    of_drivers = [
        _on("psycopg", lambda c: c.exec_driver_sql("SELECT %s::int4range", (PsycopgRange(1, 4),)).scalar()),
        _on("psycopg2", lambda c: c.exec_driver_sql("SELECT %s::int4range", (extras.NumericRange(1, 4),)).scalar()),
    ]
    return [
        _on("sqlite", by_sqlite),
        *(_on(each, by_postgres) for each in ("psycopg", "psycopg2", "asyncpg")),
        of_drivers,
    ]


@LINES.add
def log_records_name_their_callers() -> Any:
    found: list[Any] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append((Path(record.pathname).name, record.funcName, record.levelname))  # type: ignore[method-assign]
    logger = logging.getLogger("sqlalchemy")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        engine = _engine("sqlite", pool_pre_ping=True)
        for _ in range(2):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1").all()
                connection.get_isolation_level()
        engine.dispose()
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    return found


@LINES.add
def begin_listeners_that_raise() -> Any:
    found: list[Any] = []
    for driver in ("sqlite", "psycopg", "psycopg2"):
        engine = _engine(driver)
        begun: list[int] = []

        @sa.event.listens_for(engine, "begin")
        def begins(_: sa.Connection, begun: list[int] = begun) -> None:
            begun.append(1)
            if len(begun) < 3:
                raise LookupError(f"refused after {len(begun)}")

        def work(engine: sa.Engine = engine) -> Any:
            with engine.begin() as connection:
                return connection.exec_driver_sql("SELECT 5").scalar()

        found.append([*(_caught(work) for _ in range(4)), len(begun)])
        engine.dispose()
    return found


@LINES.add
def dialects_that_are_asked_for_lost_connections() -> Any:
    engine = _engine("sqlite")
    asked: list[Any] = []
    dialect: Any = engine.dialect
    own = dialect.is_disconnect

    def is_disconnect(error: Any, connection: Any, cursor: Any) -> bool:
        asked.append([error, type(connection), type(cursor).__name__])
        return bool(own(error, connection, cursor))

    dialect.is_disconnect = is_disconnect
    with engine.connect() as connection:
        found = _caught(lambda: connection.exec_driver_sql("SELECT x FROM nowhere"))
    engine.dispose()
    return [type(found), str(found), asked]


@LINES.add
def cursors_that_the_driver_refuses() -> Any:
    """Of a connection that was closed beneath SQLAlchemy."""
    found: list[Any] = []
    for driver in ("sqlite", "psycopg2", "psycopg"):
        engine = _engine(driver, poolclass=sa.pool.NullPool)
        for closes in (False, True, False):
            connection = engine.raw_connection()
            cursor = connection.cursor()
            cursor.execute("SELECT 7")
            found.append(cursor.fetchall())
            cursor.close()
            if closes:
                connection.driver_connection.close()  # type: ignore[union-attr]
            error = _caught(lambda connection=connection: connection.cursor().execute("SELECT 8"))  # type: ignore[misc]
            found.append([type(error), str(error)] if isinstance(error, Exception) else None)
            connection.detach()
        engine.dispose()
    return found


@LINES.add
def pools_with_pings_and_raw_connections() -> Any:
    found: list[Any] = []
    for driver in ("sqlite", "psycopg", "psycopg2"):
        engine = _engine(driver, pool_pre_ping=True)
        engine.connect().close()
        engine.raw_connection().close()
        engine.raw_connection().cursor().close()
        with engine.begin():
            pass
        with engine.connect() as connection:
            found.append(connection.scalar(sa.text("SELECT 3")))
        engine.dispose()
    return found


@LINES.add
def errors_of_the_server() -> Any:
    found: list[Any] = []
    for driver in ("psycopg", "psycopg2", "asyncpg"):
        error = _caught(lambda driver=driver: _on(driver, lambda c: c.exec_driver_sql("SELECT 1 / 0").all()))  # type: ignore[misc]
        own: Any = getattr(error, "orig", None)
        found.append(
            [type(error), type(own), str(error), getattr(own, "pgcode", None), getattr(own, "sqlstate", None)]
        )
    return found
