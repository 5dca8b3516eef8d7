"""What only PostgreSQL has: its types, deferred constraints, schemas, sequences."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range

from tests.contract.sql_cases import Case, items
from tests.contract.sql_observation import attempt, seen

__all__ = ["POSTGRES_CASES"]

POSTGRES_CASES: dict[str, Case] = {}


def _case(case: Callable[[sa.Connection], Any]) -> Case:
    POSTGRES_CASES[case.__name__] = case
    return case


@_case
def postgres_types(connection: sa.Connection) -> Any:
    metadata = sa.MetaData()
    east = dt.timezone(dt.timedelta(hours=2))
    values: dict[str, tuple[Any, Any]] = {
        "texts": (pg.ARRAY(sa.Text), ["a", "b'c", "ü"]),
        "numbers": (pg.ARRAY(sa.Integer, dimensions=2), [[1, 2], [3, 4]]),
        "jsonb": (pg.JSONB, {"k": [1, None, {"x": 1.5}]}),
        "json_null": (pg.JSON(none_as_null=True), None),
        "inet": (pg.INET, "192.168.0.1"),
        "cidr": (pg.CIDR, "10.0.0.0/8"),
        "mac": (pg.MACADDR, "08:00:2b:01:02:03"),
        "uuid": (pg.UUID(as_uuid=True), uuid.UUID(int=9)),
        "uuids": (pg.ARRAY(pg.UUID(as_uuid=True)), [uuid.UUID(int=1), uuid.UUID(int=2)]),
        "zoned": (sa.DateTime(timezone=True), dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=east)),
        "zoned_time": (sa.Time(timezone=True), dt.time(1, 2, 3, tzinfo=east)),
        "span": (pg.INTERVAL, dt.timedelta(days=400, hours=5)),
        "integers": (pg.INT4RANGE, Range(1, 10)),
        "decimals": (pg.NUMRANGE, Range(Decimal("1.5"), None, bounds="(]")),
        "days": (pg.DATERANGE, Range(dt.date(2020, 1, 1), dt.date(2020, 2, 1))),
        "moments": (pg.TSTZRANGE, Range(dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), None)),
        "nothing": (pg.INT4RANGE, Range(empty=True)),
        "colour": (pg.ENUM("red", "blue", name="colour"), "blue"),
        "bits": (pg.BYTEA, b"\x00\xff"),
        "exact": (sa.Numeric, Decimal("1E+20")),
        "huge": (sa.Numeric(asdecimal=True), Decimal(2) ** 90),
        "real": (pg.REAL, 0.5),
        "oid": (pg.OID, 12),
    }
    table = sa.Table(
        "kinds",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, kind) for name, (kind, _) in values.items()),
    )
    metadata.create_all(connection)
    connection.execute(table.insert(), {name: value for name, (_, value) in values.items()})
    connection.execute(table.insert(), dict.fromkeys(values))
    connection.commit()
    found = [seen(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
    found.append(connection.scalar(sa.select(table.c.id).where(table.c.integers.contains(5))))
    found.append(connection.scalar(sa.select(table.c.id).where(table.c.texts.contains(["a"]))))
    found.append(connection.scalar(sa.select(table.c.jsonb["k"][0].as_integer()).where(table.c.id == 1)))
    connection.rollback()
    return found


@_case
def what_the_server_computes(connection: sa.Connection) -> Any:
    expressions = (
        "'{1,NULL,3}'::int[]",
        "ARRAY[1.5, 'NaN'::numeric]",
        "int4range(1, 5)",
        "'{[1,3), [5,7)}'::int4multirange",
        "'infinity'::float8",
        "'NaN'::float8",
        "B'1011'::bit(4)",
        "'{\"a\": 1}'::jsonb",
        "'text'::name",
        "'x'::\"char\"",
        "TIMESTAMP '2020-01-01 00:00:00'",
        "TIMESTAMPTZ '2020-01-01 00:00:00+05'",
        "'192.168.1.0/24'::inet",
        "NULL",
        "''",
        "'\\x00'::bytea",
        "1::bigint << 40",
        "true",
    )
    found = [
        attempt(lambda text=text: connection.execute(sa.text(f"SELECT {text} AS v".replace(":", "\\:"))).scalar())
        for text in expressions
    ]
    found.append(seen(ipaddress.ip_address("::1")))
    connection.rollback()
    return found


@_case
def a_constraint_that_fails_at_commit(connection: sa.Connection) -> Any:
    connection.execute(sa.text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
    connection.execute(
        sa.text(
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER "
            "REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    )
    connection.commit()
    connection.execute(sa.text("INSERT INTO child VALUES (1, 7)"))
    found = [attempt(connection.commit)]
    connection.rollback()
    found.append(connection.scalar(sa.text("SELECT count(*) FROM child")))
    connection.rollback()
    return found


@_case
def a_row_that_breaks_while_it_is_fetched(connection: sa.Connection) -> Any:
    query = sa.text("SELECT 10 / (5 - n) FROM generate_series(1, 200) AS n").execution_options(
        stream_results=True, max_row_buffer=2
    )
    found: list[Any] = []

    def read() -> None:
        for row in connection.execute(query):
            found.append(seen(row))  # noqa: PERF401 - what came before the error counts

    found.append(attempt(read))
    connection.rollback()
    return found


@_case
def data_errors(connection: sa.Connection) -> Any:
    table = items(connection, 1)
    found = []
    for statement in (
        sa.text("SELECT 1 / 0"),
        sa.text("SELECT CAST('x' AS INTEGER)"),
        table.insert().values(name="x" * 50),
        table.insert().values(name="y", price=Decimal("1e30")),
        sa.text("SELECT 1 FROM item FOR UPDATE NOWAIT; SELECT"),
    ):
        found.append(attempt(connection.execute, statement))
        connection.rollback()
    connection.execute(sa.text("SELECT 1"))
    found.append(attempt(connection.execute, sa.text("SELECT 1/0")))
    found.append(attempt(connection.execute, sa.text("SELECT 1")))
    connection.rollback()
    return found


@_case
def schemas_and_sequences(connection: sa.Connection) -> Any:
    connection.execute(sa.schema.CreateSchema("test_schema", if_not_exists=True))
    metadata = sa.MetaData(schema="test_schema")
    counter = sa.Sequence("counter", metadata=metadata, start=10)
    table = sa.Table(
        "counted",
        metadata,
        sa.Column("id", sa.Integer, counter, primary_key=True),
        sa.Column("kind", sa.Enum("x", "y", name="kind")),
        comment="a comment",
    )
    metadata.create_all(connection)
    found: list[Any] = [connection.scalar(counter.next_value())]
    found.append(seen(connection.execute(table.insert().values(kind="x")).inserted_primary_key))
    inspector = sa.inspect(connection)
    found += [inspector.get_sequence_names("test_schema"), inspector.get_table_comment("counted", "test_schema")]
    found.append(seen(inspector.get_enums("test_schema")))  # type: ignore[attr-defined]
    metadata.drop_all(connection)
    connection.execute(sa.schema.DropSchema("test_schema", cascade=True))
    connection.commit()
    return found
