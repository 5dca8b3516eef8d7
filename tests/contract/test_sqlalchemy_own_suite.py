"""What SQLAlchemy's own test suites found: recording changes nothing that an app or a listener of its can see."""

from __future__ import annotations

import array
import asyncio
import datetime as dt
import gc
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from tests.contract.own_zone import Zone
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "sql.msgpack"


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Without garbage collection, an object is gone with the last reference to it, or not at all."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def same_three_times(cassette: Path, app: Callable[[], Any]) -> Any:
    """What an app gives bare, which it gives recorded and replayed too."""
    bare = app()
    with record(cassette):
        assert app() == bare
    with replay(cassette):
        assert app() == bare
    return bare


def half_read_result() -> Any:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE item (x)")
        connection.exec_driver_sql("INSERT INTO item VALUES (1), (2), (3)")
        row = connection.exec_driver_sql("SELECT x FROM item").fetchone()
        connection.exec_driver_sql("DROP TABLE item")
    engine.dispose()
    return tuple(row or ())


def half_read_cursors() -> Any:
    engine = sa.create_engine("sqlite://")
    connection = engine.raw_connection()
    found = []
    for read in (
        lambda cursor: cursor.execute("SELECT x FROM item").fetchone(),
        lambda cursor: next(iter(cursor.execute("SELECT x FROM item"))),
        lambda cursor: next(cursor.execute("SELECT x FROM item")),
        lambda cursor: cursor.execute("SELECT x FROM item").fetchmany(2),
    ):
        connection.cursor().execute("CREATE TABLE item (x)")
        connection.cursor().execute("INSERT INTO item VALUES (1), (2), (3)")
        found.append(read(connection.cursor()))
        connection.cursor().execute("DROP TABLE item")
    connection.close()
    engine.dispose()
    return found


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("app", [half_read_result, half_read_cursors])
def test_a_result_that_is_dropped_half_read_locks_no_table(cassette: Path, app: Callable[[], Any]) -> None:
    assert same_three_times(cassette, app)
    selects = [event for event in read_cassette(cassette).events if event.signature.method == "SELECT"]
    assert selects
    assert all(event.not_replayable is None for event in selects)


@pytest.mark.usefixtures("without_collector")
def test_a_result_that_was_read_in_a_block_locks_no_table_after_it(cassette: Path) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with record(cassette) as session, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE item (x)")
        connection.exec_driver_sql("INSERT INTO item VALUES (1), (2), (3)")
        with pytest.raises(sa.exc.OperationalError):
            connection.exec_driver_sql("SELECT x FROM nowhere")
        result = connection.exec_driver_sql("SELECT x FROM item")
        result.fetchone()
    with engine.begin() as connection:
        del result
        connection.exec_driver_sql("DROP TABLE item")
    engine.dispose()
    assert session.is_finalized


def begun_transactions() -> Any:
    """Whom the records of SQLAlchemy's logs name."""
    found: list[tuple[str, str]] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append((Path(record.pathname).name, record.funcName or ""))  # type: ignore[method-assign]
    logger = logging.getLogger("sqlalchemy")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        engine = sa.create_engine("sqlite://", pool_pre_ping=True)
        for _ in range(2):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1").all()
                connection.get_isolation_level()
        engine.dispose()
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    return found


def test_logs_name_the_same_callers(cassette: Path) -> None:
    # From Python 3.11 on, `logging` counts frames in another way.
    caller = "_connection_begin_impl" if sys.version_info >= (3, 11) else "_begin_impl"
    assert ("base.py", caller) in same_three_times(cassette, begun_transactions)


def listeners_that_raise() -> Any:
    engine = sa.create_engine("sqlite://")
    found: list[Any] = []

    @sa.event.listens_for(engine, "begin")
    def begins(connection: sa.Connection) -> None:
        found.append("begins")
        if len(found) < 3:
            raise LookupError(f"refused after {found}")

    for _ in range(3):
        try:
            with engine.begin() as connection:
                found.append(connection.exec_driver_sql("SELECT 5").scalar())
        except LookupError as error:
            found.append(str(error))
    engine.dispose()
    return found


def test_a_begin_listener_that_raises_runs_in_a_replay_too(cassette: Path) -> None:
    assert same_three_times(cassette, listeners_that_raise)[-2:] == ["begins", 5]


def who_asks_for_lost_connections() -> Any:
    engine = sa.create_engine("sqlite://")
    asked: list[str] = []
    own = engine.dialect.is_disconnect

    def is_disconnect(error: Any, connection: Any, cursor: Any) -> bool:
        asked.append(f"{error}, {connection is not None}, {cursor is not None}")
        return own(error, connection, cursor)

    dialect: Any = engine.dialect
    dialect.is_disconnect = is_disconnect
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("SELECT x FROM nowhere")
    engine.dispose()
    return asked


def test_the_dialect_is_asked_once_whether_a_connection_is_lost(cassette: Path) -> None:
    assert len(same_three_times(cassette, who_asks_for_lost_connections)) == 1


