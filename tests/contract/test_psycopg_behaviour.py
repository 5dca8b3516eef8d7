"""What a user of psycopg sees besides the contract: one event beneath SQLAlchemy, spans, what a replay refuses."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.plugins import disable_psycopg, disable_sqlalchemy, enable_psycopg, enable_sqlalchemy


def _url(postgres: Postgres) -> str:
    postgres.start()
    return postgres.url("psycopg").set(drivername="postgresql").render_as_string(hide_password=False)


def _with_engine(engine: sa.Engine) -> Any:
    with engine.begin() as connection:
        return connection.execute(sa.text("SELECT 1 AS n")).all()


@pytest.mark.parametrize("opened", ["in the session", "before it", "before it, past SQLAlchemy's plugin"])
def test_a_statement_of_sqlalchemy_is_one_event(postgres: Postgres, tmp_path: Path, opened: str) -> None:
    postgres.start()
    enable_psycopg()
    engine = sa.create_engine(postgres.url("psycopg"))
    try:
        if opened == "before it":
            enable_sqlalchemy()
        if opened != "in the session":
            _with_engine(engine)
        with record(tmp_path / "x.msgpack") as recording:
            found = _with_engine(engine)
        methods = [event.signature.method for event in recording.events if event.signature.method != "CONNECT"]
        assert methods == ["BEGIN", "SELECT", "COMMIT"]
        assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
        engine.dispose()
        with replay(tmp_path / "x.msgpack") as session:
            assert _with_engine(engine) == found
        assert session.verdict().ok
    finally:
        engine.dispose()
        disable_sqlalchemy()
        disable_psycopg()


def test_a_statement_of_an_async_engine_is_one_event(postgres: Postgres, tmp_path: Path) -> None:
    postgres.start()

    async def work() -> Any:
        engine = create_async_engine(postgres.url("psycopg"))
        async with engine.connect() as connection:
            found = (await connection.execute(sa.text("SELECT 1 AS n"))).all()
        await engine.dispose()
        return found

    with record(tmp_path / "x.msgpack") as recording:
        found = asyncio.run(work())
    assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
    with replay(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == found


def test_a_connection_of_an_async_engine_of_before_is_its_engine_s(postgres: Postgres, tmp_path: Path) -> None:
    postgres.start()

    async def work() -> None:
        engine = create_async_engine(postgres.url("psycopg"))

        async def asked() -> Any:
            async with engine.connect() as connection:
                return (await connection.execute(sa.text("SELECT 1 AS n"))).all()

        found = await asked()
        with record(tmp_path / "x.msgpack") as recording:
            assert await asked() == found
        assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
        with replay(tmp_path / "x.msgpack") as session:
            assert await asked() == found
        assert session.verdict().ok
        await engine.dispose()

    asyncio.run(work())


def test_what_the_recorded_app_left_unread(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def on_server(connection: psycopg.Connection, count: int) -> Any:
        with connection.cursor("some") as cursor:
            return cursor.execute("SELECT * FROM generate_series(1, 9)").fetchmany(count)

    def plain(connection: psycopg.Connection, count: int) -> Any:
        return connection.execute("SELECT * FROM generate_series(1, 9)").fetchmany(count)

    for use in (on_server, plain):
        with record(tmp_path / "x.msgpack"), psycopg.connect(url) as connection:
            assert len(use(connection, 3)) == 3
        with replay(tmp_path / "x.msgpack", fail_on_miss=False), psycopg.connect(url) as connection:
            if use is plain:
                # All rows of such a statement came with its answer.
                assert len(use(connection, 4)) == 4
            else:
                with pytest.raises(ReplayMismatchError, match="Recorded, but cannot be replayed"):
                    use(connection, 9)


def test_secrets_in_what_the_server_sent(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)
    secret, token = "hunter2-of-mine", "sk-proj-9qWn3kLm8Rt5Yu2Io7Pa4Sd6Fg1Hj0Kz"

    def work() -> Any:
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            connection.execute("CREATE TABLE IF NOT EXISTS person (name text, password text, born date, pin int)")
            with cursor.copy("COPY person (name) FROM STDIN") as copy:
                copy.write_row((f"with {token}",))
            values = {"password": secret, "pin": 98765}
            connection.execute("INSERT INTO person VALUES ('a', %(password)s, '2001-02-03', %(pin)s)", values)
            cursor.execute("SELECT 1; SELECT password, born AS secret_date, pin AS secret_pin FROM person")
            cursor.nextset()
            found = cursor.fetchall()
            found += cursor.stream("SELECT password FROM person")
            with cursor.copy("COPY person (name) TO STDOUT") as copy:
                found += copy.rows()
            connection.rollback()
        return found

    with record(tmp_path / "x.msgpack"):
        bare = work()
    assert (secret, dt.date(2001, 2, 3), 98765) in bare
    kept = (tmp_path / "x.msgpack").read_bytes()
    assert secret.encode() not in kept
    assert token.encode() not in kept
    with replay(tmp_path / "x.msgpack") as session:
        replayed = work()
    assert session.verdict().ok
    assert [[type(value) for value in row] for row in replayed] == [[type(value) for value in row] for row in bare]


def _commit_in_a_pipeline(connection: psycopg.Connection) -> None:
    with connection.pipeline():
        connection.execute("INSERT INTO late VALUES (1), (1)")
        connection.commit()


def test_an_error_in_a_pipeline(postgres: Postgres, tmp_path: Path) -> None:
    # The first statement takes a while: PostgreSQL sends an error at once, so a quick one would be met
    # now in an execute of the pipeline and now in its sync, as the machine is busy or not.
    slow = "SELECT pg_sleep(0.3)"
    url = _url(postgres)

    def work() -> Any:
        found: list[Any] = []
        cursors: list[Any] = []
        connection: Any
        with psycopg.connect(url) as connection:
            for statements in ([slow, "SELECT * FROM nowhere", "SELECT 2"], [slow, "SELECT * FROM nowhere"]):
                try:
                    with connection.pipeline() as pipeline:
                        cursors = [connection.execute(statement) for statement in statements]
                        pipeline.sync()
                except psycopg.Error as error:
                    found.append([type(error).__name__, str(error), error.diag.message_primary])
                found.append(connection.info.transaction_status.name)
                connection.rollback()
                found.append([cursor.description is None for cursor in cursors])
            connection.execute("CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
            with pytest.raises(psycopg.errors.UniqueViolation):
                _commit_in_a_pipeline(connection)
            with pytest.raises(psycopg.errors.UndefinedTable), connection.pipeline():
                connection.execute("SELECT * FROM nowhere", prepare=True)
            connection.rollback()
        return found

    bare = work()
    with record(tmp_path / "x.msgpack"):
        assert work() == bare
    postgres.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert work() == bare
    assert session.verdict().ok


def test_a_transaction_with_new_calls_ends_for_real(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def work(*names: str) -> Any:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS added (name text)")
            with connection.transaction():
                for name in names:
                    with connection.transaction():
                        connection.execute("INSERT INTO added VALUES (%s)", (name,))

    def there() -> Any:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT name FROM added").fetchall()

    with record(tmp_path / "x.msgpack"):
        work("recorded")
    with replay(tmp_path / "x.msgpack", record_mode="new_episodes") as session:
        work("recorded", "new")
    # What was answered from the cassette was not done again.
    assert there() == [("recorded",), ("new",)]
    assert str(session.verdict()).endswith("1 recorded")
    postgres.stop()
    with replay(tmp_path / "x.msgpack") as session:
        work("recorded", "new")
    assert session.verdict().ok


def _worked(connection: psycopg.Connection) -> Any:
    found: list[Any] = []
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO kept (name) VALUES ('tea')")
        found += connection.execute("SELECT name FROM kept").fetchall()
    with connection.cursor("some") as cursor:
        found += cursor.execute("SELECT 1").fetchall()
    connection.execute("INSERT INTO kept (name) VALUES ('coffee')")
    connection.rollback()
    with connection.pipeline():
        found.append(connection.execute("SELECT count(*) FROM kept").fetchone())
    connection.commit()
    return found


def test_the_state_while_an_answer_of_a_pipeline_is_outstanding(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def states() -> list[Any]:
        with psycopg.connect(url, autocommit=True) as connection, connection.pipeline() as pipeline:
            found = [connection.info.transaction_status]
            connection.execute("SELECT 1")
            found.append(connection.info.transaction_status)
            pipeline.sync()
            found.append(connection.info.transaction_status)
        return found

    status = psycopg.pq.TransactionStatus
    live = states()
    assert live == [status.IDLE, status.ACTIVE, status.IDLE]
    with record(tmp_path / "x.msgpack"):
        assert states() == live
    postgres.stop()
    with replay(tmp_path / "x.msgpack"):
        assert states() == live


def test_connections_that_were_there_before(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)
    # Nobody has enabled the plugin yet.
    kept = psycopg.connect(url)
    kept.execute("CREATE TABLE kept (name text)")
    kept.commit()
    with record(tmp_path / "x.msgpack") as recording:
        found = _worked(kept)
    assert [event.signature.method for event in recording.events if event.is_observed_only] == []
    # In another process, such a connection is opened before the replay; here, the same one is there.
    others = psycopg.connect(url)
    for connection in (kept, others):
        own = connection.pgconn
        with replay(tmp_path / "x.msgpack") as session:
            assert _worked(connection) == found
        assert session.verdict().ok
        # Behind the replay it is the app's own again, and was not used.
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.pgconn is own
    # In the replay the connection may be gone by now: it is not asked.
    postgres.stop()
    with replay(tmp_path / "x.msgpack"):
        assert _worked(kept) == found
    kept.close()
    others.close()


@pytest.mark.parametrize("name", ["psycopg", "db"])
def test_a_live_database(postgres: Postgres, tmp_path: Path, name: str) -> None:
    url = _url(postgres)

    def work() -> Any:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS live (n int)")
            return connection.execute("INSERT INTO live SELECT count(*) FROM live RETURNING n").fetchone()

    with record(tmp_path / "x.msgpack"):
        ((first,),) = (work(),)
    with replay(tmp_path / "x.msgpack", live_plugins=[name]):
        assert work() == (first + 1,)


def test_spans_are_those_of_a_bare_run(postgres: Postgres, tmp_path: Path) -> None:
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    url = _url(postgres)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> Any:
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            found = [cursor.execute("SELECT 1 AS n").fetchall(), connection.execute("SELECT 2").fetchone()]
            with pytest.raises(psycopg.errors.UndefinedTable):
                cursor.execute("SELECT * FROM nowhere")
            connection.rollback()
        return found

    def spans() -> Any:
        ended = exporter.get_finished_spans()
        exporter.clear()
        return [
            (span.name, span.status.status_code, {**span.attributes, "timetracer.replayed": None})  # type: ignore[dict-item]
            for span in ended
        ]

    instrumentor: Any = PsycopgInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        bare, expected = work(), spans()
        assert len(expected) == 3
        with record(tmp_path / "x.msgpack"):
            assert work() == bare
        assert spans() == expected
        postgres.stop()
        with replay(tmp_path / "x.msgpack"):
            assert work() == bare
        assert spans() == expected
    finally:
        instrumentor.uninstrument()
