"""What apps do with mysql-connector-python alone."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal
from typing import Any

from tests.contract.direct_cases import Case, Database, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["MYSQLCONNECTOR_CASES"]

MYSQLCONNECTOR_CASES: dict[str, Case] = {}


def on_connector(case: Case) -> Case:
    """Add a case."""
    MYSQLCONNECTOR_CASES[case.__name__] = case
    return case


@on_connector
def as_a_context_manager(database: Database) -> Any:
    with database.connect() as connection:
        items(database, connection)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO item (name) VALUES (%s)", ("gone",))
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM item")
        found = [cursor.fetchall(), connection.commit()]
    return seen([*found, connection.is_connected()])


@on_connector
def values_of_many_types(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE thing (a INTEGER, b DOUBLE PRECISION, c VARCHAR(40), d DATE)")
    rows = [(1, 1.5, "text", "2024-02-29"), (-(2**31), 1e300, "ünï\n'quoted'", "1999-12-31"), (None,) * 4]
    cursor.executemany("INSERT INTO thing VALUES (%s, %s, %s, %s)", rows)
    found = [cursor.rowcount]
    cursor.execute("SELECT * FROM thing")
    found += [cursor.description, cursor.fetchall()]
    connection.close()
    return seen(found)


@on_connector
def after_the_end(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    found = [cursor.fetchall(), cursor.close(), attempt(cursor.execute, "SELECT 2")]
    connection.close()
    found += [attempt(connection.cursor), attempt(connection.ping), connection.is_connected()]
    return seen([*found, attempt(connection.close)])


@on_connector
def what_objects_look_like(database: Any) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    found = [isinstance(connection, database.patched[0]), type(connection).__name__]
    found += [type(cursor).__name__, cursor.description, cursor.rowcount, cursor.arraysize, cursor.lastrowid]
    found += [connection.server_info if hasattr(connection, "server_info") else None, connection.server_version]
    found += [connection.charset, connection.collation, connection.connection_id > 0, connection.database]
    found += [connection.autocommit, connection.in_transaction, connection.sql_mode, connection.time_zone]
    return seen([*found, cursor.close(), connection.close()])


@on_connector
def cursors_of_each_kind(database: Database) -> Any:
    connection = database.connect(buffered=False)
    items(database, connection, 6)
    found: list[Any] = []
    for kind in (
        {},
        {"buffered": True},
        {"dictionary": True},
        {"dictionary": True, "buffered": True},
        {"raw": True},
        {"raw": True, "buffered": True},
    ):
        with connection.cursor(**kind) as cursor:
            cursor.execute("SELECT id, name FROM item WHERE id > %s ORDER BY id", (1,))
            found += [type(cursor).__name__, cursor.rowcount, cursor.description, cursor.column_names]
            found += [cursor.fetchone(), cursor.fetchmany(2), cursor.rowcount, cursor.fetchall(), cursor.rowcount]
            found.append(attempt(cursor.fetchone))
    connection.close()
    return seen(found)


@on_connector
def rows_that_are_left(database: Database) -> Any:
    connection = database.connect(buffered=False)
    items(database, connection, 4)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found = [cursor.fetchone(), attempt(connection.cursor), attempt(connection.commit)]
    found += [cursor.fetchall(), connection.commit()]
    connection.close()
    connection = database.connect(buffered=False, consume_results=True)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found.append(cursor.fetchone())
    cursor.execute("SELECT count(*) FROM item")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_connector
def inserts_and_their_ids(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found: list[Any] = []
    for run, statement, values in (
        (cursor.execute, "INSERT INTO item (name) VALUES (%s)", ("one",)),
        (cursor.executemany, "INSERT INTO item (name, price) VALUES (%s, %s)", [("a", 1), ("b", 2), ("c", None)]),
        (cursor.executemany, "INSERT INTO item (name) VALUES (%(name)s)", [{"name": "d"}, {"name": "e"}]),
        (cursor.executemany, "UPDATE item SET price = %s WHERE name = %s", [(n, c) for n, c in enumerate("abc")]),
        (cursor.execute, "REPLACE INTO item (id, name) VALUES (%(id)s, %(name)s)", {"id": 1, "name": "again"}),
        (cursor.executemany, "DELETE FROM item WHERE name = %s", []),
    ):
        found += [run(statement, values), cursor.lastrowid, cursor.rowcount]
    cursor.execute("SELECT id, name, price FROM item ORDER BY id")
    found += [cursor.fetchall(), connection.in_transaction, connection.commit(), connection.in_transaction]
    connection.close()
    return seen(found)


@on_connector
def several_results(database: Database) -> Any:
    connection = database.connect(buffered=False)
    items(database, connection, 3)
    found: list[Any] = []
    with connection.cursor(dictionary=True) as cursor:
        cursor.execute("SELECT 1 AS a; UPDATE item SET price = 9; SELECT name FROM item ORDER BY id")
        found += [cursor.fetchall(), cursor.nextset(), cursor.rowcount, cursor.description]
        found += [cursor.nextset(), cursor.fetchmany(2), cursor.fetchall(), cursor.nextset()]
    cursor = connection.cursor()
    cursor.execute("SELECT 1; SELECT * FROM nowhere")
    found += [cursor.fetchall(), attempt(cursor.nextset)["class"]]
    connection.close()
    return seen(found)


@on_connector
def stored_procedures(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE PROCEDURE twice(IN n INT, OUT m INT) BEGIN SELECT n; SET m = 2 * n; SELECT m; END")
    found = [cursor.callproc("twice", (7, 0))]
    with warnings.catch_warnings():
        # It will be a property, its authors say.
        warnings.simplefilter("ignore")
        found.append([result.fetchall() for result in cursor.stored_results()])
    connection.close()
    return seen(found)


@on_connector
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
    connection.close()
    return seen(found)


@on_connector
def settings_of_a_connection(database: Any) -> Any:
    connection = database.connect(autocommit=True, time_zone="+02:00", sql_mode="ANSI_QUOTES")
    found = [connection.autocommit, connection.ping(), connection.is_connected()]
    connection.autocommit = False
    connection.database = database.url.database
    connection.sql_mode = ""
    connection.start_transaction()
    cursor = connection.cursor()
    cursor.execute("SELECT 'é'")
    found += [cursor.fetchone(), cursor.statement, connection.rollback(), connection.server_version]
    connection.reconnect()
    cursor = connection.cursor()
    cursor.execute("SELECT 2")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@on_connector
def warnings_of_the_server(database: Database) -> Any:
    connection = database.connect(sql_mode="NO_ENGINE_SUBSTITUTION", get_warnings=True)
    cursor = connection.cursor()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        cursor.execute("CREATE TABLE t (n TINYINT)")
        cursor.execute("INSERT INTO t VALUES (%s)", (1000,))
        found = [cursor.warnings, cursor.warning_count]
    connection.close()
    return seen([*found, [str(warning.message) for warning in said if "socket" not in str(warning.message)]])
