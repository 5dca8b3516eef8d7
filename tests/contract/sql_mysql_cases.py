"""What only MySQL and MariaDB have: their types, error numbers, numbers of rows, warnings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from tests.contract.sql_cases import Case, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["MYSQL_CASES"]

MYSQL_CASES: dict[str, Case] = {}


def _case(case: Callable[[sa.Connection], Any]) -> Case:
    MYSQL_CASES[case.__name__] = case
    return case


@_case
def mysql_types(connection: sa.Connection) -> Any:
    metadata = sa.MetaData()
    values: dict[str, tuple[Any, Any]] = {
        "tiny": (mysql.TINYINT(unsigned=True), 255),
        "medium": (mysql.MEDIUMINT, -(2**23)),
        "huge": (mysql.BIGINT(unsigned=True), 2**64 - 1),
        "exact": (mysql.DECIMAL(30, 10), Decimal("12345678901234567890.0123456789")),
        "single": (mysql.FLOAT, 0.5),
        "double": (mysql.DOUBLE(asdecimal=False), 0.1),
        "year": (mysql.YEAR, 2155),
        "moment": (mysql.DATETIME(fsp=6), dt.datetime(2024, 2, 29, 1, 2, 3, 456789)),  # noqa: DTZ001
        "stamp": (mysql.TIMESTAMP(fsp=3), dt.datetime(2024, 2, 29, 1, 2, 3, 456000)),  # noqa: DTZ001
        "span": (mysql.TIME(fsp=6), dt.time(23, 59, 59, 1)),
        "colour": (mysql.ENUM("red", "blue"), "blue"),
        "flags": (mysql.SET("a", "b", "c"), {"a", "c"}),
        "bits": (mysql.BIT(10), 0b1000000001),
        "raw": (mysql.VARBINARY(10), b"\x00\xff%s"),
        "long": (mysql.LONGTEXT, "ü☃\U0001f600" * 100),
        "blob": (mysql.MEDIUMBLOB, bytes(range(256))),
        "json": (mysql.JSON, {"a": [1, 2.5, None, "ü"]}),
        "folded": (mysql.VARCHAR(20, collation="utf8mb4_unicode_ci"), "Straße"),
    }
    table = sa.Table(
        "kinds",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, kind, nullable=True) for name, (kind, _) in values.items()),
    )
    metadata.create_all(connection)
    connection.execute(table.insert(), {name: value for name, (_, value) in values.items()})
    connection.execute(table.insert(), dict.fromkeys(values))
    connection.commit()
    found = [seen(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
    # As the driver gives them, without SQLAlchemy's types.
    found += [seen(row) for row in connection.exec_driver_sql("SELECT * FROM kinds ORDER BY id")]
    found.append(connection.scalar(sa.select(table.c.id).where(table.c.huge == 2**64 - 1)))
    found.append(connection.scalar(sa.select(table.c.id).where(table.c.json["a"][0].as_integer() == 1)))
    found.append(connection.scalar(sa.select(table.c.id).where(table.c.folded == "strasse")))
    inspector = sa.inspect(connection)
    found += [{name: str(item) for name, item in column.items()} for column in inspector.get_columns("kinds")]
    connection.rollback()
    return found


@_case
def what_the_server_computes(connection: sa.Connection) -> Any:
    expressions = (
        *(
            "1 / 3",
            "10 DIV 3",
            "1e400",
            "TRUE",
            "NULL",
            "''",
            "X'00FF'",
            "_binary 'x'",
            "b'101'",
            "CAST(1 AS UNSIGNED)",
        ),
        *("DATE '2020-01-01'", "TIMESTAMP '2020-01-01 00:00:00.5'", "TIME '100:00:01'", "TIME '-00:00:01.25'"),
        *(
            "CAST('0000-00-00' AS DATE)",
            "JSON_OBJECT('a', 1)",
            "SUM(1)",
            "AVG(1)",
            "GROUP_CONCAT('a')",
            "18446744073709551615",
        ),
    )
    found = [
        attempt(lambda text=text: connection.execute(sa.text(f"SELECT {text} AS v".replace(":", "\\:"))).scalar())
        for text in expressions
    ]
    connection.rollback()
    return found


@_case
def rows_that_are_matched_changed_or_replaced(connection: sa.Connection) -> Any:
    table = items(connection, 3)
    found: list[Any] = [
        connection.execute(table.update().where(table.c.id == 1).values(name="item 1")).rowcount,
        connection.execute(table.update().values(price=table.c.price)).rowcount,
    ]
    insert = mysql.insert(table).values(id=1, name="again", price=7)
    result = connection.execute(insert.on_duplicate_key_update(name=insert.inserted.name))
    found += [result.rowcount, result.lastrowid]
    result = connection.execute(sa.text("INSERT INTO item (name) VALUES ('x'), ('y')"))
    found += [result.rowcount, result.lastrowid]
    found.append(connection.execute(sa.text("REPLACE INTO item (id, name) VALUES (2, 'z')")).rowcount)
    found.append(seen(connection.execute(table.insert().values(name="last")).inserted_primary_key))
    found.append(seen(connection.execute(sa.select(table).order_by(table.c.id)).all()))
    connection.commit()
    return found


@_case
def error_numbers(connection: sa.Connection) -> Any:
    items(connection, 1)
    connection.execute(sa.text("CREATE TABLE child (id INTEGER REFERENCES item (id)) ENGINE=InnoDB"))
    found = []
    for statement in (
        "INSERT INTO item (name) VALUES ('item 1')",
        "INSERT INTO child VALUES (99)",
        f"INSERT INTO item (name) VALUES ('{'x' * 50}')",
        "INSERT INTO item (name, price) VALUES ('y', 1e30)",
        "SELECT CAST('2020-13-01' AS DATE), 1 / 0",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'mine', MYSQL_ERRNO = 30001",
        "SELECT 1 FROM nowhere",
        "KILL CONNECTION 999999999",
        "SELEKT",
    ):
        found.append(attempt(lambda statement=statement: connection.exec_driver_sql(statement).all()))
        connection.rollback()
    found.append(seen(connection.execute(sa.text("SELECT 1")).scalar()))
    connection.rollback()
    return found
