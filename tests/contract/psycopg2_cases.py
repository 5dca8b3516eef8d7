"""What apps do with psycopg2 alone, with its extras."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import pickle
import select
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import errors, extensions, extras, pool, sql

from tests.contract.direct_cases import Case, Database, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["PSYCOPG2_CASES"]

PSYCOPG2_CASES: dict[str, Case] = {}


def on_psycopg2(case: Case) -> Case:
    """Add a case."""
    PSYCOPG2_CASES[case.__name__] = case
    return case


@on_psycopg2
def what_psycopg2_refuses(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    insert = "INSERT INTO item (name) VALUES (%s)"
    found: list[Any] = [attempt(cursor.callproc, "lower", 42)]
    connection.rollback()
    found += [attempt(extensions.encrypt_password, *given) for given in ((), ("secret",), ("secret", "user", 42))]

    def failing(names: list[str]) -> Iterator[list[str]]:
        for name in names:
            yield [name]
        raise ZeroDivisionError("in the app's own code")

    for names in (["first", "second"], []):
        found.append(attempt(cursor.executemany, insert, failing(names)))
        connection.rollback()
    found.append(attempt(cursor.executemany, insert, ([name] for name in ("first", "second"))))
    found += [cursor.query, cursor.rowcount]
    connection.commit()
    connection.close()
    return seen(found)


class _OwnError(Exception):
    """Of the app's own: no cassette makes it again."""


class _Thing:
    def __init__(self, part: str) -> None:
        self.part = part


class _Quoting:
    def __init__(self, thing: _Thing) -> None:
        if thing.part == "whole":
            raise _OwnError("no adapter")
        self._part = thing.part

    def getquoted(self) -> bytes:
        raise _OwnError(f"not quoted: {self._part}")


@on_psycopg2
def adapters_that_raise(database: Database) -> Any:
    extensions.register_adapter(_Thing, _Quoting)
    try:
        connection = database.connect()
        cursor = connection.cursor()
        found: list[Any] = []
        for part in ("whole", "first", "second"):
            found += [attempt(cursor.execute, "SELECT %s", [_Thing(part)]), connection.get_transaction_status()]
            found.append(attempt(cursor.executemany, "SELECT %s", [[_Thing(part)]]))
            connection.rollback()
        cursor.execute("SELECT 1")
        found += cursor.fetchall()
        connection.close()
    finally:
        del extensions.adapters[_Thing, extensions.ISQLQuote]
    return seen(found)


