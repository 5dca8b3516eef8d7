"""What apps do with psycopg beyond statements and rows: COPY, streams, pipelines, notices, and the like."""

from __future__ import annotations

import datetime as dt
import gc
import io
import warnings
from typing import Any
from weakref import ref

import psycopg
from psycopg import rows, sql
from psycopg.adapt import Loader
from psycopg.copy import Copy, FileWriter

from tests.contract.direct_cases import Case, Database, items
from tests.contract.framework import run_async
from tests.contract.sql_observation import attempt, seen

__all__ = ["MORE_PSYCOPG_CASES"]

MORE_PSYCOPG_CASES: dict[str, Case] = {}


def on_psycopg(case: Case) -> Case:
    """Add a case."""
    MORE_PSYCOPG_CASES[case.__name__] = case
    return case


def _result(cursor: Any) -> Any:
    found = [cursor.statusmessage, cursor.rowcount, cursor.rownumber]
    return [*found, cursor.fetchall() if cursor.description else None]


@on_psycopg
def several_results(database: Database) -> Any:
    connection = database.connect(row_factory=rows.dict_row)
    items(database, connection, 2)
    cursor = connection.cursor()
    cursor.execute("SELECT 1 AS a; UPDATE item SET price = 1; SELECT name AS b FROM item ORDER BY id")
    found = [_result(cursor)]
    while cursor.nextset():
        found.append(_result(cursor))
    cursor.executemany("INSERT INTO item (name) VALUES (%s) RETURNING id, name", [("c",), ("d",)], returning=True)
    found.append(cursor.fetchone())
    found += [cursor.nextset(), cursor.fetchall(), cursor.nextset()]
    cursor.executemany("INSERT INTO item (name) VALUES (%s)", [], returning=False)
    found.append([cursor.rowcount, cursor.description])
    found.append(attempt(cursor.executemany, "INSERT INTO item (name) VALUES (%s)", [("e",), ("c",)]))
    connection.close()
    return seen(found)