def cursors_that_fail() -> Any:
    """The driver refuses cursors of a connection that was closed beneath SQLAlchemy."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.NullPool)
    found: list[Any] = []
    for closes in (False, True, False):
        connection = engine.raw_connection()
        cursor = connection.cursor()
        found.append(cursor.execute("SELECT 7").fetchall())
        cursor.close()
        if closes:
            connection.driver_connection.close()  # type: ignore[union-attr]
        try:
            connection.cursor().execute("SELECT 8")
        except Exception as error:
            found.append((type(error).__name__, str(error)))
        connection.detach()
    with engine.connect() as again:
        found.append(again.exec_driver_sql("SELECT 9").scalar())
    engine.dispose()
    return found


def test_a_cursor_that_the_driver_refuses_is_an_event(cassette: Path) -> None:
    assert ("ProgrammingError", "Cannot operate on a closed database.") in same_three_times(
        cassette, cursors_that_fail
    )
    methods = [event.signature.method for event in read_cassette(cassette).events]
    assert methods.count("CURSOR") == 1


def lost_connections(folder: Path) -> Any:
    """Connections die in a pool that asks before it hands one out; once the database is away as well."""
    database, away = folder / "kept.db", folder / "away.db"
    sqlite3.connect(database).close()
    engine = sa.create_engine(f"sqlite:///file:{database}?mode=rw&uri=true", pool_pre_ping=True)
    found: list[Any] = []
    sa.event.listen(engine, "invalidate", lambda *_: found.append("invalidated"))

    def ask() -> None:
        try:
            with engine.connect() as connection:
                found.append(connection.exec_driver_sql("SELECT 5").scalar())
                held = connection.connection.driver_connection
            if isinstance(held, sqlite3.Connection):
                held.close()
        except sa.exc.OperationalError as error:
            found.append([type(error.orig), str(error.orig)])

    ask()
    ask()
    database.rename(away)
    ask()
    away.rename(database)
    ask()
    engine.dispose()
    return found


def test_a_pool_that_finds_its_connection_dead(cassette: Path, tmp_path: Path) -> None:
    found = same_three_times(cassette, lambda: lost_connections(tmp_path))
    gone = [sqlite3.OperationalError, "unable to open database file"]
    assert found == [5, "invalidated", 5, "invalidated", gone, 5]


def in_transaction(engine: sa.Engine) -> None:
    with engine.begin():
        pass


BORROWED: dict[str, Callable[[sa.Engine], Any]] = {
    "engine.connect": lambda engine: engine.connect().close(),
    "raw_connection": lambda engine: engine.raw_connection().close(),
    "raw cursor": lambda engine: engine.raw_connection().cursor().close(),
    "begin": in_transaction,
}


@pytest.mark.parametrize("pre_ping", [False, True])
@pytest.mark.parametrize("name", BORROWED)
def test_a_pool_that_was_filled_before_the_plugin_saw_it_replays(
    cassette: Path, tmp_path: Path, name: str, pre_ping: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    engine = sa.create_engine(url, pool_pre_ping=pre_ping)
    engine.connect().close()
    with record(cassette):
        BORROWED[name](engine)
    engine.dispose()
    (tmp_path / "app.db").unlink()
    cold = sa.create_engine(url, pool_pre_ping=pre_ping)
    with replay(cassette) as session:
        BORROWED[name](cold)
        assert not session.verdict().unused
        assert cold.dialect.server_version_info  # type: ignore[attr-defined]
    cold.dispose()
    assert not (tmp_path / "app.db").exists()


def test_asking_for_prepared_transactions_is_a_miss(cassette: Path, postgres: Postgres) -> None:
    postgres.start()
    for driver in ("psycopg", "psycopg2"):

        def app(driver: str = driver) -> Any:
            engine = sa.create_engine(postgres.url(driver))
            with engine.connect() as connection:
                try:
                    # As `recover_twophase` of a newer SQLAlchemy does; that of 2.0.0 selects from a view.
                    return connection.connection.tpc_recover()
                finally:
                    connection.close()
                    engine.dispose()

        path = cassette.with_name(f"{driver}.msgpack")
        with record(path):
            assert app() == []
        with pytest.raises(ReplayMismatchError, match="tpc_recover"), replay(path):
            app()


class Point:
    """A class that sqlite3 adapts (PEP 246)."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y
        self.conformed = 0

    def __conform__(self, _: Any) -> str:
        self.conformed += 1
        return f"{self.x};{self.y}"


def values_without_an_encoding(changed: int = 0) -> Any:
    engine = sa.create_engine("sqlite://")
    point = Point(1, 2 + changed)
    found: list[Any] = []
    values = [
        array.array("i", [1, 2 + changed]),
        point,
        dt.datetime(2020, 1, 2, 3 + changed, tzinfo=Zone()).replace(microsecond=5),
    ]
    with engine.connect() as connection:
        found += [connection.exec_driver_sql("SELECT ?", (value,)).scalar() for value in values]
        found.append(point.conformed)
    engine.dispose()
    return found


