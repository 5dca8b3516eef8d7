"""What apps do with asyncpg alone."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import ipaddress
import json
import pickle
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any

import asyncpg

from tests.contract.direct_cases import Case, Database
from tests.contract.framework import run_async
from tests.contract.sql_observation import seen

__all__ = ["ASYNCPG_CASES"]

ASYNCPG_CASES: dict[str, Case] = {}


def on_asyncpg(case: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Case:
    """Add a case, which gets a connection and the database."""

    async def connected(database: Database) -> Any:
        connection = await database.connect()
        try:
            return await case(connection, database)
        finally:
            await connection.close()

    def run(database: Database) -> Any:
        return seen(run_async(connected(database)))

    ASYNCPG_CASES[case.__name__] = run
    return run


async def _items(connection: Any, count: int = 4) -> None:
    await connection.execute("CREATE TABLE item (id serial PRIMARY KEY, name text UNIQUE, price numeric(8, 2))")
    rows = [(f"item {number}", Decimal(number) / 4) for number in range(1, count + 1)]
    await connection.executemany("INSERT INTO item (name, price) VALUES ($1, $2)", rows)


async def _tried(awaited: Any) -> Any:
    try:
        return await awaited
    except Exception as error:
        fields = {name: value for name, value in vars(error).items() if name != "server_source_line"}
        return [seen(error), {name: seen(value) for name, value in sorted(fields.items())}]


@on_asyncpg
async def records_as_themselves(connection: Any, _: Any) -> Any:
    await _items(connection)
    rows = await connection.fetch("SELECT id, name, price FROM item WHERE id > $1 ORDER BY id", 1)
    row = rows[0]
    found = [repr(rows), type(row) is asyncpg.Record, list(row.keys()), list(row.values()), list(row.items())]
    found += [row["name"], row[0], row[0:2], len(row), "id" in row, row.get("no", 7), row == rows[0], row < rows[1]]
    found += [hash(row) == hash(tuple(row)), repr(await connection.fetchrow("SELECT 1 WHERE false"))]
    try:
        pickle.dumps(row)
    except Exception as error:
        found.append(repr(error))
    return [*found, await connection.fetchval("SELECT name FROM item ORDER BY id", column=0)]


class _Named(asyncpg.Record):  # type: ignore[misc,unused-ignore]
    """A record whose fields are attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@on_asyncpg
async def records_of_the_app(connection: Any, database: Any) -> Any:
    await _items(connection)
    row = await connection.fetchrow("SELECT * FROM item WHERE id = 2", record_class=_Named)
    found = [type(row).__name__, row.name, row.price]
    another = await database.connect(record_class=_Named)
    rows = await another.fetch("SELECT * FROM item ORDER BY id")
    await another.close()
    return [*found, [[type(each).__name__, each.id, each.name] for each in rows]]


@on_asyncpg
async def values_of_many_types(connection: Any, _: Any) -> Any:
    await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    await connection.execute("CREATE TYPE pair AS (a int, b text)")
    await connection.execute("CREATE DOMAIN small AS int CHECK (VALUE < 100)")
    found: list[Any] = []
    for kind, value in (
        ("bool", True),
        ("int2", -3),
        ("int4", 7),
        ("int8", 2**40),
        ("float4", 0.25),
        ("float8", 1e300),
        ("numeric", Decimal("12345.678900")),
        ("numeric", Decimal("NaN")),
        ("text", "it's\u00e4\n"),
        ("bytea", b"\x00\xff"),
        ("uuid", uuid.UUID(int=9)),
        ("date", dt.date(2024, 2, 29)),
        ("time", dt.time(1, 2, 3, 4)),
        ("timetz", dt.time(1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))),
        ("timestamp", dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc).replace(tzinfo=None)),
        ("timestamptz", dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc)),
        ("interval", dt.timedelta(days=40, seconds=3)),
        ("json", '{"a": [1, null]}'),
        ("jsonb", '{"a": [1, null]}'),
        ("inet", ipaddress.IPv4Interface("10.0.0.1/24")),
        ("cidr", ipaddress.IPv6Network("2001:db8::/32")),
        ("point", asyncpg.Point(1, 2)),
        ("box", asyncpg.Box((1, 2), (3, 4))),
        ("bit(4)", asyncpg.BitString("0101")),
        ("int4range", asyncpg.Range(1, 5)),
        ("tstzrange", asyncpg.Range(empty=True)),
        ("int[]", [1, None, 3]),
        ("text[][]", [["a", "b"], ["c", "d"]]),
        ("mood", "ok"),
        ("mood[]", ["ok", "sad"]),
        ("pair", (1, "x")),
        ("pair[]", [(1, "x"), None]),
        ("small", 5),
        ("money", "$1.50"),
        ("tsvector", "'a' 'b'"),
    ):
        statement = f"SELECT $1::{kind} AS value, NULL::{kind} AS nothing"
        found.append([kind, repr(await connection.fetchrow(statement, value))])
    path = await connection.fetchval("SELECT '[(0,0),(1,1)]'::path")
    found.append([path.is_closed, path.points])
    found.append(repr(await connection.fetch("SELECT ROW(1, 'a', NULL), interval '1 month 2 days' AS i")))
    found.append(repr(await connection.fetch("SELECT FROM generate_series(1, 2)")))
    found.append(repr(await connection.fetch("SELECT 1 AS a, 2 AS a, 'infinity'::timestamptz AS t, 'x'::\"char\"")))
    return found


