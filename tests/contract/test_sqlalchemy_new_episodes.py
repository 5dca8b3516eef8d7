"""``new_episodes`` with SQL: known calls come from the cassette, new ones from a real connection that is opened then.

Each case runs with the calls that were recorded alone, and with more between them. With more, it sees what it would
see without us, given a database in which the recorded run has been; a replay without the database sees that again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.sql_observation import attempt
from tests.examples import drawn
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection

DRIVERS = ("sqlite", "psycopg", "psycopg2", "aiosqlite", "asyncpg", "psycopg_async")
ITEMS = sa.Table(
    "item",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), unique=True),
)
Case = Callable[[sa.Connection, bool], Any]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


def add(connection: sa.Connection, number: int, name: str | None = None) -> int:
    return connection.execute(ITEMS.insert(), {"id": number, "name": name or f"n{number}"}).rowcount


def named(connection: sa.Connection, number: int) -> Any:
    return connection.execute(sa.select(ITEMS.c.name).where(ITEMS.c.id == number)).scalar()


@case
def a_new_statement_between_known_ones(connection: sa.Connection, more: bool) -> Any:
    found = []
    with connection.begin():
        add(connection, 1)
        if more:
            add(connection, 2)
            found.append(named(connection, 2))
        found.append(named(connection, 1))
    with connection.begin():
        if more:
            found += [named(connection, 2), connection.scalar(sa.select(sa.func.count()).select_from(ITEMS))]
        found.append(named(connection, 1))
    return found


@case
def a_rollback_undoes_what_was_new(connection: sa.Connection, more: bool) -> Any:
    found = []
    with connection.begin() as transaction:
        add(connection, 1)
        if more:
            add(connection, 2)
        found.append(named(connection, 1))
        transaction.rollback()
    with connection.begin():
        found.append(named(connection, 1))
        if more:
            found.append(named(connection, 2))
            add(connection, 3)
    if more:
        found.append(named(connection, 3))
    return found


@case
def savepoints_around_and_within(connection: sa.Connection, more: bool) -> Any:
    found = []
    with connection.begin():
        with connection.begin_nested() as savepoint:
            add(connection, 1)
            with connection.begin_nested():
                if more:
                    # Both savepoints were known, and are made again on the real connection.
                    add(connection, 2)
                found.append(named(connection, 1))
            if more:
                found.append(named(connection, 2))
            savepoint.rollback()
        if more:
            found.append(named(connection, 2))
            with connection.begin_nested():
                add(connection, 3)
        with connection.begin_nested():
            add(connection, 4)
        if more:
            found.append(named(connection, 3))
    return found


@case
def an_error_of_a_new_statement(connection: sa.Connection, more: bool) -> Any:
    found = []
    with connection.begin():
        add(connection, 1)
    if more:
        with connection.begin():
            add(connection, 2)
            found.append(attempt(_add_twice, connection))
            add(connection, 3)
        found.append(named(connection, 3))
        found.append(attempt(connection.execute, sa.text("SELECT nonsense FROM nowhere")))
        connection.rollback()
    found.append(named(connection, 1))
    return found


def _add_twice(connection: sa.Connection) -> None:
    with connection.begin_nested():
        add(connection, 5, "n2")


@case
def many_rows(connection: sa.Connection, more: bool) -> Any:
    found: list[Any] = []
    rows = [{"id": number, "name": f"n{number}"} for number in range(10, 40)]
    with connection.begin():
        add(connection, 1)
        if more:
            connection.execute(ITEMS.insert(), rows)
            inserted = ITEMS.insert().values(id=sa.bindparam("i")).returning(ITEMS.c.id, ITEMS.c.name)
            if connection.dialect.insert_executemany_returning:
                found.append(connection.execute(inserted, [{"i": 50}, {"i": 51}]).all())
            statement = sa.select(ITEMS).order_by(ITEMS.c.id)
            found += [list(part) for part in connection.execute(statement).partitions(7)]
            streamed = connection.execute(statement, execution_options={"stream_results": True, "yield_per": 9})
            found += [streamed.fetchone(), streamed.fetchmany(3), streamed.all()]
            result = connection.execute(ITEMS.update().where(ITEMS.c.id > 20).values(name=None))
            found += [result.rowcount, list(connection.execute(statement.limit(2)).mappings())]
        found.append(named(connection, 1))
    return found


@case
def settings_of_the_connection(connection: sa.Connection, more: bool) -> Any:
    automatic = connection.execution_options(isolation_level="AUTOCOMMIT")
    if connection.dialect.name == "postgresql":
        automatic.execute(sa.text("SET TIME ZONE 'Asia/Tokyo'"))
    add(automatic, 1)
    found: list[Any] = [connection.get_isolation_level()]
    if more:
        add(automatic, 2)
        # Nothing to undo.
        automatic.rollback()
        found += [named(automatic, 2), connection.get_isolation_level()]
        if connection.dialect.name == "postgresql":
            found.append(automatic.execute(sa.text("SHOW TIME ZONE")).scalar())
    automatic.rollback()
    connection.rollback()
    return found


@case
def the_same_statement_more_often(connection: sa.Connection, more: bool) -> Any:
    with connection.begin():
        add(connection, 1)
    return [named(connection, 1) for _ in range(3 if more else 1)]


class Database:
    """One that is emptied, kept or taken away."""

    def __init__(self, driver: str, file: Path, postgres: Callable[[], Postgres]) -> None:
        self.driver = driver
        self._file = file
        self._postgres = postgres
        self._is_gone = False

    @property
    def url(self) -> sa.URL:
        if "sqlite" in self.driver:
            scheme = "sqlite" if self.driver == "sqlite" else "sqlite+aiosqlite"
            return sa.make_url(f"{scheme}:///{self._file}")
        url = self._postgres().url(self.driver.removesuffix("_async"))
        # Stopping it takes long, and whether nobody listens there or nobody is there makes no difference.
        return url.set(port=1) if self._is_gone else url

    def empty(self) -> None:
        if "sqlite" in self.driver:
            self._file.unlink(missing_ok=True)
        else:
            self._postgres().clear()
        self.run(lambda connection: ITEMS.create(connection))

    def gone(self) -> None:
        self._is_gone = True
        if "sqlite" in self.driver:
            self._file.unlink()

    def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        """On a connection of its own, committed."""
        if self.driver in ("sqlite", "psycopg", "psycopg2"):
            engine = sa.create_engine(self.url)
            try:
                with engine.connect() as connection:
                    made = attempt(work, connection)
                    connection.commit()
                    return made
            finally:
                engine.dispose()
        return asyncio.run(self._run_async(work))

    async def _run_async(self, work: Callable[[sa.Connection], Any]) -> Any:
        engine = create_async_engine(self.url)
        try:
            async with engine.connect() as connection:
                made = await connection.run_sync(lambda sync: attempt(work, sync))
                await connection.commit()
                return made
        finally:
            await engine.dispose()

    def rows(self) -> Any:
        return self.run(lambda connection: connection.execute(sa.select(ITEMS).order_by(ITEMS.c.id)).all())


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[], Postgres]]:
    servers: list[Postgres] = []

    def get() -> Postgres:
        if not servers:
            servers.append(Postgres())
        return servers[0]

    yield get
    for server in servers:
        server.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], Postgres]) -> Database:
    made = Database(request.param, tmp_path / "app.db", postgres)
    made.empty()
    return made


drivers = pytest.mark.parametrize("database", DRIVERS, indirect=True)
PAIRS = (("sqlite", "aiosqlite"), ("psycopg", "psycopg2"), ("asyncpg", "psycopg_async"))


# Each case over SQLite, and over a driver of PostgreSQL of either kind; over all of them in ``make test-whole``.
@pytest.mark.sweep
@pytest.mark.parametrize(
    ("case", "database"),
    [
        pytest.param(case, driver, id=f"{case.__name__}-{driver}")
        for case in CASES
        for driver in drawn(PAIRS, "new episodes", case.__name__)
    ],
    indirect=["database"],
)
def test_what_is_new_comes_from_the_database_and_stays(database: Database, tmp_path: Path, case: Case) -> None:
    path = tmp_path / "x.msgpack"
    # What an app sees without us, where the recorded calls have an answer and the others find what that left.
    bare = database.run(lambda connection: case(connection, True))
    bare_rows = database.rows()
    database.empty()
    with record(path):
        recorded = database.run(lambda connection: case(connection, False))
    events = len(read_cassette(path).events)
    with replay(path, record_mode="new_episodes", fail_on_unused=True) as session:
        assert database.run(lambda connection: case(connection, False)) == recorded
    assert session.verdict().recorded == 0, "nothing was new"
    with replay(path, record_mode="new_episodes", fail_on_unused=True) as session:
        assert database.run(lambda connection: case(connection, True)) == bare
    assert session.verdict().recorded > 0
    assert database.rows() == bare_rows
    grown = read_cassette(path)
    assert len(grown.events) == events + session.verdict().recorded
    assert all(event.not_replayable is None for event in grown.events)
    database.gone()
    with replay(path, fail_on_unused=True):
        assert database.run(lambda connection: case(connection, True)) == bare


@drivers
def test_a_known_call_makes_no_connection(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path):
        database.run(lambda connection: (add(connection, 1), named(connection, 1)))
    database.gone()
    with replay(path, record_mode="new_episodes"):
        database.run(lambda connection: (add(connection, 1), named(connection, 1)))
    # A new one needs the database; that it is not there is the answer.
    with replay(path, record_mode="new_episodes") as session:
        failed = database.run(lambda connection: (add(connection, 1), named(connection, 7)))
    # What asyncpg cannot connect to is an error of the system's.
    assert failed["class"] in ("sqlalchemy.exc.OperationalError", "builtins.FileNotFoundError")
    assert session.verdict().misses == ()


@drivers
def test_what_was_answered_is_not_done_again(database: Database, tmp_path: Path) -> None:
    """A new row meets the database as it is, without the rows that only the cassette knows."""
    path = tmp_path / "x.msgpack"
    with record(path):
        database.run(lambda connection: add(connection, 1))
    database.empty()
    with replay(path, record_mode="new_episodes"):
        found = database.run(lambda connection: (add(connection, 1), add(connection, 2, "n1"), named(connection, 2)))
    assert found[-1] == "n1"
    assert len(database.rows()[1:]) == 1


@drivers
def test_recorded_and_new_calls_pass_where_the_network_is_blocked(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path, block_network=True):
        database.run(lambda connection: add(connection, 1))
    with replay(path, record_mode="new_episodes", block_network=True) as session:
        assert database.run(lambda connection: (add(connection, 1), named(connection, 1)))[-1] == "n1"
    assert session.verdict().blocked == ()
    # What the plugin does to the connection that it has opened, such as a commit, is none of the app's calls.
    assert set(session.verdict().live) <= {"sqlalchemy"}


def test_listeners_of_the_app_set_the_real_connection_up(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "x.msgpack"

    def run(more: bool) -> Any:
        engine = sa.create_engine(url)

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()
            connection.create_function("twice", 1, lambda value: value * 2)

        try:
            with engine.connect() as connection:
                found: list[Any] = [connection.execute(sa.text("SELECT twice(4)")).scalar()]
                if more:
                    found.append(connection.execute(sa.text("SELECT twice(5)")).scalar())
                    found.append(attempt(connection.execute, sa.text("INSERT INTO child VALUES (1, 1)")))
            return found
        finally:
            engine.dispose()

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("CREATE TABLE child (id INTEGER, of INTEGER REFERENCES parent(id))"))
    engine.dispose()
    bare = run(True)
    with record(path):
        assert run(False) == bare[:1]
    with replay(path, record_mode="new_episodes"):
        assert run(True) == bare
    (tmp_path / "app.db").unlink()
    with replay(path):
        assert run(True) == bare


def test_an_engine_keeps_the_real_connection_that_was_opened_for_it(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "x.msgpack"
    opened: list[Any] = []

    def engine_with_one_connection() -> sa.Engine:
        engine = sa.create_engine(url, pool_size=1, max_overflow=0)

        @sa.event.listens_for(engine, "connect")
        def _connected(connection: Any, _: Any) -> None:
            if not isinstance(connection, ReplayConnection):
                opened.append(connection)

        return engine

    def read(engine: sa.Engine, *numbers: int) -> list[Any]:
        with engine.begin() as connection:
            return [named(connection, number) for number in numbers]

    engine = engine_with_one_connection()
    with engine.begin() as connection:
        ITEMS.create(connection)
        add(connection, 1)
        add(connection, 2)
    engine.dispose()
    with record(path):
        read(engine, 1)
    engine.dispose()
    engine = engine_with_one_connection()
    opened.clear()
    with replay(path, record_mode="new_episodes"):
        assert read(engine, 1, 2) == ["n1", "n2"]
    assert len(opened) == 1
    assert read(engine, 1) == ["n1"], "live, on the same connection"
    with replay(path):
        assert read(engine, 1, 2) == ["n1", "n2"]
    with replay(path, record_mode="new_episodes"):
        assert read(engine, 1, 2, 1) == ["n1", "n2", "n1"]
    assert read(engine, 2) == ["n2"]
    engine.dispose()
    for connection in opened:
        with pytest.raises(Exception, match="closed"):
            connection.execute("SELECT 1")


def test_a_transaction_that_outlives_the_session_ends_for_real(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "x.msgpack"
    engine = sa.create_engine(url)
    with record(path), engine.begin() as connection:
        ITEMS.create(connection)
    with engine.connect() as connection:
        with replay(path, record_mode="new_episodes"):
            # This connection is a real one, of before the replay.
            add(connection, 1)
            assert named(connection, 1) == "n1"
        connection.commit()
    with engine.connect() as connection:
        assert named(connection, 1) == "n1"
    engine.dispose()


def test_the_driver_itself_is_not_asked(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "x.msgpack"
    engine = sa.create_engine(url)
    with record(path), engine.begin() as connection:
        ITEMS.create(connection)
    engine.dispose()
    engine = sa.create_engine(url)
    with replay(path, record_mode="new_episodes", fail_on_miss=False), engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        with pytest.raises(ReplayMismatchError):
            raw.cursor().execute("SELECT count(*) FROM item")
    engine.dispose()


# asyncpg's dialect writes the transaction's name, which is made up for each run, into the statements.
@pytest.mark.parametrize("database", ["psycopg", "psycopg2", "asyncpg"], indirect=True)
def test_two_phases(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"

    def run(more: bool) -> Any:
        def work(connection: sa.Connection) -> Any:
            with connection.begin_twophase() as transaction:
                add(connection, 1)
                if more:
                    add(connection, 2)
                transaction.prepare()
            return named(connection, 2) if more else None

        return database.run(work)

    bare = run(True)
    database.empty()
    with record(path):
        run(False)
    with replay(path, record_mode="new_episodes"):
        assert run(True) == bare
    assert len(database.rows()[1:]) == 2
    database.gone()
    with replay(path):
        assert run(True) == bare


def test_an_engine_that_the_cassette_does_not_know(tmp_path: Path, postgres: Callable[[], Postgres]) -> None:
    known = Database("sqlite", tmp_path / "app.db", postgres)
    other = Database("psycopg", tmp_path / "no.db", postgres)
    known.empty()
    other.empty()
    path = tmp_path / "x.msgpack"
    with record(path):
        known.run(lambda connection: add(connection, 1))

    def both() -> Any:
        return known.run(lambda connection: add(connection, 1)), other.run(
            lambda connection: (add(connection, 5), named(connection, 5))
        )

    with replay(path, record_mode="new_episodes", fail_on_unused=True):
        live = both()
    known.gone()
    other.gone()
    with replay(path, fail_on_unused=True):
        assert both() == live
    assert (
        Counter(event.signature.url for event in read_cassette(path).events)[
            "postgresql+psycopg:///" + str(other.url.database)
        ]
        > 3
    )
