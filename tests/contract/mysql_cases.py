"""What apps do with a MySQL driver alone, whichever it is."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal
from typing import Any

from pymysql.constants import FIELD_TYPE  # type: ignore[import-untyped,unused-ignore]

from tests.contract.direct_cases import Case, Database, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["CONVERTER_CASES", "MYSQL_CASES"]

MYSQL_CASES: dict[str, Case] = {}


def on_mysql(case: Case) -> Case:
    """Add a case."""
    MYSQL_CASES[case.__name__] = case
    return case


@on_mysql
def as_a_context_manager(database: Any) -> Any:
    found: list[Any] = []
    with database.connect() as connection:
        items(database, connection)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES (%s)", ("gone",))
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM item")
        found += [cursor.fetchall(), connection.commit()]
    return seen([*found, database.is_open(connection)])


@on_mysql
def values_of_many_types(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE thing (a INTEGER, b DOUBLE PRECISION, c VARCHAR(40), d DATE)")
    rows = [(1, 1.5, "text", "2024-02-29"), (-(2**31), 1e300, "ünï\n'quoted'", "1999-12-31"), (None,) * 4]
    found = [attempt(cursor.execute, "INSERT INTO thing (b) VALUES (%s)", (float("inf"),))["class"]]
    cursor.executemany("INSERT INTO thing VALUES (%s, %s, %s, %s)", rows)
    cursor.execute("SELECT * FROM thing")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_mysql
def after_the_end(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    found = [cursor.fetchall()]
    cursor.close()
    found += [attempt(cursor.execute, "SELECT 2"), attempt(cursor.fetchall)]
    connection.close()
    return seen([*found, attempt(connection.commit), attempt(connection.query, "SELECT 1")])


@on_mysql
def what_objects_look_like(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    found = [isinstance(connection, database.dbapi.connections.Connection), type(connection).__name__]
    found += [type(cursor) is database.dbapi.cursors.Cursor, cursor.connection is connection]
    found += [cursor.description, cursor.rowcount, cursor.arraysize]
    found += [hasattr(cursor, name) for name in ("lastrowid", "mogrify", "copy", "callproc", "nothing")]
    return seen([*found, cursor.close(), connection.close()])


@on_mysql
def cursors_of_each_class(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 5)
    found: list[Any] = []
    cursors = database.dbapi.cursors
    for kind in (cursors.Cursor, cursors.DictCursor, cursors.SSCursor, cursors.SSDictCursor):
        with connection.cursor(kind) as cursor:
            cursor.execute("SELECT id, name, i.* FROM item i ORDER BY id")
            found += [type(cursor).__name__, cursor.rowcount, cursor.description]
            found += [cursor.fetchone(), cursor.fetchmany(2), cursor.rownumber, list(cursor), cursor.fetchone()]
    connection.close()
    return seen(found)


@on_mysql
def an_unbuffered_cursor_that_is_half_read(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 6)
    found: list[Any] = []
    with connection.cursor(database.dbapi.cursors.SSCursor) as cursor:
        cursor.execute("SELECT name FROM item ORDER BY id")
        found += [cursor.fetchone(), cursor.fetchmany(2)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM item")
        found.append(cursor.fetchall())
    with connection.cursor(database.dbapi.cursors.SSCursor) as cursor:
        cursor.execute("SELECT name FROM item ORDER BY id")
        found.append(cursor.fetchone())
        if hasattr(cursor, "scroll"):
            cursor.scroll(2)
        found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_mysql
def scrolling(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 4)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found = [cursor.fetchall()]
    cursor.scroll(1, "absolute")
    found += [cursor.fetchone(), cursor.rownumber]
    cursor.scroll(-2)
    found += [cursor.fetchmany(2), attempt(cursor.scroll, 9)]
    connection.close()
    return seen(found)


@on_mysql
def inserts_and_their_ids(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found = [cursor.execute("INSERT INTO item (name) VALUES (%s)", ("one",)), cursor.lastrowid]
    found.append(connection.insert_id())
    found += [cursor.executemany("INSERT INTO item (name, price) VALUES (%s, %s)", [("a", 1), ("b", 2), ("c", None)])]
    found += [cursor.lastrowid, cursor.rowcount, connection.affected_rows()]
    found += [cursor.executemany("INSERT INTO item (name) VALUES (%(name)s)", [{"name": "d"}, {"name": "e"}])]
    found += [cursor.executemany("UPDATE item SET price = %s WHERE name = %s", ((n, c) for n, c in enumerate("abc")))]
    found += [cursor.executemany("DELETE FROM item WHERE name = %s", []), cursor.rowcount]
    cursor.max_stmt_length = 120
    found += [cursor.executemany("INSERT INTO item (name) VALUES (%s)", [(f"part {n}",) for n in range(9)])]
    found += [cursor.executemany("INSERT INTO item (name) VALUES (%s)", ((f"p{n}",) for n in range(9)))]
    found.append(cursor.execute("REPLACE INTO item (id, name) VALUES (%(id)s, %(name)s)", {"id": 1, "name": "again"}))
    cursor.execute("SELECT id, name, price FROM item ORDER BY id")
    found.append(cursor.fetchall())
    connection.commit()
    connection.close()
    return seen(found)


@on_mysql
def several_results(database: Any) -> Any:
    connection = database.connect(**database.several)
    items(database, connection, 3)
    found: list[Any] = []
    for kind in (database.dbapi.cursors.Cursor, database.dbapi.cursors.SSDictCursor):
        with connection.cursor(kind) as cursor:
            cursor.execute("SELECT 1 AS a; UPDATE item SET price = 9; SELECT name FROM item ORDER BY id")
            found += [cursor.description, cursor.fetchall(), cursor.nextset(), cursor.rowcount, cursor.description]
            found += [cursor.nextset(), cursor.fetchmany(2), cursor.fetchall(), cursor.nextset()]
    cursor = connection.cursor()
    found += [cursor.execute("SELECT 1; SELECT * FROM nowhere"), attempt(cursor.nextset)]
    cursor.execute("SELECT 1; SELECT 2; SELECT 3")
    cursor.execute("SELECT 4")
    found.append(cursor.fetchall())
    cursor.execute("SELECT 1; SELECT 2")
    found.append(connection.cursor().execute("SELECT 5"))
    connection.close()
    return seen(found)


@on_mysql
def stored_procedures(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE PROCEDURE twice(IN n INT, OUT m INT) BEGIN SELECT n; SET m = 2 * n; SELECT m; END")
    found = [cursor.callproc("twice", (7, 0)), cursor.fetchall(), cursor.nextset(), cursor.fetchall()]
    found += [cursor.nextset(), cursor.nextset()]
    cursor.execute("SELECT @_twice_1")
    found.append(cursor.fetchone())
    connection.close()
    return seen(found)


@on_mysql
def values_of_its_types(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(
        "CREATE TABLE t (a DECIMAL(8, 3), b DATETIME(6), c TIME, d DATE, e BLOB, f BIT(4), g ENUM('x', 'y'), "
        "h SET('p', 'q'), i JSON, j YEAR, k BIGINT UNSIGNED, l FLOAT, m TINYINT(1), n TEXT)"
    )
    given = (
        Decimal("1.500"),
        dt.datetime(2024, 2, 29, 12, 0, 0, 5),  # noqa: DTZ001 - MySQL's have none
        dt.timedelta(hours=-3, seconds=1),
        dt.date(2024, 1, 1),
        b"\x00\xff'\\",
        5,
        "y",
        "p,q",
        '{"a": [1, null]}',
        1999,
        2**64 - 1,
        0.25,
        True,
        "ünï 'q' \\ \n 🙂",
    )
    cursor.execute(f"INSERT INTO t VALUES ({', '.join(['%s'] * len(given))})", given)
    cursor.execute("INSERT INTO t (a) VALUES (NULL)")
    cursor.execute("SELECT * FROM t")
    found = [cursor.description, cursor.fetchall()]
    cursor.execute("SELECT count(*) FROM t WHERE e = %s AND d IN %s", (given[4], (given[3], dt.date(2000, 1, 1))))
    found.append(cursor.fetchone())
    connection.close()
    return seen(found)


@on_mysql
def what_a_connection_tells(database: Any) -> Any:
    connection = database.connect(autocommit=True)
    found = [connection.get_autocommit(), connection.get_server_info(), connection.character_set_name()]
    found += [connection.get_proto_info(), connection.thread_id() > 0, database.is_open(connection)]
    connection.autocommit(False)
    found += [connection.get_autocommit(), connection.ping()]
    connection.select_db(database.url.database)
    set_character_set = getattr(connection, "set_character_set", None) or connection.set_charset
    found.append(attempt(set_character_set, "latin1"))
    found += [connection.character_set_name(), connection.literal("it's"), connection.escape_string('a"b')]
    connection.begin()
    cursor = connection.cursor()
    cursor.execute("SELECT 'é'")
    found += [cursor.fetchone(), connection.rollback()]
    connection.close()
    return seen(
        [
            *found,
            database.is_open(connection),
            attempt(connection.ping, *database.without_reconnect),
            attempt(connection.close),
        ]
    )


@on_mysql
def warnings_of_the_server(database: Database) -> Any:
    connection = database.connect(sql_mode="NO_ENGINE_SUBSTITUTION")
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (n TINYINT)")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found: list[Any] = []
        for statement in ("INSERT INTO t VALUES (1000)", "DROP TABLE IF EXISTS nowhere", "SELECT n FROM t"):
            found += [cursor.execute(statement), getattr(cursor, "warning_count", None)]
            found += [connection.show_warnings(), [str(warning.message) for warning in said]]
        found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_mysql
def statements_that_fail_in_the_driver(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    found = [attempt(cursor.fetchone), attempt(cursor.execute, "SELECT %s, %s", (1,)), cursor.mogrify("%s", ("a'b",))]
    cursor.execute(b"SELECT 1")
    found.append(cursor.fetchall())
    connection.close()
    return seen([*found, attempt(cursor.execute, "SELECT 1")])


class Amount:
    """Of the app's own values."""

    def __init__(self, text: Any) -> None:
        self.shown = text.decode() if isinstance(text, bytes) else str(text)

    def __repr__(self) -> str:
        return f"Amount({self.shown})"


def converters_of_the_app(database: Any) -> Any:
    conversions = {
        **database.conversions(),
        FIELD_TYPE.NEWDECIMAL: Amount,
        FIELD_TYPE.LONG: lambda text: int(text) + 1,
    }
    connection = database.connect(conv=conversions)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (n INTEGER, a DECIMAL(8, 2))")
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "1.5"), (2, None)])
    cursor.execute("SELECT * FROM t")
    found = [repr(cursor.fetchall())]
    connection.close()
    return seen(found)


CONVERTER_CASES: dict[str, Case] = {converters_of_the_app.__name__: converters_of_the_app}
"""For drivers whose converters are functions in Python."""