@on_asyncpg
async def codecs_of_the_app(connection: Any, _: Any) -> Any:
    await connection.execute("CREATE TYPE pair AS (a int, b text)")
    found = []
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        found.append(await connection.fetchrow(f"SELECT $1::{kind} AS j", {"a": [1, None]}))
    await connection.set_type_codec(
        "int4", schema="pg_catalog", encoder=str, decoder=lambda text: f"int {text}", format="text"
    )
    found.append(repr(await connection.fetch("SELECT n, 'abcd' AS t FROM generate_series(1234, 1236) n")))
    await connection.reset_type_codec("int4", schema="pg_catalog")
    await connection.set_type_codec(
        "interval", schema="pg_catalog", encoder=lambda value: value, decoder=lambda value: value, format="tuple"
    )
    found.append(repr(await connection.fetchval("SELECT interval '1 month 2 days 3 seconds'")))
    await connection.set_type_codec("pair", encoder=lambda value: value, decoder=list, format="tuple")
    found.append(repr(await connection.fetchval("SELECT $1::pair", (1, "x"))))
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=bytes.fromhex, decoder=lambda data: data.hex(), format="binary"
    )
    found.append(repr(await connection.fetchval("SELECT '00000000-0000-0000-0000-000000000009'::uuid")))
    # asyncpg 0.29 has no alias for such a type.
    alias = connection.set_builtin_type_codec("name", schema="pg_catalog", codec_name="text")
    found += [await _tried(alias), repr(await connection.fetchval("SELECT 'some'::name"))]
    return found


@on_asyncpg
async def errors_with_all_they_say(connection: Any, _: Any) -> Any:
    await _items(connection)
    found = [
        await _tried(connection.execute("INSERT INTO item (name) VALUES ($1)", "item 1")),
        await _tried(connection.execute("INSERT INTO item (name) VALUES ('item 1')")),
        await _tried(connection.fetch("SELECT * FROM nowhere")),
        await _tried(connection.fetch("SELEC 1")),
        await _tried(connection.fetch("SELECT 1 / (id - 2) FROM item")),
        await _tried(connection.fetch("SELECT $1::int", "no number")),
        await _tried(connection.fetch("SELECT $1::int")),
        await _tried(connection.fetch("SELECT 1", timeout=-1)),
        await _tried(connection.executemany("INSERT INTO item (name) VALUES ($1)", [("new",), ("item 2",)])),
        await _tried(connection.executemany("INSERT INTO item (name) VALUES ($1)", [("new",), (3,)])),
        await _tried(connection.execute("DO $$BEGIN RAISE 'own' USING ERRCODE = 'P1234', HINT = 'h'; END$$")),
        await connection.fetchval("SELECT count(*) FROM item"),
    ]
    await connection.close()
    return [*found, await _tried(connection.fetch("SELECT 1")), connection.is_closed()]


