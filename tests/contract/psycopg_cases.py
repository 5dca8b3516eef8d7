"""What apps do with psycopg alone, blocking and with asyncio."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import rows, sql
from psycopg.adapt import Dumper
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from tests.contract.direct_cases import Case, Database, items
from tests.contract.framework import run_async
from tests.contract.sql_observation import attempt, seen

__all__ = ["PSYCOPG_CASES"]

PSYCOPG_CASES: dict[str, Case] = {}


def on_psycopg(case: Case) -> Case:
    """Add a case."""
    PSYCOPG_CASES[case.__name__] = case
    return case


def _columns(cursor: Any) -> Any:
    return [(repr(column), column.type_code, tuple(column[:7])) for column in cursor.description or ()]


class Item:
    """Of the app's own rows."""

    def __init__(self, id: int, name: str, price: int) -> None:  # noqa: A002
        self.shown = f"{id} {name} {price}"

    def __repr__(self) -> str:
        return f"Item({self.shown})"


class _OwnError(Exception):
    """Of the app's own: no cassette makes it again."""


class _Dumping(Dumper):
    def dump(self, obj: Item) -> bytes:
        raise _OwnError(f"not dumped: {obj}")


@on_psycopg
def dumpers_that_raise(database: Database) -> Any:
    connection = database.connect()
    connection.adapters.register_dumper(Item, _Dumping)
    found: list[Any] = []
    for number in range(2):
        values = [Item(number, "a", 1)]
        found += [attempt(connection.execute, "SELECT %s", values), connection.info.transaction_status.name]
        found.append(attempt(connection.cursor().executemany, "SELECT %s", [values]))
        connection.rollback()
    found += connection.execute("SELECT 1").fetchall()
    connection.close()

    async def waiting() -> Any:
        async with await database.connect(kind=psycopg.AsyncConnection) as other:
            other.adapters.register_dumper(Item, _Dumping)
            try:
                await other.execute("SELECT %s", [Item(3, "b", 1)])
            except _OwnError as error:
                return str(error)

    return seen([*found, run_async(waiting())])


@on_psycopg
def row_factories(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 4)
    found: list[Any] = []
    factories = [rows.tuple_row, rows.dict_row, rows.namedtuple_row, rows.class_row(Item)]
    if hasattr(rows, "scalar_row"):
        factories.append(rows.scalar_row)
    for factory in factories:
        with connection.cursor(row_factory=factory) as cursor:
            cursor.execute("SELECT * FROM item ORDER BY id")
            found += [repr(cursor.fetchone()), repr(cursor.fetchmany(2)), repr(list(cursor)), repr(cursor.fetchone())]
    connection.row_factory = rows.args_row(lambda *values: sum(value for value in values if type(value) is int))
    found.append(connection.execute("SELECT * FROM item ORDER BY id").fetchall())
    connection.close()
    return seen(found)


@on_psycopg
def what_a_cursor_tells(database: Database) -> Any:
    connection = database.connect()
    found: list[Any] = []
    cursor = connection.cursor()
    for statement in (
        "CREATE TABLE t (n numeric(8, 3), v varchar(7), d timestamptz)",
        "INSERT INTO t VALUES (1.5, 'a', '2024-02-29 12:00:00+00')",
        "SELECT * FROM t",
        "SELECT",
        "SELECT * FROM t WHERE false",
    ):
        cursor.execute(statement)
        found.append([cursor.statusmessage, cursor.rowcount, cursor.rownumber, _columns(cursor), repr(cursor.closed)])
        found.append(attempt(cursor.fetchall))
        found.append([cursor.rownumber, connection.info.transaction_status.name])
    connection.close()
    return seen(found)


