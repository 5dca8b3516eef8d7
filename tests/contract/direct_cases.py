"""What apps do with a driver of PEP 249 that they use themselves, for every such driver alike.

A case gets the `Database`, and opens its own connections. Each begins with no tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from tests.contract.sql_observation import attempt, seen

__all__ = ["DIRECT_CASES", "Database", "direct", "items"]


class Database(Protocol):
    """A driver, and where its database is."""

    dbapi: Any
    serial: str
    """The type of a primary key that the database counts."""

    def connect(self, **options: Any) -> Any:
        """Open a connection."""

    def sql(self, text: str) -> str:
        """A statement whose values stand as ``?``, as the driver has it."""


Case = Callable[[Database], Any]
DIRECT_CASES: dict[str, Case] = {}


def direct(case: Case) -> Case:
    """Add a case."""
    DIRECT_CASES[case.__name__] = case
    return case


def items(database: Database, connection: Any, rows: int = 0) -> None:
    """A fresh table, with some rows in it."""
    cursor = connection.cursor()
    cursor.execute(f"CREATE TABLE item (id {database.serial}, name VARCHAR(40) NOT NULL UNIQUE, price INTEGER)")
    if rows:
        values = [(f"item {number}", number * 10) for number in range(1, rows + 1)]
        cursor.executemany(database.sql("INSERT INTO item (name, price) VALUES (?, ?)"), values)
    cursor.close()
    connection.commit()


@direct
def select_insert_update_delete(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found: list[Any] = []
    for text, values in (
        ("INSERT INTO item (name, price) VALUES (?, ?)", ("tea", 3)),
        ("SELECT * FROM item", ()),
        ("UPDATE item SET price = ? WHERE name = ?", (4, "tea")),
        ("UPDATE item SET price = 1 WHERE name = ?", ("none",)),
        ("SELECT price FROM item WHERE name = ?", ("tea",)),
        ("DELETE FROM item", ()),
        ("SELECT * FROM item", ()),
    ):
        cursor.execute(database.sql(text), values)
        columns = [column[0] for column in cursor.description or ()]
        found.append([cursor.rowcount, columns, seen(cursor.fetchall()) if columns else None])
    connection.commit()
    cursor.close()
    connection.close()
    return found


def _many(cursor: Any, statement: str, values: Any) -> None:
    """What ``executemany`` returns is the driver's own."""
    cursor.executemany(statement, values)