@on_asyncpg
async def records_as_arguments(connection: Any, _: Any) -> Any:
    await connection.execute("CREATE TYPE person AS (name text, age int)")
    person = await connection.fetchval("SELECT ROW('Ada', 36)::person")
    await connection.execute("CREATE TABLE member (who person)")
    await connection.executemany("INSERT INTO member VALUES ($1)", [(person,), (("Bob", 41),)])
    return [repr(await connection.fetch("SELECT $1::person, * FROM member", person)), repr(person)]


@on_asyncpg
async def many_rows_of_which_one_fails(connection: Any, _: Any) -> Any:
    await _items(connection, 2)
    insert = "INSERT INTO item (name, price) VALUES ($1, $2)"
    taken = []

    def rows(failing: int, last: int) -> Any:
        for number in range(9):
            taken.append(number)
            if number == last:
                raise ValueError("the app has no more rows")
            yield f"{'item 1' if number == failing else number}{'' if number == failing else 'x' * 40_000}", 1

    await connection.execute("ALTER TABLE item DROP CONSTRAINT item_name_key, ADD CHECK (name <> 'item 1') NOT VALID")
    found = []
    for failing, last in ((0, 9), (1, 4), (8, 9), (9, 5)):
        found.append(await _tried(connection.executemany(insert, rows(failing, last))))
        found.append(await connection.fetchval("SELECT count(*) FROM item"))
    return found


@on_asyncpg
async def prepared_statements(connection: Any, _: Any) -> Any:
    await _items(connection)
    statement = await connection.prepare("SELECT id, name FROM item WHERE id >= $1 ORDER BY id")
    found = [statement.get_query(), statement.get_attributes(), statement.get_parameters(), statement.get_statusmsg()]
    found += [repr(await statement.fetch(2)), statement.get_statusmsg(), await statement.fetchval(3, column=1)]
    found += [repr(await statement.fetchrow(4)), await statement.explain(1)]
    insert = await connection.prepare("INSERT INTO item (name) VALUES ($1) RETURNING id")
    found += [await insert.executemany([("x",), ("y",)]), insert.get_attributes()]
    if hasattr(insert, "fetchmany"):
        found += [repr(await insert.fetchmany([("p",), ("q",)]))]
        found += [repr(await connection.fetchmany("SELECT $1::int AS n", [(1,), (2,)]))]
    empty = await connection.prepare("CREATE TABLE another (n int)")
    found += [await empty.fetch(), empty.get_statusmsg(), empty.get_attributes()]
    unused = await connection.prepare("SELECT $1::text AS never")
    return [*found, unused.get_attributes(), await _tried(connection.prepare("SELECT * FROM nowhere"))]


@on_asyncpg
async def cursors(connection: Any, _: Any) -> Any:
    await _items(connection, 9)
    query = "SELECT id, name FROM item WHERE id > $1 ORDER BY id"
    found = [await _tried(_all(connection.cursor(query, 0)))]
    async with connection.transaction():
        found.append([row["id"] async for row in connection.cursor(query, 1, prefetch=3)])
        cursor = await connection.cursor(query, 0)
        found += [repr(await cursor.fetch(2)), await cursor.forward(2), repr(await cursor.fetchrow())]
        found += [repr(await cursor.fetch(9)), await cursor.fetchrow(), repr(cursor)[:40]]
        statement = await connection.prepare(query)
        half = await statement.cursor(5)
        found += [repr(await half.fetch(1)), [row["name"] async for row in statement.cursor(7)]]
        failing = connection.cursor("SELECT 1 / (n - 3) FROM generate_series(1, 5) n", prefetch=1)
        found.append(await _tried(_all(failing)))
    with contextlib.suppress(asyncpg.InFailedSQLTransactionError):
        async with connection.transaction():
            failed = await connection.cursor("SELECT 1 / (n - 1) FROM generate_series(1, 5) n")
            found += [await _tried(failed.fetch(1)), await _tried(failed.fetch(1))]
    return found


async def _all(rows: Any) -> list[Any]:
    return [list(row) async for row in rows]


