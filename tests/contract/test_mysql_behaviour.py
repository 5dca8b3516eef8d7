"""What a user of a MySQL driver sees besides the contract: one event beneath SQLAlchemy, spans, what is refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract.aiomysql_flavour import AioMySqlFlavour
from tests.contract.asyncmy_flavour import AsyncMyFlavour
from tests.contract.direct_behaviour import (
    ask,
    check_a_statement_of_sqlalchemy_is_one_event,
    check_spans_are_those_of_a_bare_run,
)
from tests.contract.framework import run_async
from tests.contract.mysql_flavour import MySqlFlavour
from tests.contract.mysqlclient_flavour import MySqlClientFlavour
from tests.contract.mysqlconnector_flavour import MySqlConnectorFlavour
from tests.contract.pymysql_flavour import PyMySqlFlavour
from tests.examples import drawn
from tests.servers.mariadb import HAS_MYSQLCLIENT, needs_mariadb, needs_mysqlclient
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayFailedError

pytestmark = [needs_mariadb, pytest.mark.filterwarnings("ignore:Table 'live' already exists")]

_BLOCKING: dict[str, Callable[[], MySqlFlavour]] = {"mysqlclient": MySqlClientFlavour, "pymysql": PyMySqlFlavour}
_CONNECTOR: dict[str, Callable[[], MySqlFlavour]] = {"mysqlconnector": MySqlConnectorFlavour}
_AWAITED: dict[str, Callable[[], MySqlFlavour]] = {"aiomysql": AioMySqlFlavour, "asyncmy": AsyncMyFlavour}


def _params(*names: str) -> Any:
    marks = {"mysqlclient": needs_mysqlclient}
    return pytest.mark.parametrize(
        "flavour", [pytest.param(name, marks=marks.get(name, ())) for name in names], indirect=True
    )


def _one_of_each(*kinds: Mapping[str, object]) -> Callable[[Any], Any]:
    """With one driver of each kind, which the seed draws for each test."""
    missing = set() if HAS_MYSQLCLIENT else {"mysqlclient"}
    there = [[name for name in kind if name not in missing] for kind in kinds]
    return lambda test: pytest.mark.sweep(_params(*drawn(there, "drivers of MySQL", test.__name__))(test))


blocking, awaited = _one_of_each({**_BLOCKING, **_CONNECTOR}), _one_of_each(_AWAITED)
of_one_origin, each_driver = _one_of_each(_BLOCKING, _AWAITED), _one_of_each({**_BLOCKING, **_CONNECTOR}, _AWAITED)


@pytest.fixture
def flavour(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MySqlFlavour]:
    made = {**_BLOCKING, **_AWAITED, **_CONNECTOR}[request.param]()
    made.start(tmp_path)
    made.enable()
    try:
        yield made
    finally:
        made.disable()
        made.tear_down()


@blocking
@pytest.mark.parametrize("opened", ["in the session", "before it", "before both plugins"])
def test_a_statement_of_sqlalchemy_is_one_event(flavour: MySqlFlavour, tmp_path: Path, opened: str) -> None:
    engine = sa.create_engine(flavour.url.set(drivername=f"mysql+{flavour.in_sqlalchemy}"))
    if opened == "before both plugins":
        flavour.disable()
        ask(engine)
        flavour.enable()
        opened = "in the session"
    check_a_statement_of_sqlalchemy_is_one_event(engine, tmp_path / "x.msgpack", opened)


@awaited
def test_a_statement_of_an_async_engine_is_one_event(flavour: MySqlFlavour, tmp_path: Path) -> None:
    async def work() -> Any:
        engine = create_async_engine(flavour.url.set(drivername=f"mysql+{flavour.in_sqlalchemy}"))
        async with engine.connect() as connection:
            found = (await connection.execute(sa.text("SELECT 1 AS n"))).all()
        await engine.dispose()
        return found

    with record(tmp_path / "x.msgpack") as recording:
        found = run_async(work())
    assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
    flavour.stop()
    with replay(tmp_path / "x.msgpack"):
        assert run_async(work()) == found


@of_one_origin
@pytest.mark.parametrize("before", ["the session", "the plugin"])
def test_a_connection_that_was_opened_before(flavour: MySqlFlavour, tmp_path: Path, before: str) -> None:
    if before == "the plugin":
        flavour.disable()
    connection = flavour.connect()
    flavour.enable()

    def work(connection: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (n INTEGER)")
            found = [cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]), connection.commit()]
            cursor.execute("SELECT n FROM t")
            found += [cursor.fetchall()]
            with pytest.raises(flavour.dbapi.ProgrammingError):
                cursor.execute("SELECT * FROM nowhere")
            connection.rollback()
            return found

    with record(tmp_path / "x.msgpack") as recording:
        found = work(connection)
    methods = [event.signature.method for event in recording.events]
    assert methods == ["CREATE", "INSERT", "COMMIT", "SELECT", "SELECT", "ROLLBACK"]
    with replay(tmp_path / "x.msgpack") as session:
        assert work(connection) == found
    assert str(session.verdict()) == "6 hit, 0 missed, 0 unused, 0 live"
    # The server was asked nothing: the table would have been there already. Now it is asked again.
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchall() == ((2,),)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="before the"):
        connection.select_db(flavour.url.database)
    connection.close()
    flavour.stop()
    with replay(tmp_path / "x.msgpack"):
        assert work(flavour.connect()) == found


@_params(*_BLOCKING, "aiomysql")  # asyncmy 0.2 fails to read the file
def test_what_is_not_recorded_is_refused(flavour: MySqlFlavour, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_text("1\n2\n")
    with flavour.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n INTEGER)")

    def load() -> Any:
        with flavour.connect(local_infile=True) as connection, connection.cursor() as cursor:
            return cursor.execute(f"LOAD DATA LOCAL INFILE '{rows}' INTO TABLE t")

    with record(tmp_path / "x.msgpack"):
        assert load() == 2
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="LOAD DATA LOCAL sends a file, which is not recorded"),
    ):
        load()


@each_driver
def test_secrets_are_replaced(flavour: MySqlFlavour, tmp_path: Path) -> None:
    secret = "correct-horse-battery-staple-4711"

    def work() -> Any:
        with flavour.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE account (id INTEGER, password VARCHAR(60))")
            cursor.execute("INSERT INTO account (id, password) VALUES (%s, %s)", (1, secret))
            cursor.executemany("INSERT INTO account (id, password) VALUES (%s, %s)", [(2, secret), (3, secret)])
            cursor.execute("SELECT id, password FROM account WHERE password = %s", (secret,))
            return [row[0] for row in cursor.fetchall()]

    with record(tmp_path / "x.msgpack"):
        assert work() == [1, 2, 3]
    assert secret.encode() not in (tmp_path / "x.msgpack").read_bytes()
    flavour.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == [1, 2, 3]
    assert session.verdict().ok


@of_one_origin
def test_fetching_more_rows_than_the_recorded_app_is_refused(flavour: MySqlFlavour, tmp_path: Path) -> None:
    def work(count: int) -> Any:
        with flavour.connect() as connection, connection.cursor(flavour.dbapi.cursors.SSCursor) as cursor:
            cursor.execute("SELECT 1 UNION SELECT 2 UNION SELECT 3")
            return cursor.fetchmany(count)

    with record(tmp_path / "x.msgpack"):
        assert len(work(2)) == 2
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="where the recorded app fetched 2 in all and never saw the end"),
    ):
        work(3)


@each_driver
@pytest.mark.parametrize("group", [False, True])
def test_a_live_database(flavour: MySqlFlavour, tmp_path: Path, group: bool) -> None:
    def work() -> Any:
        with flavour.connect(autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS live (n INTEGER)")
            cursor.execute("INSERT INTO live SELECT count(*) FROM live")
            cursor.execute("SELECT max(n) FROM live")
            return cursor.fetchone()[0]

    with record(tmp_path / "x.msgpack"):
        first = work()
    with replay(tmp_path / "x.msgpack", live_plugins=["db" if group else flavour.name]):
        assert work() == first + 1


@of_one_origin
def test_a_server_that_is_lost(flavour: MySqlFlavour, tmp_path: Path) -> None:
    def work() -> Any:
        found: list[Any] = []
        connection, other = flavour.connect(), flavour.connect()
        with other.cursor() as cursor:
            cursor.execute(f"KILL {connection.thread_id()}")
        with pytest.raises(flavour.dbapi.OperationalError) as error, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        found += [error.value.args, flavour.is_open(connection)]
        try:
            connection.ping()
        except flavour.dbapi.OperationalError as gone:
            # mysqlclient opens none again.
            found.append(gone.args)
            connection = flavour.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 2")
            return [*found, cursor.fetchall(), flavour.is_open(connection)]

    with record(tmp_path / "x.msgpack"):
        found = work()
    flavour.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == found
    assert session.verdict().ok


@blocking
# mysql-connector-python gives each statement the id of the span.
@pytest.mark.filterwarnings("ignore:This version of the server does not support Query Attributes")
def test_spans_are_those_of_a_bare_run(flavour: MySqlFlavour, tmp_path: Path) -> None:
    def work() -> Any:
        connection = flavour.connect()
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (n INTEGER)")
        found = [cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]), cursor.rowcount]
        cursor.execute("SELECT n FROM t")
        found.append(cursor.fetchall())
        with pytest.raises(flavour.dbapi.ProgrammingError):
            cursor.execute("SELECT * FROM nowhere")
        connection.close()
        return found

    count, _ = check_spans_are_those_of_a_bare_run(
        flavour.instrumentor(), work, tmp_path / "x.msgpack", stop=flavour.stop, reset=flavour.reset
    )
    assert count == 4


def test_a_connection_of_mysqlconnector_that_was_opened_before(tmp_path: Path) -> None:
    flavour = MySqlConnectorFlavour()
    flavour.start(tmp_path)
    connection = flavour.connect()
    flavour.enable()

    def work(connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 AS n")
        return cursor.fetchall()

    try:
        with record(tmp_path / "x.msgpack") as recording:
            found = work(connection)
        assert [event.signature.method for event in recording.events] == ["SELECT"]
        with (
            replay(tmp_path / "x.msgpack", fail_on_miss=False),
            pytest.raises(ReplayMismatchError, match="on a connection that was opened before the replay"),
        ):
            work(connection)
        connection.close()
        flavour.stop()
        with replay(tmp_path / "x.msgpack"):
            assert work(flavour.connect()) == found
    finally:
        flavour.disable()
        flavour.tear_down()


def test_what_mysqlconnector_does_unseen_is_refused(tmp_path: Path) -> None:
    flavour = MySqlConnectorFlavour()
    flavour.start(tmp_path)

    def prepared() -> Any:
        with flavour.connect(buffered=False) as connection, connection.cursor(prepared=True) as cursor:
            cursor.execute("SELECT %s", (1,))
            return cursor.fetchall()

    async def with_asyncio() -> Any:
        connection = await importlib.import_module("mysql.connector.aio").connect(**flavour.where(False))
        await connection.close()

    try:
        flavour.enable()
        for work in (prepared, lambda: run_async(with_asyncio())):
            with record(tmp_path / "x.msgpack"):
                work()
            assert sum(read_cassette(tmp_path / "x.msgpack").stats.dropped.values()) == 1
            with (
                replay(tmp_path / "x.msgpack", fail_on_miss=False),
                pytest.raises(ReplayMismatchError, match="whose rows cannot be seen"),
            ):
                work()
    finally:
        flavour.disable()
        flavour.tear_down()


@_params(*_CONNECTOR)
def test_what_a_driver_asks_by_itself_is_a_call_of_its_own(flavour: MySqlFlavour, tmp_path: Path) -> None:
    # mysql-connector-python asks for the SQL mode before it writes the first values into a statement.
    def work() -> Any:
        connection = flavour.connect()
        cursor = connection.cursor()
        cursor.execute("CREATE TEMPORARY TABLE brought (id INT)")
        cursor.executemany("INSERT INTO brought VALUES (%s)", [(1,), (2,)])
        connection.close()
        return cursor.rowcount

    with record(tmp_path / "x.msgpack") as recording:
        assert work() == 2
    statements = [event.signature.method for event in recording.events if event.signature.method != "CONNECT"]
    assert statements == ["CREATE", "SELECT", "INSERT"]
    flavour.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == 2
    assert session.verdict().ok


@_params(*_CONNECTOR)
def test_a_miss_of_what_a_driver_asks_by_itself_is_what_the_app_gets(flavour: MySqlFlavour, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        connection = flavour.connect()
        connection.cursor().execute("SELECT 1")
    flavour.stop()
    with suppress(ReplayFailedError), replay(tmp_path / "x.msgpack"):
        connection = flavour.connect()
        with pytest.raises(ReplayMismatchError, match="sql_mode"):
            connection.cursor().execute("SELECT %s", (1,))


@_params(*_CONNECTOR)
def test_a_cursor_whose_connection_is_gone(flavour: MySqlFlavour, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"), pytest.raises(flavour.dbapi.ProgrammingError, match="not connected"):
        flavour.connect().cursor().execute("SELECT 1")
