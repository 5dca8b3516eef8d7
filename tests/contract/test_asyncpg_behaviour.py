"""What a user of asyncpg sees besides the contract: one event beneath SQLAlchemy, spans, what a replay refuses."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.contract.direct_behaviour import OPENED, check_spans_are_those_of_a_bare_run
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_asyncpg, disable_sqlalchemy, enable_asyncpg, enable_sqlalchemy
from timetracer_otel.session import ReplaySession, TraceSession


@pytest.fixture
def url(postgres: Postgres) -> str:
    postgres.start()
    return postgres.url("asyncpg").set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def enabled() -> Iterator[None]:
    enable_asyncpg()
    yield
    disable_asyncpg()


async def _with_engine(engine: AsyncEngine) -> Any:
    async with engine.begin() as connection:
        return (await connection.execute(sa.text("SELECT 1 AS n"))).all()


@pytest.mark.parametrize("opened", OPENED)
def test_a_statement_of_sqlalchemy_is_one_event(
    postgres: Postgres, url: str, enabled: None, tmp_path: Path, opened: str
) -> None:
    async def recorded() -> Any:
        engine = create_async_engine(postgres.url("asyncpg"))
        if opened == "before it":
            enable_sqlalchemy()
        if opened != "in the session":
            await _with_engine(engine)
        with record(tmp_path / "x.msgpack") as recording:
            found = await _with_engine(engine)
        await engine.dispose()
        return found, recording

    async def again() -> Any:
        engine = create_async_engine(postgres.url("asyncpg"))
        found = await _with_engine(engine)
        await engine.dispose()
        return found

    try:
        found, recording = asyncio.run(recorded())
        methods = [event.signature.method for event in recording.events if event.signature.method != "CONNECT"]
        assert methods == ["BEGIN", "SELECT", "COMMIT"]
        assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
        with replay(tmp_path / "x.msgpack") as session:
            assert asyncio.run(again()) == found
        assert session.verdict().ok
    finally:
        disable_sqlalchemy()


def test_an_event_is_a_statement_with_its_values_and_rows(url: str, tmp_path: Path) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        await connection.fetch("SELECT $1::int AS id, 'tea' AS name, '{1,2}'::int[] AS sizes", 7)
        await connection.close()

    with record(tmp_path / "x.msgpack"):
        asyncio.run(work())
    _, event = read_cassette(tmp_path / "x.msgpack").events
    assert event.call is not None
    assert event.call.args["parameters"] == [7]
    assert [column[0] for column in event.result.reply["description"]] == ["id", "name", "sizes"]
    assert event.result.reply["rows"] == [[7, "tea", [1, 2]]]
    assert event.result.reply["status"] == "SELECT 1"


MANY = "FROM generate_series(1, 40) AS n"
AS_SENT = {
    "no value is NULL": f"SELECT n, 'name ' || n AS name, n * 0.5::float8 AS price, n % 2 = 0 AS even {MANY}",
    "values are NULL": f"SELECT nullif(n, 3) AS n, nullif('x' || n, 'x4') AS t, nullif(n, 9)::float8 {MANY}",
    "all values are NULL": f"SELECT NULL::text AS t, NULL::int8 AS i, NULL::bytea AS b {MANY}",
    "texts beyond ASCII": f"SELECT 'tée ' || n AS name, '' AS empty {MANY}",
    "large numbers": f"SELECT 10000000000 + n AS number, n AS small {MANY}",
    "bytes": f"SELECT convert_to('data ' || n, 'utf8') AS data {MANY}",
    "days and times": f"SELECT 'today'::date + n AS day, now() AS at, now()::timestamp, 'infinity'::date {MANY}",
    "infinite times": "SELECT 'infinity'::timestamptz AS a, '-infinity'::timestamp AS b",
    "one row": "SELECT 1",
    "no column": f"SELECT {MANY}",
    "other messages between the rows": f"SELECT n, told(n) AS told {MANY}",
}
APART = {
    "the last time of Python": "SELECT '9999-12-31 23:59:59.999999+00'::timestamptz AS at",
    "a type that only asyncpg decodes": f"SELECT n * 1.1 AS number, '[1,5)'::int4range AS range {MANY}",
    "no row": "SELECT 1 WHERE false",
}


async def _told(connection: Any, statement: str, options: dict[str, Any] | None = None) -> Any:
    told: list[str] = []
    await connection.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.told(n int) RETURNS text AS $$ BEGIN "
        "IF n % 7 = 0 THEN RAISE NOTICE 'row %', n; END IF; RETURN 'row' || n; END $$ LANGUAGE plpgsql"
    )
    connection.add_log_listener(lambda _, message: told.append(message.message))
    rows = await connection.fetch(statement.replace("told(", "pg_temp.told("), **(options or {}))
    await asyncio.sleep(0)
    values = [dict(row) for row in rows]
    return values, [list(map(type, row.values())) for row in rows], list(map(type, rows)), told


def _sent_rows(file: Path) -> list[int]:
    """The numbers of rows that stand in a file as they were sent."""
    found: list[int] = []

    def extension(code: int, data: bytes) -> Any:
        if code == 24:
            found.append(int.from_bytes(data[:4], "big"))
        return None

    for _ in msgpack.Unpacker(io.BytesIO(file.read_bytes()), ext_hook=extension, strict_map_key=False):
        pass
    return found


@pytest.mark.parametrize(("what", "statement"), [*AS_SENT.items(), *APART.items()])
def test_rows_stand_in_the_cassette_as_they_were_sent(
    postgres: Postgres, url: str, tmp_path: Path, what: str, statement: str
) -> None:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await _told(connection, statement)
        finally:
            await connection.close()

    file = tmp_path / "x.msgpack"
    with record(file) as recording:
        recorded = asyncio.run(work())
    assert _sent_rows(file) == ([len(recorded[0])] if what in AS_SENT and "between" not in what else [])
    rows = [[*row.values()] for row in recorded[0]]
    assert isinstance(recording, TraceSession)
    for events in (read_cassette(file).events, recording.events):
        if what != "a type that only asyncpg decodes":
            found = events[-1].result.reply["rows"]
            if what != "the last time of Python":
                assert found == rows
    postgres.stop()
    try:
        with replay(file):
            assert asyncio.run(work()) == recorded
    finally:
        postgres.start()


@pytest.mark.parametrize("builtin", [False, True])
def test_rows_for_codecs_of_the_app_are_taken_apart(url: str, tmp_path: Path, builtin: bool) -> None:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        if builtin:
            await connection.set_builtin_type_codec("int4", schema="pg_catalog", codec_name="oid")
        else:
            await connection.set_type_codec("text", schema="pg_catalog", encoder=str, decoder=lambda text: [text])
        rows = await connection.fetch("SELECT 'a'::text AS t, -1 AS n")
        await connection.close()
        return list(map(tuple, rows))

    with record(tmp_path / "x.msgpack"):
        recorded = asyncio.run(work())
    assert recorded == [("a", 2**32 - 1) if builtin else (["a"], -1)]
    assert _sent_rows(tmp_path / "x.msgpack") == []
    with replay(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == recorded


def test_rows_of_a_class_of_the_app_are_taken_apart(url: str, tmp_path: Path) -> None:
    class Row(asyncpg.Record):  # type: ignore[misc,unused-ignore]
        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("the app's method is called")

    async def work() -> Any:
        connection = await asyncpg.connect(url)
        rows = await connection.fetch("SELECT 'a' AS t, 5 AS n", record_class=Row)
        await connection.close()
        return list(map(type, rows)), [tuple(row.values()) for row in rows]

    with record(tmp_path / "x.msgpack"):
        recorded = asyncio.run(work())
    assert _sent_rows(tmp_path / "x.msgpack") == []
    with replay(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == recorded == ([Row], [("a", 5)])


SECRETS = {
    "a secret by its form": ("SELECT 'ghp_' || repeat('a1B2', 9) AS t, 'x' AS u", "ghp_" + "a1B2" * 9),
    "a secret in JSON": ("""SELECT '{"password": "hunter2-hunter2-x"}'::json AS t, 'x' AS u""", "hunter2-hunter2-x"),
    "a secret column": ("SELECT 'hunter2-hunter2-x' || '' AS password, 'x' AS u", "hunter2-hunter2-x"),
    "a secret among bytes": ("SELECT convert_to('ghp_' || repeat('a1B2', 9), 'utf8') AS t", "ghp_" + "a1B2" * 9),
}


@pytest.mark.parametrize("redact", ["default", "strict", "off"])
@pytest.mark.parametrize("what", SECRETS)
def test_secrets_are_found_in_rows_as_they_were_sent(
    url: str, tmp_path: Path, what: str, redact: Literal["default", "strict", "off"]
) -> None:
    statement, secret = SECRETS[what]

    async def work() -> Any:
        connection = await asyncpg.connect(url)
        rows = await connection.fetch(f"{statement} FROM generate_series(1, 20)")
        await connection.close()
        return [list(row.values()) for row in rows]

    file = tmp_path / "x.msgpack"
    with record(file, redact=redact):
        recorded = asyncio.run(work())
    rows = read_cassette(file).events[-1].result.reply["rows"]
    assert (secret in repr(rows)) == (redact == "off")
    assert _sent_rows(file) == ([20] if redact == "off" else [])
    with replay(file):
        replayed = asyncio.run(work())
    assert redact != "off" or replayed == recorded
    assert [list(map(type, row)) for row in replayed] == [list(map(type, row)) for row in recorded]


def test_a_secret_that_is_found_later_is_replaced_in_rows_as_they_were_sent(url: str, tmp_path: Path) -> None:
    secret = "hunter2-hunter2-x"

    async def work() -> Any:
        connection = await asyncpg.connect(url)
        first = await connection.fetch(f"SELECT 'see ' || 'hunter2-' || 'hunter2-x' AS t, n {MANY}")
        await connection.fetch("SELECT $1::text AS password", secret)
        await connection.close()
        return first

    with record(tmp_path / "x.msgpack"):
        asyncio.run(work())
    first, *_ = (
        event for event in read_cassette(tmp_path / "x.msgpack").events if event.signature.method == "SELECT"
    )
    assert secret not in repr(first.result.reply["rows"])


def test_secret_columns_are_redacted_and_come_back_in_their_types(url: str, tmp_path: Path) -> None:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        row = await connection.fetchrow("SELECT 'hunter2-hunter2' AS password, 12345 AS pin_code, 3 AS n")
        await connection.close()
        return row

    with record(tmp_path / "x.msgpack", redact="default"):
        recorded = asyncio.run(work())
    assert recorded["password"] == "hunter2-hunter2"
    assert b"hunter2" not in (tmp_path / "x.msgpack").read_bytes().replace(b"'hunter2-hunter2'", b"")
    with replay(tmp_path / "x.msgpack"):
        replayed = asyncio.run(work())
    assert type(replayed) is asyncpg.Record
    assert type(replayed["password"]) is str
    assert replayed["password"] != recorded["password"]
    assert replayed["n"] == 3


def test_a_replay_refuses_what_the_recorded_app_did_not_ask(url: str, tmp_path: Path) -> None:
    async def work(*statements: str) -> Any:
        connection = await asyncpg.connect(url)
        try:
            return [await connection.fetchval(statement) for statement in statements]
        finally:
            await connection.close()

    with record(tmp_path / "x.msgpack"):
        asyncio.run(work("SELECT 1", "SELECT 2"))
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False) as session,
        pytest.raises(ReplayMismatchError, match=r"(?s)No recorded call matches: asyncpg .*SELECT 3"),
    ):
        asyncio.run(work("SELECT 1", "SELECT 3"))
    assert isinstance(session, ReplaySession)
    assert len(session.misses) == 1


def test_a_connection_is_of_use_behind_a_miss(url: str, tmp_path: Path) -> None:
    async def work(first: int) -> Any:
        connection = await asyncpg.connect(url)
        try:
            await connection.fetchval("SELECT $1::int", first)
        except ReplayMismatchError:
            pass
        found = await connection.fetchval("SELECT $1::int + 1", 5)
        await connection.close()
        return found

    with record(tmp_path / "x.msgpack"):
        assert asyncio.run(work(1)) == 6
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        assert asyncio.run(work(2)) == 6


def test_what_a_signal_raises_reaches_whoever_waits(url: str, tmp_path: Path) -> None:
    async def asks() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await asyncio.wait_for(connection.fetchval("SELECT 1"), 30)
        finally:
            connection.terminate()

    class TimeIsOver(BaseException):
        """What a test's clock raises."""

    def is_over(*_: Any) -> bool:
        # While the other end of the connection answers, which is a task of its own.
        if any(caller.function == "_answer" for caller in inspect.stack()):
            raise TimeIsOver
        return True

    with record(tmp_path / "x.msgpack"):
        assert asyncio.run(asks()) == 1
    with pytest.raises(TimeIsOver), replay(tmp_path / "x.msgpack", match_on=[is_over], fail_on_miss=False):
        asyncio.run(asks())