@on_psycopg
def moving_in_the_rows(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.execute("SELECT * FROM generate_series(1, 9)")
    found = [cursor.fetchmany(3)]
    cursor.scroll(-2)
    found += [cursor.fetchone(), cursor.rownumber]
    cursor.scroll(7, mode="absolute")
    found += [cursor.fetchall(), attempt(cursor.scroll, 1)]
    with connection.cursor("moving", scrollable=True) as on_server:
        on_server.execute("SELECT * FROM generate_series(1, 9)")
        found.append(on_server.fetchmany(2))
        on_server.scroll(3)
        found.append(on_server.fetchone())
        on_server.scroll(-4)
        found += [on_server.fetchmany(2), on_server.rownumber]
        on_server.scroll(8, mode="absolute")
        found += [on_server.fetchall(), on_server.fetchone()]
        on_server.scroll(-2)
        found.append(on_server.fetchall())
    connection.close()
    return seen(found)


@on_psycopg
def cursors_that_the_app_loses(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    lost: list[Any] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for cursor in (connection.cursor("lost"), connection.cursor()):
            cursor.execute("SELECT name FROM item ORDER BY id")
            lost += [cursor.fetchone(), ref(cursor)]
        streaming = connection.cursor()
        lost += [next(streaming.stream("SELECT name FROM item ORDER BY id")), ref(streaming)]
        del cursor, streaming
        gc.collect()
    connection.close()
    found = [each() if isinstance(each, ref) else each for each in lost]
    return seen([found, [(each.category, "was deleted" in str(each.message)) for each in warned]])


@on_psycopg
def fetches_that_the_app_sees(database: Database) -> Any:
    connection = database.connect()
    sent: list[str] = []
    found: list[Any] = []
    own = connection._exec_command

    def noting(command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command.as_string(connection) if isinstance(command, sql.Composable) else str(command))
        return own(command, *args, **kwargs)

    connection._exec_command = noting
    for binary in (False, True):
        with connection.cursor("counted", binary=binary) as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT generate_series(1, 3) AS number, 'text'")
            sent.clear()
            found += [list(cursor), cursor.rownumber, *sent]
    connection.close()
    return seen(found)


@on_psycopg
def rows_in_the_form_of_a_copy(database: Database) -> Any:
    connection = database.connect()
    found: list[Any] = []
    for binary in (False, True):
        file = io.BytesIO()
        with Copy(connection.cursor(), binary=binary, writer=FileWriter(file)) as copy:
            copy.write_row([1, "two\t", None, b"\0four", dt.date(2026, 5, 5), [6, None]])
        found.append(file.getvalue())
    connection.close()
    return seen(found)


@on_psycopg
def another_connection_s_process(database: Database) -> Any:
    first, second = database.connect(), database.connect()
    processes = [connection.info.backend_pid for connection in (first, second)]
    found = [len(set(processes)), first.execute("SELECT pg_terminate_backend(%s)", [processes[1]]).fetchall()]
    found += [attempt(second.execute, "SELECT 1"), second.closed]
    first.close()
    second.close()
    return seen(found)


@on_psycopg
def a_connection_closed_in_a_pipeline(database: Database) -> Any:
    def closes() -> None:
        connection = database.connect()
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.close()

    return seen([attempt(closes)])


@on_psycopg
def copied_out(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 3)
    cursor = connection.cursor()
    found: list[Any] = []
    with cursor.copy("COPY (SELECT id, name FROM item ORDER BY id) TO STDOUT") as copy:
        found += [bytes(data) for data in copy]
    found += [cursor.rowcount, cursor.statusmessage, connection.info.transaction_status.name]
    with cursor.copy("COPY (SELECT id, name FROM item WHERE id > %s ORDER BY id) TO STDOUT", (1,)) as copy:
        found.append(list(copy.rows()))
    for form in ("TEXT", "BINARY"):
        with cursor.copy(f"COPY (SELECT id, name, now() > '2000-1-1' FROM item) TO STDOUT (FORMAT {form})") as copy:
            copy.set_types(["int4", "varchar", "bool"])
            found += [copy.read_row(), list(copy.rows())]
    found.append(attempt(_copied, cursor, "COPY (SELECT 1 / (2 - n) FROM generate_series(1, 3) n) TO STDOUT"))
    found.append(connection.info.transaction_status.name)
    connection.rollback()
    found.append(attempt(_copied, cursor, "COPY nowhere TO STDOUT"))
    connection.rollback()
    found.append(attempt(_copied, cursor, "SELECT 1"))
    connection.close()
    return seen(found)


def _copied(cursor: Any, statement: str) -> Any:
    with cursor.copy(statement) as copy:
        return [bytes(data) for data in copy]


@on_psycopg
def copied_in(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    cursor = connection.cursor()
    found: list[Any] = []
    with cursor.copy("COPY item (name, price) FROM STDIN") as copy:
        copy.write("a\t1\nb\t2\n")
        copy.write(b"c\t\\N\n")
        copy.write_row(("d\t", 4))
    found += [cursor.rowcount, cursor.statusmessage, connection.info.transaction_status.name]
    with cursor.copy("COPY item (name, price) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["varchar", "int4"])
        copy.write_row(("e", 5))
        copy.write_row(("f", None))
    found.append(cursor.execute("SELECT name, price FROM item ORDER BY id").fetchall())
    connection.commit()
    found.append(attempt(_written, cursor, [("g", "no number")]))
    found.append(connection.info.transaction_status.name)
    connection.rollback()
    found.append(attempt(_written, cursor, [("h", 1), None]))
    found.append(connection.info.transaction_status.name)
    connection.rollback()
    found.append(cursor.execute("SELECT count(*) FROM item").fetchone())
    connection.close()
    return seen(found)


def _written(cursor: Any, given: Any) -> Any:
    with cursor.copy("COPY item (name, price) FROM STDIN") as copy:
        for row in given:
            if row is None:
                raise ValueError("of the app")
            copy.write_row(row)


@on_psycopg
def streamed(database: Database) -> Any:
    connection = database.connect(row_factory=rows.dict_row)
    items(database, connection, 4)
    cursor = connection.cursor()
    found: list[Any] = [list(cursor.stream("SELECT id, name FROM item WHERE id > %s ORDER BY id", (1,)))]
    found.append(list(cursor.stream("SELECT 1.5 AS n WHERE false", binary=True)))
    found.append(attempt(lambda: list(cursor.stream("SELECT 6 / (3 - id) AS n FROM item ORDER BY id"))))
    found.append(connection.info.transaction_status.name)
    connection.rollback()
    found.append(attempt(lambda: list(cursor.stream("SELECT * FROM nowhere"))))
    connection.close()
    return seen(found)


@on_psycopg
def a_pipeline(database: Database) -> Any:
    connection = database.connect()
    items(database, connection, 2)
    found: list[Any] = []
    with connection.pipeline() as pipeline, connection.cursor() as cursor:
        first = connection.execute("SELECT 1")
        second = connection.execute("SELECT name FROM item WHERE id = %s", (2,))
        cursor.executemany("INSERT INTO item (name) VALUES (%s) RETURNING name", [("x",), ("y",)], returning=True)
        found += [
            cursor.rowcount,
            second.fetchall(),
            first.fetchone(),
            cursor.fetchone(),
            cursor.nextset(),
            cursor.fetchone(),
        ]
        third = connection.execute("SELECT count(*) FROM item")
        pipeline.sync()
        found.append(third.fetchone())
        with connection.transaction():
            connection.execute("UPDATE item SET price = 7")
    found.append(connection.info.transaction_status.name)
    connection.commit()
    found.append(connection.execute("SELECT count(*), sum(price) FROM item").fetchone())
    connection.close()
    return seen(found)


@on_psycopg
def what_the_server_tells_besides(database: Database) -> Any:
    connection = database.connect()
    heard: list[Any] = []
    connection.add_notice_handler(lambda said: heard.append([said.severity, said.sqlstate, said.message_primary]))
    connection.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'sécond'; END $$")
    heard.append(connection.execute("SELECT 1").fetchone())
    connection.execute("DROP TABLE IF EXISTS nowhere")
    connection.close()
    return seen(heard)


@on_psycopg
def notifications(database: Database) -> Any:
    listening = database.connect(autocommit=True)
    other = database.connect(autocommit=True)
    listening.execute("LISTEN news")
    found: list[Any] = []
    for number in (1, 2):
        other.execute("SELECT pg_notify('news', %s)", (f"number {number}",))
        waiting = listening.notifies()
        said = next(waiting)
        waiting.close()
        found.append([said.channel, said.payload])
    listening.close()
    other.close()
    return seen(found)


@on_psycopg
def transactions_of_two_phases(database: Database) -> Any:
    connection = database.connect()
    items(database, connection)
    found: list[Any] = []
    for end in (connection.tpc_commit, connection.tpc_rollback):
        xid = connection.xid(1, f"to be {end.__name__}", "part")
        connection.tpc_begin(xid)
        connection.execute("INSERT INTO item (name) VALUES (%s)", (end.__name__,))
        connection.tpc_prepare()
        found.append(connection.info.transaction_status.name)
        with database.connect() as other:
            found.append([str(one) for one in other.tpc_recover()])
        end()
    connection.tpc_begin("in one phase")
    connection.tpc_rollback()
    found.append(attempt(connection.tpc_commit, "nobody's"))
    connection.rollback()
    found.append(connection.execute("SELECT name FROM item").fetchall())
    connection.close()
    return seen(found)


@on_psycopg
def settings_of_the_session(database: Database) -> Any:
    connection = database.connect(autocommit=True)
    moment = dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone.utc)
    found: list[Any] = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        connection.execute(f"SET timezone TO '{zone}'")
        found.append(
            [str(connection.info.timezone), connection.execute("SELECT %s::timestamptz", (moment,)).fetchone()]
        )
    connection.execute("SET client_encoding TO 'LATIN1'")
    found.append([connection.info.encoding, connection.execute("SELECT 'é', %s::text", ("ü",)).fetchone()])
    found.append(connection.execute("SELECT 1", prepare=True).fetchone())
    connection.cancel()
    connection.close()
    return seen(found)


class _Loud(Loader):
    def load(self, data: Any) -> Any:
        return f"{bytes(data).decode()}!"


@on_psycopg
def loaders_of_the_app(database: Database) -> Any:
    connection = database.connect()
    connection.adapters.register_loader("text", _Loud)
    found = [connection.execute("SELECT 'a'::text, 1, ARRAY['b', NULL]").fetchone()]
    cursor = connection.cursor()
    cursor.adapters.register_loader("int4", _Loud)
    found.append(cursor.execute("SELECT 1, ARRAY[2], ROW('c'::text, 3), int4range(1, 5)").fetchone())
    found.append(attempt(lambda: connection.execute("SELECT %s", ({1},)).fetchone()))
    connection.close()
    return seen(found)


@on_psycopg
def cursors_of_other_kinds(database: Database) -> Any:
    connection = database.connect(cursor_factory=psycopg.ClientCursor)
    cursor = connection.cursor()
    found = [cursor.mogrify("SELECT %s, %s", ("it's", 2)), cursor.execute("SELECT %s, %s", ("it's", 2)).fetchone()]
    # A value that libpq quotes has an E before it, if that is needed.
    found.append(cursor._query.query.replace(b"E'", b"'"))
    connection.close()
    if hasattr(psycopg, "RawCursor"):
        with database.connect(cursor_factory=psycopg.RawCursor) as raw:
            found.append(raw.execute("SELECT $1::int + $2::int", [1, 2]).fetchone())
    return seen(found)


@on_psycopg
def cursors_declared_elsewhere(database: Database) -> Any:
    connection = database.connect()
    connection.execute("DECLARE known SCROLL CURSOR FOR SELECT n, n::text AS s FROM generate_series(1, 6) AS n")
    stolen = connection.cursor("known", row_factory=rows.dict_row)
    found = [stolen.fetchone(), stolen.description, stolen.rownumber, stolen.fetchmany(2)]
    stolen.scroll(1)
    found += [stolen.fetchall(), stolen.fetchone()]
    stolen.scroll(0, mode="absolute")
    found.append(stolen.fetchmany(2))
    stolen.close()
    connection.rollback()
    with connection.cursor("unknown") as unknown:
        found.append(attempt(unknown.fetchone))
        connection.rollback()
        found.append([attempt(unknown.scroll, 0), connection.info.transaction_status])
    connection.close()
    return seen(found)


@on_psycopg
def cursors_on_the_server_make_rows(database: Database) -> Any:
    made: list[int] = []

    def numbered(_: Any) -> Any:
        made.append(len(made))
        return lambda values: [len(made), *values]

    connection = database.connect()
    cursor = connection.cursor("numbered", row_factory=numbered, scrollable=True)
    cursor.execute("SELECT * FROM generate_series(1, 3) AS n")
    found = [cursor.fetchall(), len(made)]
    cursor.scroll(0, "absolute")
    cursor.row_factory = rows.dict_row
    found.append(cursor.fetchone())
    cursor.close()
    connection.close()
    return seen(found)


@on_psycopg
def values_in_another_encoding(database: Database) -> Any:
    connection = database.connect(autocommit=True)
    connection.execute("CREATE TABLE t (n float8, name text, data bytea)")
    found: list[Any] = []
    for encoding in ("UTF8", "LATIN9", "LATIN1"):
        connection.execute(f"SET client_encoding TO {encoding}")
        cursor = psycopg.ClientCursor(connection)
        parts = [*map(sql.Literal, ("€", "it's a \\", b"a")), sql.Identifier("€"), sql.SQL("€")]
        found += [attempt(part.as_bytes, connection) for part in parts]
        found.append(attempt(cursor.mogrify, "SELECT %s", ("€",)))
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write_row((3.5, "é", b"a\x00"))
            copy.set_types(["float8", "text", "bytea"])
            copy.write_row((4.5, None, b"b"))
        found.append(connection.execute("SELECT * FROM t").fetchall())
    connection.close()
    return seen(found)


@on_psycopg
def many_statements_and_their_text(database: Database) -> Any:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.executemany("SELECT %t, %t", [[1, 2], [3, 4]])
    found: list[Any] = [cursor._query.query, cursor._query.params]
    parameters = connection.info.get_parameters()
    found += [parameters["dbname"], parameters["user"], "password" in parameters]
    connection.close()
    for name in ("password", "options", "dsn"):
        found.append(attempt(getattr, connection.info, name))
    return seen(found)


@on_psycopg
def more_with_asyncio(database: Database) -> Any:
    async def work() -> Any:
        found: list[Any] = []
        async with await database.connect(kind=psycopg.AsyncConnection) as connection:
            await connection.execute("CREATE TABLE t (n int PRIMARY KEY, name text)")
            cursor = connection.cursor()
            async with cursor.copy("COPY t FROM STDIN") as copy:
                await copy.write_row((1, "a"))
                await copy.write("2\tb\n")
            found.append(cursor.rowcount)
            async with cursor.copy("COPY t TO STDOUT") as copy:
                copy.set_types(["int4", "text"])
                found.append([row async for row in copy.rows()])
            async with connection.pipeline():
                first = await connection.execute("SELECT 1")
                second = await connection.execute("SELECT name FROM t ORDER BY n")
                found += [await second.fetchall(), await first.fetchone()]
            found.append([row async for row in cursor.stream("SELECT * FROM t ORDER BY n")])
            await cursor.execute("SELECT 1; SELECT 2")
            found += [await cursor.fetchone(), cursor.nextset(), await cursor.fetchone()]
            async with connection.cursor("moving", scrollable=True) as on_server:
                await on_server.execute("SELECT * FROM generate_series(1, 5)")
                await on_server.scroll(2)
                found.append(await on_server.fetchall())
        return found

    return seen(run_async(work()))