@on_asyncpg
async def transactions(connection: Any, _: Any) -> Any:
    await _items(connection)
    found: list[Any] = []
    async with connection.transaction(isolation="serializable", deferrable=True):
        found += [connection.is_in_transaction(), await connection.fetchval("SHOW transaction_isolation")]
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO item (name) VALUES ('inner')")
                await connection.execute("INSERT INTO item (name) VALUES ('item 1')")
        except asyncpg.UniqueViolationError as error:
            found.append(error.constraint_name)
        await connection.execute("INSERT INTO item (name) VALUES ('outer')")
    found += [connection.is_in_transaction(), repr(await connection.fetch("SELECT name FROM item ORDER BY id"))]
    by_hand = connection.transaction(readonly=True)
    await by_hand.start()
    found += [await _tried(connection.execute("DELETE FROM item")), await _tried(connection.fetch("SELECT 1"))]
    await by_hand.rollback()
    found += [repr(by_hand).split(" 0x")[0], connection.is_in_transaction(), await _tried(by_hand.commit())]
    return found


@on_asyncpg
async def copies_out_and_in(connection: Any, _: Any) -> Any:
    await _items(connection)
    found: list[Any] = []
    output = io.BytesIO()
    found.append(await connection.copy_from_table("item", output=output, columns=["id", "name"], format="csv"))
    found.append(output.getvalue())
    got: list[bytes] = []

    async def sink(data: bytes) -> None:
        got.append(data)

    found.append(await connection.copy_from_query("SELECT name FROM item WHERE id > $1", 2, output=sink))
    found.append(b"".join(got))
    found.append(await connection.copy_to_table("item", source=io.BytesIO(b"30\tx\t1.5\n31\ty\t\\N\n")))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"32\tz"
        yield b"\t2\n"

    found.append(await connection.copy_to_table("item", source=pieces()))
    records = [(40, "r", Decimal("0.5")), (41, "s", None)]
    found.append(await connection.copy_records_to_table("item", records=records))
    found.append(await _tried(connection.copy_records_to_table("item", records=[(40, "again", None)])))
    found.append(await _tried(connection.copy_to_table("item", source=b"no number\tz\t\\N\n")))
    found.append(await _tried(connection.copy_from_table("nowhere", output=output)))
    found.append(repr(await connection.fetch("SELECT * FROM item ORDER BY id")))
    return found


@on_asyncpg
async def notifications(connection: Any, database: Any) -> Any:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    found: list[Any] = []

    def listener(_: Any, pid: int, channel: str, payload: str) -> None:
        heard.put_nowait([pid == connection.get_server_pid(), channel, payload])

    await connection.add_listener("news", listener)
    another = await database.connect()
    await another.execute("NOTIFY news, 'one'")
    found.append(await asyncio.wait_for(heard.get(), 20))
    await another.fetchval("SELECT pg_notify('news', $1)", "two")
    found.append(await asyncio.wait_for(heard.get(), 20))
    await connection.execute("NOTIFY news, 'of its own'")
    found.append(await asyncio.wait_for(heard.get(), 20))
    await connection.remove_listener("news", listener)
    await another.execute("NOTIFY news, 'to nobody'")
    await another.close()
    return [*found, heard.qsize()]


@on_asyncpg
async def notices_and_loggers(connection: Any, _: Any) -> Any:
    notices: list[Any] = []
    logged: list[Any] = []
    connection.add_log_listener(lambda _, message: notices.append([type(message).__name__, str(message)]))
    with connection.query_logger(lambda record: logged.append([record.query, record.args, repr(record.exception)])):
        await connection.execute("DO $$BEGIN RAISE NOTICE 'simple'; RAISE WARNING 'more'; END$$")
        await connection.execute("CREATE TABLE t (n int)")
        await connection.execute("CREATE TABLE IF NOT EXISTS t (n int)")
        await _tried(connection.fetch("SELECT $1::int / 0", 4))
        await connection.fetch("SELECT $1::int", 4)
        await asyncio.sleep(0.05)
    return [notices, logged]


@on_asyncpg
async def what_a_connection_tells(connection: Any, _: Any) -> Any:
    settings = connection.get_settings()
    found = [settings.server_encoding, settings.DateStyle, settings.client_encoding, connection.get_server_version()]
    await connection.execute("SET TIME ZONE 'Europe/Berlin'")
    found += [connection.get_settings().TimeZone, isinstance(connection, asyncpg.Connection), type(connection)]
    await connection.reset()
    found += [connection.get_settings().TimeZone, connection.get_server_pid() > 0]
    return [*found, await connection.fetchval("SELECT pg_backend_pid() = $1", connection.get_server_pid())]


