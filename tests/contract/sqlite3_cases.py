"""What apps do with sqlite3 alone."""

from __future__ import annotations

import datetime as dt
import sqlite3
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.direct_cases import Case, Database, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["SQLITE3_CASES"]

SQLITE3_CASES: dict[str, Case] = {}


def on_sqlite3(case: Case) -> Case:
    """Add a case."""
    SQLITE3_CASES[case.__name__] = case
    return case


@on_sqlite3
def shortcuts_of_a_connection(database: Database) -> Any:
    connection = database.connect()
    connection.executescript("CREATE TABLE t (n); CREATE TABLE u (n); INSERT INTO u VALUES (7)")
    many = connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(4)))
    found = [many.rowcount, connection.total_changes, connection.in_transaction]
    connection.commit()
    found += [connection.in_transaction, connection.execute("SELECT * FROM t").fetchall()]
    found += [list(connection.execute("SELECT n FROM u WHERE n = :n", {"n": 7})), connection.total_changes]
    found.append(attempt(connection.executescript, "INSERT INTO u VALUES (8); SELECT * FROM nowhere"))
    found.append(connection.execute("SELECT count(*) FROM u").fetchone())
    connection.close()
    return seen(found)


@on_sqlite3
def last_row_ids(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found = [cursor.lastrowid]
    for name in ("a", "b"):
        found += [cursor.execute("INSERT INTO item (name) VALUES (?)", (name,)).lastrowid, cursor.rowcount]
    found.append(cursor.execute("SELECT 1").lastrowid)
    connection.close()
    return seen(found)


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@dataclass
class Item:
    """Of the app's own rows."""

    id: int
    name: str


@on_sqlite3
def row_factories(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    query = "SELECT id, name FROM item ORDER BY id"
    found: list[Any] = []
    for factory in (sqlite3.Row, _as_dict, lambda _, row: list(row), None, lambda _, row: Item(*row)):
        connection.row_factory = factory
        cursor = connection.execute(query)
        row = cursor.fetchone()
        found += [type(row).__name__, seen(row["name"]) if isinstance(row, sqlite3.Row) else repr(row)]
        found += [[dict(row) if isinstance(row, sqlite3.Row) else repr(row) for row in cursor]]
    cursor = connection.cursor()
    cursor.row_factory = lambda _, row: row[0]
    found += [cursor.execute(query).fetchall(), cursor.execute("SELECT 'one'").fetchone()]
    connection.close()
    return seen(found)


class Point:
    """A value that the app adapts and converts."""

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __conform__(self, protocol: object) -> str | None:
        return f"{self.x};{self.y}" if protocol is sqlite3.PrepareProtocol else None

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


@on_sqlite3
def converters_and_adapters(database: Database) -> Any:
    sqlite3.register_converter("point", lambda value: Point(*map(float, value.split(b";"))))
    sqlite3.register_converter("day", lambda value: dt.date.fromisoformat(value.decode()))
    connection = database.connect(detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES)
    connection.execute("CREATE TABLE place (at point, day day, raw TEXT)")
    connection.execute("INSERT INTO place VALUES (?, ?, ?)", (Point(1, 2.5), "2024-02-29", "3;4"))
    found = connection.execute('SELECT at, day, raw AS "raw [point]" FROM place').fetchall()
    found += connection.execute("SELECT count(*) FROM place WHERE at = ?", (Point(1, 2.5),)).fetchall()
    connection.close()
    return repr(found)


@on_sqlite3
def functions_of_the_app(database: Database) -> Any:
    connection = database.connect()
    connection.create_function("twice", 1, lambda value: value * 2)
    connection.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    connection.executescript("CREATE TABLE t (n); INSERT INTO t VALUES ('a'), ('b')")
    found = [
        connection.execute("SELECT twice(?)", (21,)).fetchone(),
        connection.execute("SELECT n FROM t ORDER BY n COLLATE backwards").fetchall(),
        attempt(lambda: connection.execute("SELECT twice(NULL)").fetchone()),
    ]
    connection.close()
    return seen(found)


@on_sqlite3
def blobs_and_text_factories(database: Database) -> Any:
    connection = database.connect()
    connection.execute("CREATE TABLE t (data BLOB, word TEXT)")
    connection.execute("INSERT INTO t VALUES (?, ?)", (bytes(range(256)), "grün"))
    connection.execute("INSERT INTO t VALUES (?, ?)", (memoryview(b"abc"), "x"))
    found = [connection.execute("SELECT * FROM t").fetchall()]
    connection.text_factory = bytes
    found.append(connection.execute("SELECT word FROM t").fetchall())
    connection.close()
    return seen(found)


@on_sqlite3
def isolation_levels(database: Database) -> Any:
    connection = database.connect(isolation_level=None)
    connection.execute("CREATE TABLE t (n)")
    found: list[Any] = [connection.isolation_level, connection.in_transaction]
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    found.append(connection.in_transaction)
    connection.execute("ROLLBACK")
    found.append(connection.in_transaction)
    connection.isolation_level = "EXCLUSIVE"
    connection.execute("INSERT INTO t VALUES (2)")
    found += [connection.isolation_level, connection.in_transaction]
    found.append(attempt(setattr, connection, "isolation_level", 3))
    connection.commit()
    found += [connection.execute("SELECT * FROM t").fetchall(), connection.in_transaction]
    if sys.version_info >= (3, 12):
        connection.autocommit = True
        found += [connection.autocommit, connection.execute("SELECT 1").fetchone()]
    connection.close()
    return seen(found)


@on_sqlite3
def a_failed_statement_leaves_its_transaction_open(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    error = attempt(connection.execute, "INSERT INTO item (name) VALUES ('item 1')")
    found = [error.get("sqlite_errorname", None), connection.in_transaction]
    if connection.in_transaction:
        connection.rollback()
    found.append(connection.in_transaction)
    connection.close()
    return found


class Shop(sqlite3.Connection):
    """A class of connections of the app's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA foreign_keys = ON")
        self.asked = 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.asked = getattr(self, "asked", 0) + 1
        return super().execute(*args)

    def names(self) -> list[str]:
        """What is there."""
        return [name for (name,) in self.execute("SELECT name FROM item ORDER BY id")]


class Counting(sqlite3.Cursor):
    """A class of cursors of the app's own."""

    def execute(self, sql: str, *args: Any) -> Counting:
        super().execute(sql.replace("%s", "?"), *args)
        return self


@on_sqlite3
def classes_of_the_app(database: Database) -> Any:
    connection = database.connect(factory=Shop)
    items(database, connection, 2)
    found = [type(connection).__name__, isinstance(connection, Shop), connection.names(), connection.asked]
    cursor = connection.cursor(factory=Counting)
    found += [isinstance(cursor, Counting), cursor.execute("SELECT name FROM item WHERE id = %s", (1,)).fetchall()]
    connection.close()
    return seen(found)


@on_sqlite3
def in_memory(database: Database) -> Any:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (n)")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    connection.create_function("twice", 1, lambda value: value * 2)
    connection.row_factory = sqlite3.Row
    with connection:
        found: list[Any] = [tuple(row) for row in connection.execute("SELECT twice(n) FROM t")]
    found += [connection.in_transaction, attempt(connection.execute, "SELECT * FROM nowhere")]
    connection.close()
    return seen(found)


@on_sqlite3
def in_memory_and_shared(database: Database) -> Any:
    address = "file:shop?mode=memory&cache=shared"
    first, second = (sqlite3.connect(address, uri=True) for _ in range(2))
    items(database, first, 2)
    found = second.execute("SELECT name FROM item ORDER BY id").fetchall()
    first.close()
    second.close()
    return seen(found)


@on_sqlite3
def a_file_of_a_uri(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    connection.close()
    reading = database.connect(reads=True)
    found = [reading.execute("SELECT name FROM item").fetchall()]
    found.append(attempt(reading.execute, "DELETE FROM item"))
    reading.close()
    return seen(found)


@on_sqlite3
def from_another_thread(database: Database) -> Any:
    connection = database.connect()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(attempt(connection.execute, "SELECT 1")))
    thread.start()
    thread.join()
    connection.close()
    found[0]["text"] = found[0]["args"] = found[0]["text"].partition(" The object")[0]
    shared = database.connect(check_same_thread=False)
    thread = threading.Thread(target=lambda: found.append(seen(shared.execute("SELECT 2").fetchall())))
    thread.start()
    thread.join()
    shared.close()
    return found


@on_sqlite3
def a_dump(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 2)
    connection.execute("CREATE VIEW cheap AS SELECT * FROM item WHERE price < 15")
    cursor = connection.execute("SELECT id AS number, name FROM item")
    found = [cursor.description, list(connection.iterdump())]
    connection.close()
    return seen(found)


@on_sqlite3
def blobs_in_pieces(database: Database) -> Any:
    connection = database.connect()
    if not hasattr(connection, "blobopen"):  # It came with Python 3.11.
        connection.close()
        return None
    connection.execute("CREATE TABLE t (data BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (bytes(range(20)),))
    connection.commit()
    with connection.blobopen("t", "data", 1) as blob:
        found = [type(blob).__name__, len(blob), blob.read(3), blob.tell(), blob[5], blob[6:9]]
        blob.seek(0)
        blob.write(b"new")
    with connection.blobopen("t", "data", 1, readonly=True) as blob:
        found += [blob.read(4), attempt(blob.write, b"x")]
    found += [attempt(connection.blobopen, "t", "data", 9), attempt(connection.blobopen, "nowhere", "data", 1)]
    found.append(attempt(connection.blobopen, "t"))
    connection.commit()
    left = connection.blobopen("t", "data", 1)
    connection.close()
    return seen([*found, attempt(left.read)])


@on_sqlite3
def values_that_come_one_by_one(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    insert = "INSERT INTO item (name) VALUES (?)"
    cursor = connection.cursor()
    found: list[Any] = []

    def while_reading() -> Iterator[list[str]]:
        row = [""]
        for (name,) in connection.execute("SELECT name FROM item WHERE id <= 3 ORDER BY id"):
            row[0] = f"{name} again"
            yield row

    cursor.executemany(insert, while_reading())
    found += [cursor.rowcount, connection.total_changes]
    found.append(attempt(cursor.executemany, insert, ((name,) for name in ("new", "item 1", "never"))))
    # What a call had written before it failed: a replay that adds new calls reads all values before it makes one.
    connection.rollback()
    found.append(cursor.execute("SELECT name FROM item ORDER BY id").fetchall())
    connection.close()
    return seen(found)


class NotTakenError(Exception):
    """An error of the app's own."""


@on_sqlite3
def row_factories_that_raise(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 4)

    def factory(_: Any, row: tuple[Any, ...]) -> Any:
        if row[0] == 3:
            raise NotTakenError(row)
        return list(row)

    connection.row_factory = factory
    select = "SELECT id, name FROM item WHERE id > ? ORDER BY id"
    found: list[Any] = []
    for after in range(4):
        found.append(attempt(lambda after=after: connection.execute(select, (after,)).fetchone()))
        found.append(attempt(lambda after=after: connection.execute(select, (after,)).fetchmany(2)))
        found.append(attempt(lambda after=after: connection.execute(select, (after,)).fetchall()))
        found.append(attempt(lambda after=after: list(connection.execute(select, (after,)))))
    connection.close()
    return seen(found)


class Numbers:
    """Values that have a length and items, and no more."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> int:
        assert place < self._count
        return place


@on_sqlite3
def values_with_a_length_and_items(database: Database) -> Any:
    connection = database.connect()
    found = [connection.execute("SELECT ?, ?", Numbers(2)).fetchall()]  # type: ignore[arg-type]
    found.append(attempt(connection.execute, "SELECT ?, ?", Numbers(1)))
    connection.close()
    return seen(found)


class ByName(sqlite3.Cursor):
    """A class of cursors that makes its rows itself."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.row_factory = _as_dict
        self.arraysize = 2
        self.note = "of the app"


@on_sqlite3
def what_a_class_of_cursors_sets(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    found: list[Any] = []
    for factory in (ByName, lambda connection: ByName(connection)):
        cursor = connection.cursor(factory=factory)  # type: ignore[call-overload]
        cursor.execute("SELECT id, name FROM item ORDER BY id")
        found += [isinstance(cursor, ByName), cursor.fetchmany(), cursor.note, cursor.fetchall()]
    cursor = connection.cursor()
    cursor.execute("INSERT INTO item (name) VALUES ('last')")
    found += [cursor.lastrowid, attempt(cursor.execute, "INSERT INTO item (name) VALUES ('last')"), cursor.lastrowid]
    connection.close()
    return seen(found)