@on_psycopg
def scrolling(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    cursor = connection.execute("SELECT name FROM item ORDER BY id")
    found = [cursor.fetchall()]
    with database.connect() as other, other.cursor() as again:
        again.execute("SELECT count(*) FROM item")
        found.append(again.fetchone())
    connection.close()
    return seen(found)


@on_psycopg
def cursors_on_the_server(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 9)
    found: list[Any] = []
    with connection.cursor("some", row_factory=rows.dict_row) as cursor:
        cursor.execute("SELECT id, name FROM item WHERE id > %s ORDER BY id", (2,))
        found += [cursor.name, _columns(cursor), cursor.rowcount, cursor.fetchone(), cursor.fetchmany(2)]
        cursor.itersize = 2
        found += [list(cursor), cursor.fetchone(), cursor.rownumber]
    with connection.cursor("half") as cursor:
        found.append(cursor.execute("SELECT id FROM item ORDER BY id").fetchmany(4))
    connection.close()
    return seen(found)


@on_psycopg
def values_of_its_types(database: Database) -> Any:
    connection = database.connect()
    given = [
        Decimal("1.50"),
        dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone.utc),
        dt.timedelta(days=1, seconds=3),
        uuid.UUID(int=7),
        Jsonb({"a": [1, None]}),
        [1, 2, None],
        Range(1, 5),
        b"\x00\xff",
        True,
    ]
    found: list[Any] = []
    for binary in (False, True):
        for value in given:
            cursor = connection.execute("SELECT %s AS value", (value,), binary=binary)
            found.append([_columns(cursor), seen(cursor.fetchone())])
    found.append(connection.execute("SELECT %(a)s::int + %(b)s::int", {"a": 1, "b": 2}).fetchone())
    connection.close()
    return seen(found)


@on_psycopg
def statements_that_are_composed(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 2)
    statement = sql.SQL("SELECT {column} FROM {table} WHERE id = {number} AND name <> {text}").format(
        column=sql.Identifier("na" + "me"), table=sql.Identifier("item"), number=2, text=sql.Literal("it's")
    )
    found = [connection.execute(statement).fetchall()]
    found.append(sql.Identifier('a"b').as_string(connection))
    connection.close()
    return seen(found)


@on_psycopg
def transactions_and_their_status(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    found: list[Any] = []

    def status(what: str) -> None:
        found.append([what, connection.info.transaction_status.name])

    with connection.transaction():
        connection.execute("INSERT INTO item (name) VALUES ('outer')")
        error = attempt(_fails_within, connection)
        found.append(error["class"])
        status("within")
    status("behind")
    found.append(attempt(connection.execute, "SELECT * FROM nowhere"))
    status("failed")
    found.append(attempt(connection.execute, "SELECT 1"))
    connection.rollback()
    status("rolled back")
    connection.autocommit = True
    found.append(connection.execute("SELECT name FROM item").fetchall())
    status("autocommit")
    connection.autocommit = False
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.read_only = True
    found.append(connection.execute("SHOW transaction_isolation").fetchone())
    found.append(attempt(connection.execute, "DELETE FROM item"))
    connection.close()
    status("closed")
    return seen(found)


def _fails_within(connection: Any) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO item (name) VALUES ('inner')")
        connection.execute("INSERT INTO item (name) VALUES ('outer')")


@on_psycopg
def a_statement_often(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    # From the fifth time on, psycopg has it prepared.
    found = [connection.execute("SELECT name FROM item WHERE id = %s", (n % 4,)).fetchall() for n in range(9)]
    cursor = connection.cursor()
    statement = "SELECT count(*) FROM item"
    found += [cursor.execute(statement).fetchone() for _ in range(3)]
    cursor.executemany("UPDATE item SET price = %s WHERE id = %s", ((number, number) for number in range(5)))
    found += [cursor.rowcount, cursor.statusmessage]
    connection.close()
    return seen(found)


@on_psycopg
def what_a_connection_tells(database: Database) -> Any:
    with database.connect(autocommit=True) as connection:
        info = connection.info
        found = [info.dbname, info.user, info.host, info.port, info.server_version, info.encoding, str(info.timezone)]
        found += [info.parameter_status("DateStyle"), info.status.name, repr(connection)[:40], connection.closed]
        found += [info.backend_pid > 0]
    return seen([*found, connection.closed, info.status.name])


@on_psycopg
def with_asyncio(database: Database) -> Any:
    async def work() -> Any:
        found: list[Any] = []
        async with await database.connect(kind=psycopg.AsyncConnection) as connection:
            await connection.execute("CREATE TABLE t (n int PRIMARY KEY, name text)")
            async with connection.cursor(row_factory=rows.dict_row) as cursor:
                await cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, f"n{n}") for n in range(5)])
                found.append(cursor.rowcount)
                await cursor.execute("SELECT * FROM t ORDER BY n")
                found += [await cursor.fetchone(), await cursor.fetchmany(2), [row async for row in cursor]]
            await connection.commit()
            try:
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (1, 'again')")
            except psycopg.Error as error:
                found.append(seen(error))
            async with connection.cursor("named") as on_server:
                await on_server.execute("SELECT n FROM t ORDER BY n")
                found += [await on_server.fetchmany(2), [row async for row in on_server]]
            found.append(connection.info.transaction_status.name)
        return found

    return seen(run_async(work()))