@on_asyncpg
async def pools(connection: Any, database: Any) -> Any:
    await _items(connection)
    opened: list[str] = []
    found: list[Any] = []

    async def init(made: Any) -> None:
        opened.append(type(made).__name__)
        await made.execute("SET statement_timeout = 60000")

    async with asyncpg.create_pool(database.told(), min_size=2, max_size=3, init=init) as pool:
        found.append(await pool.fetchval("SELECT count(*) FROM item"))
        async with pool.acquire() as made, made.transaction():
            found += [
                isinstance(made, asyncpg.Connection),
                repr(await made.fetchrow("SELECT name FROM item LIMIT 1")),
            ]
            await made.execute("INSERT INTO item (name) VALUES ('pooled')")
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", number) for number in range(5)))
        found += [answers, await pool.execute("DELETE FROM item WHERE name = $1", "pooled")]
        found += [await _tried(pool.fetch("SELECT * FROM nowhere")), pool.get_size() >= 2, len(opened) >= 2]
    return [*found, await _tried(pool.fetchval("SELECT 1"))]


@on_asyncpg
async def timeouts(connection: Any, database: Any) -> Any:
    found = [await _tried(connection.fetch("SELECT pg_sleep(20)", timeout=0.3))]
    found.append(await connection.fetchval("SELECT 1"))
    found.append(await _tried(connection.execute("SELECT pg_sleep(20)", timeout=0.3)))
    impatient = await database.connect(command_timeout=0.3)
    found.append(await _tried(impatient.execute("SELECT pg_sleep(20)")))
    found.append(await impatient.fetchval("SELECT 2"))
    await impatient.close()
    return found


@on_asyncpg
async def a_connection_that_is_lost(connection: Any, database: Any) -> Any:
    found: list[Any] = []
    another = await database.connect()
    another.add_termination_listener(lambda _: found.append("terminated"))
    error = await _tried(another.fetch("SELECT pg_terminate_backend(pg_backend_pid())"))
    found += [error, another.is_closed(), await _tried(another.fetch("SELECT 1"))]
    idle = await database.connect()
    await connection.execute(f"SELECT pg_terminate_backend({idle.get_server_pid()})")
    for _ in range(100):
        if idle.is_closed():
            break
        await asyncio.sleep(0.05)
    found += [idle.is_closed(), await _tried(idle.fetch("SELECT 1"))]
    ended = await database.connect()
    ended.terminate()
    return [*found, ended.is_closed(), await _tried(database.connect(fails=True))]


@on_asyncpg
async def calls_side_by_side(connection: Any, _: Any) -> Any:
    tasks = [asyncio.ensure_future(connection.fetchval("SELECT 1, pg_sleep(0.1)")) for _ in range(2)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return [*map(seen, done), await connection.fetchval("SELECT 3")]


@on_asyncpg
async def a_statement_whose_table_changes(connection: Any, _: Any) -> Any:
    await _items(connection, 2)
    query = "SELECT * FROM item ORDER BY id"
    found = [repr(await connection.fetch(query))]
    await connection.execute("ALTER TABLE item ADD COLUMN more int DEFAULT 3")
    found.append(repr(await connection.fetch(query)))
    await connection.execute("ALTER TABLE item DROP COLUMN price")
    async with connection.transaction():
        found.append(await _tried(connection.fetch(query)))
    return [*found, repr(await connection.fetch(query))]


def many_connections_in_other_orders(database: Database) -> Any:
    async def work(number: int) -> Any:
        connection = await database.connect()
        await asyncio.sleep(0.01 * (hash(str(number)) % 5))
        rows = await connection.fetch("SELECT $1::int AS n, $2::text AS t", number, f"t{number}")
        await connection.close()
        return repr(rows)

    async def all_of_them() -> Any:
        return await asyncio.gather(*map(work, range(6)))

    return seen(run_async(all_of_them()))


ASYNCPG_CASES[many_connections_in_other_orders.__name__] = many_connections_in_other_orders