@on_psycopg2
def a_commit_that_fails(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE checked (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    connection.commit()
    cursor.execute("INSERT INTO checked VALUES (1), (1)")
    found = [connection.status, attempt(connection.commit), connection.status]
    found.append(connection.get_transaction_status())
    cursor.execute("SELECT count(*) FROM checked")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_psycopg2
def notices_that_nobody_keeps(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    connection.autocommit = True
    connection.notices = connection.notifies = None
    cursor.execute("LISTEN here; NOTIFY here; DO $$BEGIN RAISE NOTICE 'lost'; END$$")
    found = [connection.notices, connection.notifies]
    connection.notices, connection.notifies = [], []
    cursor.execute("NOTIFY here; DO $$BEGIN RAISE NOTICE 'kept'; END$$")
    found += [connection.notices, [notify.channel for notify in connection.notifies]]
    connection.close()
    return seen(found)


def _columns(cursor: Any) -> Any:
    return [
        (repr(column), tuple(column), column.table_oid is None, column.table_column)
        for column in cursor.description or ()
    ]


class Item:
    """Of the app's own rows: psycopg2 makes one of the cursor, and sets the values."""

    def __init__(self, cursor: Any) -> None:
        self.values = [None] * len(cursor.description)

    def __setitem__(self, place: int, value: Any) -> None:
        self.values[place] = value

    def __repr__(self) -> str:
        return f"Item({self.values})"


class Loud(extensions.cursor):  # type: ignore[misc]
    """A cursor of the app's, which does something before each statement, in the way of psycopg2's documentation."""

    said: list[bytes]

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002
        self.said = [*getattr(self, "said", ()), self.mogrify(query, vars)]
        return super().execute(query, vars)

    def names(self) -> list[str]:
        """A method of the app's own."""
        self.execute("SELECT name FROM item ORDER BY id")
        return [name for (name,) in self.fetchall()]


class Explicit(extensions.cursor):  # type: ignore[misc]
    """The same, past ``super()``."""

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002
        return extensions.cursor.execute(self, query, vars)


@on_psycopg2
def rows_of_each_kind(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 4)
    found: list[Any] = []
    for factory in (extras.DictCursor, extras.RealDictCursor, extras.NamedTupleCursor, Loud, Explicit):
        with connection.cursor(cursor_factory=factory) as cursor:
            # A column may come twice, but for named tuples.
            also = "" if factory is extras.NamedTupleCursor else ", name"
            cursor.execute(f"SELECT *{also} FROM item ORDER BY id")
            found += [isinstance(cursor, factory), type(cursor).__name__, repr(cursor.fetchone())]
            found += [repr(cursor.fetchmany(2)), repr(list(cursor)), repr(cursor.fetchone()), cursor.rownumber]
    cursor = connection.cursor()
    cursor.row_factory = Item
    cursor.execute("SELECT * FROM item WHERE id > %(least)s ORDER BY id", {"least": 2})
    found += [repr(cursor.fetchall()), cursor.row_factory is Item]
    connection.close()
    return seen(found)


@on_psycopg2
def classes_of_the_app(database: Database) -> Any:
    connection = database.connect(cursor_factory=Loud)
    items(database, connection, 2)
    cursor = connection.cursor()
    found = [cursor.names(), cursor.said, connection.cursor_factory is Loud]
    connection.close()
    log: list[str] = []

    class Shop(extensions.connection):  # type: ignore[misc]
        """A connection of the app's."""

        def __init__(self, dsn: str) -> None:
            super().__init__(dsn)
            with self.cursor() as cursor:
                cursor.execute("SET search_path TO public")
            self.opened = True

    with database.connect(connection_factory=Shop) as shop, shop.cursor() as looking:
        looking.execute("SELECT count(*) FROM item")
        found += [isinstance(shop, Shop), type(shop).__name__, shop.opened, looking.fetchone()]
    logged = database.connect(connection_factory=extras.LoggingConnection)
    handler = logging.Handler()
    handler.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("of an app with psycopg2")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    logged.initialize(logger)
    with logged.cursor() as cursor:
        cursor.execute("SELECT %s", (1,))
        found.append(cursor.fetchall())
    logged.close()
    logger.removeHandler(handler)
    return seen([*found, log])


@on_psycopg2
def what_a_cursor_tells(database: Database) -> Any:
    connection = database.connect()
    found: list[Any] = []
    cursor = connection.cursor()
    for statement, values in (
        ("CREATE TABLE t (n numeric(8, 3), v varchar(7), d timestamptz)", None),
        (
            "INSERT INTO t VALUES (%s, %s, %s)",
            (Decimal("1.5"), "it's", dt.datetime(2024, 2, 29, tzinfo=dt.timezone.utc)),
        ),
        ("SELECT *, 1 AS one FROM t", None),
        ("SELECT * FROM t WHERE false", None),
    ):
        cursor.execute(statement, values)
        found.append([cursor.statusmessage, cursor.rowcount, cursor.rownumber, cursor.query, cursor.lastrowid])
        found += [_columns(cursor), attempt(cursor.fetchall), cursor.rownumber, cursor.closed]
        found.append([connection.status, connection.get_transaction_status(), connection.info.transaction_status])
    found += [cursor.mogrify("SELECT %s, %s", ("a\\'b", [1, None])), repr(cursor)[:8], cursor.name]
    connection.close()
    return seen(found)


@on_psycopg2
def what_a_connection_tells(database: Database) -> Any:
    with database.connect() as connection:
        info = connection.info
        found = [
            info.dbname,
            info.user,
            info.host,
            info.port,
            info.server_version,
            info.backend_pid > 0,
            # A replay under another hash seed is given a port at which nobody listens.
            connection.dsn.replace("@:1/", "@/"),
        ]
        found += [info.parameter_status("DateStyle"), connection.encoding, connection.server_version, info.status]
        found += [connection.protocol_version, connection.get_parameter_status("server_encoding"), info.ssl_in_use]
        found += [sorted(connection.get_dsn_parameters().items()), sorted(info.dsn_parameters.items())]
        found += [connection.closed, connection.async_, repr(connection)[:12], connection.get_backend_pid() > 0]
        found += [type(info).__name__, connection.cursor_factory, connection.notices, connection.notifies]
    connection.close()
    return seen([*found, connection.closed, attempt(connection.cursor)])


@on_psycopg2
def cursors_on_the_server(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 9)
    found: list[Any] = []
    with connection.cursor("some", cursor_factory=extras.RealDictCursor) as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id, name FROM item WHERE id > %s ORDER BY id", (2,))
        found += [cursor.name, _columns(cursor), cursor.rowcount, cursor.fetchone(), cursor.query]
        found += [cursor.rownumber, _columns(cursor), cursor.fetchmany(2), list(cursor), cursor.fetchone()]
    half = connection.cursor("half")
    half.execute("SELECT id FROM item ORDER BY id")
    found.append(half.fetchmany(4))
    connection.commit()
    found += [attempt(half.fetchone), attempt(half.close), attempt(half.fetchmany, 2)]
    held = connection.cursor("held", withhold=True, scrollable=True)
    held.execute("SELECT id FROM item ORDER BY id")
    connection.commit()
    found += [held.withhold, held.scrollable, held.fetchmany(3)]
    held.scroll(-2)
    found.append(held.fetchone())
    held.scroll(7, mode="absolute")
    found += [held.fetchall(), held.fetchone()]
    held.close()
    idle = connection.cursor("idle")
    idle.close()
    found.append(held.closed)
    connection.rollback()
    connection.autocommit = True
    found.append(attempt(connection.cursor("outside").execute, "SELECT 1"))
    connection.close()
    return seen(found)


@on_psycopg2
def scrolling(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 5)
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM item ORDER BY id")
    found = [cursor.fetchall(), cursor.rownumber]
    cursor.scroll(0, "absolute")
    found += [cursor.fetchmany(2), cursor.rownumber, attempt(cursor.scroll, 9), attempt(cursor.scroll, 1, "sideways")]
    cursor.scroll(-1)
    found += [cursor.fetchone(), cursor.rownumber, list(cursor)]
    connection.close()
    return seen(found)


@on_psycopg2
def many_at_once(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    given = [(f"n{number}", number) for number in range(7)]
    found = [
        extras.execute_values(
            cursor, "INSERT INTO item (name, price) VALUES %s RETURNING id", given, page_size=3, fetch=True
        )
    ]
    extras.execute_batch(cursor, "UPDATE item SET price = price + %s WHERE name = %s", [(1, "n1"), (2, "n2")])
    cursor.executemany("INSERT INTO item (name) VALUES (%s)", ((f"m{number}",) for number in range(3)))
    found += [cursor.rowcount, cursor.query, cursor.statusmessage, attempt(cursor.fetchone)]
    cursor.execute("SELECT name, price FROM item ORDER BY id")
    found.append(cursor.fetchall())
    connection.rollback()
    cursor.execute("CREATE FUNCTION twice(n int) RETURNS SETOF int AS 'SELECT n UNION ALL SELECT n' LANGUAGE sql")
    found += [cursor.callproc("twice", [3]), cursor.query, cursor.fetchall(), cursor.description[0].name]
    connection.close()
    return seen(found)


@on_psycopg2
def values_of_its_types(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    extras.register_uuid(conn_or_curs=cursor)
    cursor.execute("CREATE TYPE place AS (name text, at point)")
    place = extras.register_composite("place", connection)
    given = [
        Decimal("1.50"),
        dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone.utc),
        dt.date(2024, 2, 29),
        dt.timedelta(days=1, seconds=3),
        uuid.UUID(int=7),
        extras.Json({"a": [1, None]}),
        [1, 2, None],
        extras.NumericRange(1, 5),
        psycopg2.Binary(b"\x00\xff'"),
        True,
        None,
        float("inf"),
        extras.Inet("10.0.0.1/8"),
        ("tuple", 1),
    ]
    found: list[Any] = []
    for value in given:
        text = "SELECT 1 WHERE ('tuple', 1) IN (%s, %s)" if type(value) is tuple else "SELECT %s AS value"
        cursor.execute(text, (value, value) if type(value) is tuple else (value,))
        found.append([_columns(cursor), seen(cursor.fetchall()), cursor.query])
    cursor.execute("SELECT '{\"a\": 1}'::json, '[1]'::jsonb, '[2,5)'::int4range, ROW('here', '(1,2)')::place")
    found += [cursor.fetchone(), type(place.type).__name__, place.type._fields]
    extras.register_default_json(connection, loads=lambda text: ["of the app", json.loads(text)])
    cursor.execute("SELECT '{\"a\": 1}'::json")
    found += [
        cursor.fetchone(),
        attempt(cursor.execute, "SELECT %s", (object,)),
        attempt(cursor.execute, "SELECT %s", ()),
    ]
    connection.close()
    return seen(found)


@on_psycopg2
def what_functions_in_c_ask_of_it(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 2)
    cursor = connection.cursor()
    quoted = extensions.adapt("it's")
    quoted.prepare(connection)
    binary = extensions.adapt(b"\x00\\")
    binary.prepare(connection)
    statement = sql.SQL("SELECT {column} FROM {table} WHERE id = {number} AND name <> {text}").format(
        column=sql.Identifier("na" + "me"),
        table=sql.Identifier("item"),
        number=sql.Literal(2),
        text=sql.Literal("it's"),
    )
    cursor.execute(statement)
    found = [
        *(
            quoted.getquoted(),
            quoted.encoding,
            binary.getquoted(),
            cursor.fetchall(),
            statement.as_string(connection),
        ),
        *(extensions.quote_ident('a"b', connection), extensions.quote_ident('a"b', cursor)),
        extensions.encrypt_password("pw", "user", connection, "md5"),
        *(cursor.cast(23, "17"), statement.as_string(cursor)),
    ]
    extensions.register_type(extensions.new_type((25,), "UPPER", lambda text, _: text and text.upper()), connection)
    cursor.execute("SELECT name FROM item ORDER BY id")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_psycopg2
def transactions_and_their_status(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    found: list[Any] = []
    cursor = connection.cursor()

    def status(what: str) -> None:
        found.append(
            [what, connection.status, connection.get_transaction_status(), connection.info.transaction_status]
        )

    status("new")
    with connection:
        cursor.execute("INSERT INTO item (name) VALUES ('outer')")
        status("within")
        found.append(attempt(connection.set_session, "SERIALIZABLE"))
    status("behind")
    found.append(attempt(cursor.execute, "SELECT * FROM nowhere"))
    status("failed")
    found.append(attempt(cursor.execute, "SELECT 1"))
    connection.rollback()
    status("rolled back")
    connection.autocommit = True
    cursor.execute("SELECT name FROM item")
    found.append(cursor.fetchall())
    status("autocommit")
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True, autocommit=False)
    found.append([connection.isolation_level, connection.readonly, connection.deferrable, connection.autocommit])
    cursor.execute("SHOW transaction_isolation")
    found += [cursor.fetchone(), attempt(cursor.execute, "DELETE FROM item")]
    connection.rollback()
    connection.set_isolation_level(extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    found += [connection.autocommit, connection.isolation_level]
    connection.set_client_encoding("LATIN1")
    cursor.execute("SELECT 'é'")
    found += [connection.encoding, cursor.fetchone()]
    connection.reset()
    found += [connection.isolation_level, connection.readonly, connection.autocommit, connection.encoding]
    connection.close()
    return seen(found)


@on_psycopg2
def two_phases(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    found: list[Any] = []
    xid = connection.xid(1, "order", "shop")
    for end in (connection.tpc_commit, connection.tpc_rollback):
        connection.tpc_begin(xid)
        cursor = connection.cursor()
        cursor.execute("INSERT INTO item (name) VALUES (%s)", (end.__name__,))
        found += [connection.status, attempt(connection.commit)]
        connection.tpc_prepare()
        found += [connection.status, attempt(cursor.execute, "SELECT 1")]
        end()
        found.append(connection.status)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM item")
    found.append(cursor.fetchall())
    connection.rollback()
    found.append(attempt(connection.tpc_prepare))
    connection.rollback()
    connection.close()
    return seen(found)


@on_psycopg2
def copies(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (n int, name text)")
    found: list[Any] = []
    cursor.copy_from(io.StringIO("1\tone\n2\t\\N\n"), "t")
    found += [cursor.rowcount, cursor.statusmessage]
    cursor.copy_from(io.BytesIO(b"3|three\n"), "t", sep="|", columns=("n", "name"))
    cursor.copy_expert("COPY t (n) FROM STDIN WITH CSV", io.StringIO("4\n5\n"))
    for file in (io.StringIO(), io.BytesIO()):
        cursor.copy_to(file, "t", null="-")
        found += [file.getvalue(), cursor.rowcount, cursor.description]
        cursor.copy_expert("COPY (SELECT name FROM t ORDER BY n) TO STDOUT", file)
        found.append(file.getvalue())
    connection.commit()
    found += [attempt(cursor.copy_from, io.StringIO("x\ty\n"), "t")]
    connection.rollback()
    found += [attempt(cursor.copy_to, io.StringIO(), "nowhere"), attempt(cursor.copy_to, 3, "t")]
    connection.rollback()
    connection.close()
    return seen(found)


@on_psycopg2
def notices(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
    found = [list(connection.notices)]
    del connection.notices[:]
    error = attempt(cursor.execute, "DO $$ BEGIN RAISE NOTICE 'third'; RAISE EXCEPTION 'enough'; END $$")
    found += [list(connection.notices), error]
    connection.rollback()
    heard: list[str] = []
    connection.notices = heard
    cursor.execute("DROP TABLE IF EXISTS nowhere")
    connection.close()
    return seen([*found, heard])


@on_psycopg2
def notifications(database: Database) -> Any:
    listening, telling = database.connect(), database.connect()
    found: list[Any] = []
    for connection in (listening, telling):
        connection.autocommit = True
    listening.cursor().execute("LISTEN news")
    for number in range(3):
        telling.cursor().execute(f"NOTIFY news, 'item {number}'")
        found.append(select.select([listening], [], [], 5)[0] == [listening])
        found.append(listening.poll())
        while listening.notifies:
            notify = listening.notifies.pop(0)
            found.append(
                [notify.channel, notify.payload, notify.pid == telling.get_backend_pid(), type(notify).__name__]
            )
    found.append(select.select([listening], [], [], 0.05)[0])
    listening.cursor().execute("NOTIFY news, 'own'")
    found.append([one.payload for one in listening.notifies])
    telling.close()
    listening.close()
    return seen(found)


@on_psycopg2
def a_lost_connection(database: Database) -> Any:
    connection, other = database.connect(), database.connect()
    other.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    other.cursor().execute("SELECT pg_terminate_backend(%s)", (connection.get_backend_pid(),))
    found = [attempt(cursor.execute, "SELECT 2")]
    found += [connection.closed, attempt(connection.rollback), attempt(connection.cursor), connection.closed]
    other.close()
    return seen(found)


@on_psycopg2
def pools(database: Database) -> Any:
    made = pool.ThreadedConnectionPool(1, 3, database.told())  # type: ignore[attr-defined]
    first = made.getconn()
    items(database, first, 2)
    second = made.getconn(key="second")
    found: list[Any] = []
    for connection in (first, second):
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM item ORDER BY id")
            found.append(cursor.fetchall())
    made.putconn(second, key="second")
    made.putconn(first)
    third = made.getconn()
    found += [third is first, third.status, attempt(made.putconn, object())["class"]]
    made.closeall()
    found.append(attempt(made.getconn)["class"])
    return seen(found)


@on_psycopg2
def errors_and_what_they_tell(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    cursor = connection.cursor()
    found: list[Any] = []
    try:
        cursor.execute("INSERT INTO item (name) VALUES ('item 1')")
    except errors.UniqueViolation as error:
        diag = error.diag
        found += [
            error.pgcode,
            error.pgerror,
            diag.table_name,
            diag.constraint_name,
            diag.message_detail,
            diag.source_file,
        ]
        again = pickle.loads(pickle.dumps(error))
        found += [type(again).__name__, again.pgcode, again.pgerror, again.args]
        found += [isinstance(error, psycopg2.IntegrityError), type(error).__name__, str(error)]
    connection.rollback()
    found.append(attempt(cursor.execute, "SELECT 1/0"))
    connection.rollback()
    found += [attempt(cursor.execute, ""), attempt(cursor.execute, "SELECT %(a)s", {})]
    found.append([connection.status, connection.get_transaction_status()])
    connection.close()
    return seen(found)