@direct
def values_given_one_by_one(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    cursor = connection.cursor()
    insert = database.sql("INSERT INTO item (name, price) VALUES (?, ?)")

    def rows(*names: str, fails: bool = False) -> Iterator[tuple[str, int]]:
        for number, name in enumerate(names):
            yield name, number
        if fails:
            raise ZeroDivisionError("in the app's own code")

    found: list[Any] = []
    for given in (rows("a", "b", fails=True), rows(fails=True), rows("a", "item 1"), rows("a", "b")):
        found.append(attempt(_many, cursor, insert, given))
        cursor.close()
        connection.rollback()
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM item ORDER BY id")
        found.append(cursor.fetchall())
    found.append(attempt(_many, cursor, insert, rows("d", "e")))
    connection.commit()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found.append(cursor.fetchall())
    connection.close()
    return seen(found)


@direct
def fetches_of_each_kind(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 9)
    cursor = connection.cursor()
    cursor.execute("SELECT id, name FROM item ORDER BY id")
    cursor.arraysize = 2
    found = [cursor.fetchone(), cursor.fetchmany(), cursor.fetchmany(3), next(iter(cursor)), cursor.fetchall()]
    found += [cursor.fetchone(), cursor.fetchmany(2), cursor.fetchall(), list(cursor)]
    connection.close()
    return seen(found)


@direct
def half_read_and_let_go(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 5)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM item ORDER BY id")
    found = [cursor.fetchone(), cursor.fetchone()]
    cursor.execute("SELECT count(*) FROM item")
    found.append(cursor.fetchone())
    connection.close()
    return seen(found)


@direct
def the_same_query_with_three_answers(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found = []
    for name in ("a", "b", "c"):
        cursor.execute("SELECT count(*) FROM item")
        found.append(cursor.fetchone())
        cursor.execute(database.sql("INSERT INTO item (name) VALUES (?)"), (name,))
    connection.rollback()
    cursor.execute("SELECT count(*) FROM item")
    found.append(cursor.fetchone())
    connection.close()
    return seen(found)


@direct
def commit_and_rollback(database: Database) -> Any:
    connection, other = database.connect(), database.connect()
    items(database, connection)
    looking = other.cursor()
    found: list[Any] = []

    def look() -> None:
        looking.execute("SELECT name FROM item ORDER BY id")
        found.append(seen(looking.fetchall()))
        other.commit()

    cursor = connection.cursor()
    for name, end in (("kept", connection.commit), ("gone", connection.rollback)):
        cursor.execute(database.sql("INSERT INTO item (name) VALUES (?)"), (name,))
        look()
        found.append(seen(end()))
        look()
    connection.close()
    other.close()
    return found


@direct
def as_a_context_manager(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found: list[Any] = []
    with connection.transaction() if hasattr(connection, "transaction") else connection:
        cursor.execute(database.sql("INSERT INTO item (name) VALUES (?)"), ("kept",))
    try:
        with connection.transaction() if hasattr(connection, "transaction") else connection:
            cursor.execute(database.sql("INSERT INTO item (name) VALUES (?)"), ("gone",))
            raise ValueError("of the app")
    except ValueError as error:
        found.append(seen(error))
    cursor.execute("SELECT name FROM item")
    found.append(seen(cursor.fetchall()))
    connection.close()
    return found


@direct
def errors(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    cursor = connection.cursor()
    found: list[Any] = []
    for text, values in (
        ("SELECT * FROM nowhere", ()),
        ("SELEC 1", ()),
        ("INSERT INTO item (name) VALUES (?)", ("item 1",)),
        ("INSERT INTO item (price) VALUES (?)", (1,)),
        ("INSERT INTO item (name) VALUES (?)", ()),
    ):
        found.append(attempt(cursor.execute, database.sql(text), values))
        connection.rollback()
    cursor.execute("SELECT count(*) FROM item")
    found.append(seen(cursor.fetchone()))
    connection.close()
    return found


@direct
def nobody_there(database: Database) -> Any:
    return attempt(lambda: database.connect(fails=True))


@direct
def values_of_many_types(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE thing (a INTEGER, b DOUBLE PRECISION, c VARCHAR(40), d DATE)")
    rows = [
        (1, 1.5, "text", "2024-02-29"),
        (-(2**31), float("inf"), "ünï\n'quoted'", "1999-12-31"),
        (None, None, None, None),
    ]
    cursor.executemany(database.sql("INSERT INTO thing VALUES (?, ?, ?, ?)"), rows)
    cursor.execute("SELECT * FROM thing")
    found = seen(cursor.fetchall())
    cursor.execute(database.sql("SELECT count(*) FROM thing WHERE d < ?"), (str(dt.date(2024, 1, 1)),))
    found.append(seen(cursor.fetchone()))
    connection.rollback()
    connection.close()
    return found


@direct
def two_connections_side_by_side(database: Database) -> Any:
    first, second = database.connect(), database.connect()
    items(database, first, 2)
    cursors = [connection.cursor() for connection in (first, second, first)]
    for cursor in cursors:
        cursor.execute("SELECT name FROM item ORDER BY id")
    found = [cursor.fetchone() for _ in range(3) for cursor in cursors]
    first.close()
    second.close()
    return seen(found)


@direct
def after_the_end(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    found = [seen(cursor.fetchall())]
    cursor.close()
    found += [attempt(cursor.execute, "SELECT 2"), attempt(cursor.fetchall)]
    connection.close()
    return [*found, attempt(connection.cursor), attempt(connection.commit)]


@direct
def what_objects_look_like(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    return [
        isinstance(connection, database.dbapi.Connection),
        type(connection).__name__,
        isinstance(cursor, database.dbapi.Cursor),
        cursor.connection is connection,
        seen([cursor.description, cursor.rowcount, cursor.arraysize]),
        [hasattr(cursor, name) for name in ("lastrowid", "mogrify", "executescript", "copy", "callproc", "nothing")],
        cursor.close(),
        connection.close(),
    ]


class NoLength:
    """Values that do not tell how many they are."""

    def __len__(self) -> int:
        raise ZeroDivisionError("no length")

    def __getitem__(self, place: int) -> int:
        if place:
            raise IndexError(place)
        return place


class NoItems:
    """Values that do not tell what they are."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> int:
        raise ZeroDivisionError("no items")


class NoEnd(list[Any]):
    """Values that stop telling what they are."""

    def __iter__(self) -> Iterator[Any]:
        yield from ()
        raise ZeroDivisionError("no end")


class NoKeys(Mapping[str, Any]):
    """Values by name that do not tell their names."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise ZeroDivisionError("no names")

    def __getitem__(self, name: str) -> Any:
        raise ZeroDivisionError("no value")


class NoText(str):
    """A text that does not show itself."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")

    __repr__ = __str__


class NoNumber(int):
    """A number that does not show itself."""

    def __int__(self) -> int:
        raise ZeroDivisionError("no number")

    __index__ = __str__ = __repr__ = __int__  # type: ignore[assignment]


@direct
def objects_that_raise(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 1)
    cursor = connection.cursor()
    find, insert = map(database.sql, ("SELECT name FROM item WHERE name = ?", "INSERT INTO item (name) VALUES (?)"))
    found: list[Any] = []

    def ran(method: str, statement: str, values: Any) -> Any:
        getattr(cursor, method)(statement, values)
        return cursor.fetchall() if statement is find else cursor.rowcount

    def tried(*given: Any) -> None:
        told = attempt(ran, *given)
        # Some drivers tell the address of what they do not take.
        found.append([told["class"], told["text"].partition(" at 0x")[0]] if isinstance(told, dict) else told)
        connection.rollback()

    for values in (NoLength(), NoItems(), NoEnd(["item 1"]), NoKeys()):
        for given in (values, (values,), ([values],)):
            tried("execute", find, given)
        tried("executemany", insert, [("new",), values])
    for value in (NoText("item 1"), NoNumber(1)):
        tried("execute", find, (value,))
    tried("executemany", insert, NoEnd([("new",)]))
    tried("execute", find, ("item 1",))
    connection.close()
    return found