@pytest.mark.filterwarnings("ignore:The default datetime adapter is deprecated:DeprecationWarning")
def test_bound_values_of_any_class_are_matched(cassette: Path) -> None:
    bare = values_without_an_encoding()
    with record(cassette):
        assert values_without_an_encoding() == bare
    assert bare[-1] == 1
    with replay(cassette):
        assert values_without_an_encoding()[:3] == bare[:3]
    with pytest.raises(ReplayMismatchError, match="parameters"), replay(cassette):
        values_without_an_encoding(changed=1)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_ranges_of_sqlalchemy_are_matched(cassette: Path, postgres: Postgres, driver: str) -> None:
    postgres.start()
    day = dt.datetime(2020, 1, 2, tzinfo=Zone())
    statement = sa.select(
        sa.cast(sa.bindparam("r", type_=postgresql.INT4RANGE), postgresql.INT4RANGE),
        sa.cast(sa.bindparam("d", type_=postgresql.TSTZRANGE), postgresql.TSTZRANGE),
        sa.cast(sa.bindparam("t", type_=sa.DateTime(timezone=True)), sa.DateTime(timezone=True)),
    )

    async def app(upper: int) -> Any:
        url, options = postgres.url(driver), {"r": Range(1, upper), "d": Range(day, None), "t": day}
        if driver == "asyncpg":
            engine = create_async_engine(url)
            async with engine.connect() as there:
                row = (await there.execute(statement, options)).one()
            await engine.dispose()
            return tuple(row)
        plain = sa.create_engine(url)
        with plain.connect() as connection:
            row = connection.execute(statement, options).one()
        plain.dispose()
        return tuple(row)

    bare = asyncio.run(app(5))
    with record(cassette):
        assert asyncio.run(app(5)) == bare
    postgres.stop()
    with replay(cassette):
        assert asyncio.run(app(5)) == bare
    with pytest.raises(ReplayMismatchError, match="parameters"), replay(cassette):
        asyncio.run(app(6))


SQLITE: Any = sqlite3


class OwnDialect(DefaultDialect):
    """A dialect of the app's, which calls its driver nothing."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        return True


def dialect_without_a_driver(made: Callable[[], Any] = lambda: OwnDialect(dbapi=SQLITE)) -> Any:
    pool = StaticPool(creator=lambda: SQLITE.connect(":memory:"))
    engine = sa.Engine(pool, made(), sa.make_url("own://"))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql("SELECT 1, 'a' WHERE ? > 1", (2,))]
    engine.dispose()
    return found


def test_a_dialect_of_ones_own_that_calls_its_driver_nothing(cassette: Path) -> None:
    assert same_three_times(cassette, dialect_without_a_driver) == [(1, "a")]


def test_a_dialect_that_nobody_can_name_is_left_alone(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours must not reach the app."""
    contained: list[str] = []
    monkeypatch.setattr(faults, "contain", lambda where, _: contained.append(where))

    class Nameless(OwnDialect):
        name = 7  # type: ignore[assignment]

        @property
        def driver(self) -> str:  # type: ignore[override]
            raise ValueError("no driver")

    with record(cassette):
        assert dialect_without_a_driver(lambda: Nameless(dbapi=SQLITE)) == [(1, "a")]
    assert set(contained) == {"sqlalchemy.engine"}


def test_what_an_app_puts_into_a_dialect_stays_there(cassette: Path) -> None:
    def app() -> Any:
        engine = sa.create_engine("sqlite://")
        engine.dialect.initialize = initialize = engine.dialect.initialize  # type: ignore[method-assign]
        with engine.connect() as connection:
            found = connection.scalar(sa.text("SELECT 7"))
        assert vars(engine.dialect).get("initialize") is initialize
        engine.dispose()
        return found

    assert same_three_times(cassette, app) == 7


def tags_of_posts(backwards: bool, last_tag: int = 9) -> Any:
    """What the ORM writes of several objects at once comes out of a set: in whatever order."""
    metadata = sa.MetaData()
    links = sa.Table("post_tag", metadata, sa.Column("post", sa.Integer), sa.Column("tag", sa.Integer))
    rows = [{"post": post, "tag": tag} for post in (1, 2) for tag in (7, 8, last_tag)]
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        changed = connection.execute(sa.insert(links), rows[:: -1 if backwards else 1])
        found = connection.execute(sa.select(links).order_by(links.c.post, links.c.tag)).all()
    engine.dispose()
    return changed.rowcount, [tuple(row) for row in found]


def test_rows_that_are_written_at_once_have_no_order(cassette: Path) -> None:
    bare = tags_of_posts(False)
    with record(cassette):
        assert tags_of_posts(False) == bare
    with replay(cassette):
        assert tags_of_posts(True) == bare
    with pytest.raises(ReplayMismatchError, match="No recorded call matches"), replay(cassette):
        tags_of_posts(True, last_tag=10)