def test_a_query_that_the_app_cancels(url: str, tmp_path: Path) -> None:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        task = asyncio.ensure_future(connection.fetch("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        found = await connection.fetchval("SELECT 2")
        await connection.close()
        return found

    with record(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == 2
    with replay(tmp_path / "x.msgpack") as session:
        assert asyncio.run(work()) == 2
    assert session.verdict().ok


def test_a_connection_of_before_the_replay_is_refused(url: str, enabled: None, tmp_path: Path) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        with record(tmp_path / "x.msgpack"):
            assert await connection.fetchval("SELECT 1") == 1
        with (
            replay(tmp_path / "x.msgpack", fail_on_miss=False),
            pytest.raises(ReplayMismatchError, match="a connection of another time"),
        ):
            await connection.fetchval("SELECT 1")
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    asyncio.run(work())


def test_a_pool_of_before_the_recording_is_recorded(url: str, enabled: None, tmp_path: Path) -> None:
    query = "SELECT name, tags FROM (VALUES ('a', '{1,2}'::int[])) AS t (name, tags)"

    async def work(pool: Any) -> Any:
        return repr(await pool.fetch(query))

    async def recorded() -> Any:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            # Then asyncpg has the statement prepared, and its types learned.
            await work(pool)
            with record(tmp_path / "x.msgpack"):
                return await work(pool)

    async def again() -> Any:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            return await work(pool)

    found = asyncio.run(recorded())
    with replay(tmp_path / "x.msgpack") as session:
        assert asyncio.run(again()) == found
    assert session.verdict().ok


@pytest.mark.parametrize("name", ["asyncpg", "db"])
def test_a_live_database(url: str, tmp_path: Path, name: str) -> None:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE IF NOT EXISTS live (n int)")
        found = await connection.fetchval("INSERT INTO live SELECT count(*) FROM live RETURNING n")
        await connection.close()
        return found

    with record(tmp_path / "x.msgpack"):
        first = asyncio.run(work())
    with replay(tmp_path / "x.msgpack", live_plugins=[name]):
        assert asyncio.run(work()) == first + 1


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_spans_are_those_of_a_bare_run(postgres: Postgres, url: str, tmp_path: Path, first: str) -> None:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

    async def asked() -> Any:
        connection = await asyncpg.connect(url)
        found = [repr(await connection.fetch("SELECT $1::int AS n", 4)), await connection.fetchval("SELECT 2")]
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("SELECT * FROM nowhere")
        async with connection.transaction():
            found += [row[0] async for row in connection.cursor("SELECT * FROM generate_series(1, 3)")]
        await connection.close()
        return found

    if first == "ours":
        enable_asyncpg()
    try:
        count, _ = check_spans_are_those_of_a_bare_run(
            AsyncPGInstrumentor(), lambda: asyncio.run(asked()), tmp_path / "x.msgpack", stop=postgres.stop
        )
        assert count >= 3
    finally:
        disable_asyncpg()


def test_a_name_may_be_that_of_another_type_in_the_next_session(url: str, enabled: None, tmp_path: Path) -> None:
    async def used(declared: str, value: str, form: str) -> Any:
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE TYPE kind AS {declared}")
        try:
            await connection.set_type_codec("kind", encoder=repr, decoder=repr, format=form)
            return await connection.fetchval(f"SELECT {value}::kind")
        finally:
            await connection.execute("DROP TYPE kind")
            await connection.close()

    async def recorded() -> tuple[Any, Any]:
        # What is known of the database lives as long as a connection to it.
        keeper = await asyncpg.connect(url)
        found = []
        for number, given in enumerate(kinds):
            with record(tmp_path / f"{number}.msgpack"):
                found.append(await used(*given))
        await keeper.close()
        return tuple(found)

    kinds = [("(a int)", "ROW(1)", "tuple"), ("ENUM ('x')", "'x'", "text")]
    found = asyncio.run(recorded())
    assert found == ("<Record a=1>", "'x'")
    for number, given in enumerate(kinds):
        with replay(tmp_path / f"{number}.msgpack"):
            assert asyncio.run(used(*given)) == found[number]
