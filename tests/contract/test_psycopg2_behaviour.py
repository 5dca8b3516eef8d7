"""What a user of psycopg2 sees besides the contract: one event beneath SQLAlchemy, spans, what a replay refuses."""

from __future__ import annotations

import _thread
import gc
import os
import select
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
from psycopg2 import extensions, extras

from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.plugins import disable_psycopg2, disable_sqlalchemy, enable_psycopg2, enable_sqlalchemy


def _url(postgres: Postgres) -> str:
    postgres.start()
    return postgres.url("psycopg2").set(drivername="postgresql").render_as_string(hide_password=False)


def _with_engine(engine: sa.Engine) -> Any:
    with engine.begin() as connection:
        return connection.execute(sa.text("SELECT 1 AS n")).all()


@pytest.mark.parametrize("opened", ["in the session", "before it", "before it, past SQLAlchemy's plugin"])
def test_a_statement_of_sqlalchemy_is_one_event(postgres: Postgres, tmp_path: Path, opened: str) -> None:
    postgres.start()
    enable_psycopg2()
    engine = sa.create_engine(postgres.url("psycopg2"))
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
        disable_psycopg2()


@pytest.mark.parametrize("kept", ["connection", "cursor"])
def test_a_connection_that_was_opened_before_is_answered_in_a_replay(
    postgres: Postgres, tmp_path: Path, kept: str
) -> None:
    enable_psycopg2()
    try:
        connection = psycopg2.connect(_url(postgres))
        cursor = connection.cursor()

        def work() -> Any:
            used = cursor if kept == "cursor" else connection.cursor()
            used.execute("SELECT count(*) + 1 FROM pg_class")
            found = used.fetchall(), used.statusmessage, used.query
            connection.commit()
            return found

        with record(tmp_path / "x.msgpack") as recording:
            found = work()
        assert [event.signature.method for event in recording.events] == ["SELECT", "COMMIT"]
        postgres.stop()
        with replay(tmp_path / "x.msgpack") as session:
            assert work() == found
        assert session.verdict().ok
        connection.close()
    finally:
        disable_psycopg2()


@pytest.mark.parametrize("kind", ["mine", "plain"])
def test_new_statements_of_a_replay_are_made_and_recorded(postgres: Postgres, tmp_path: Path, kind: str) -> None:
    url = _url(postgres)

    def work(*more: str) -> Any:
        factory = extras.RealDictCursor if kind == "mine" else None
        connection = psycopg2.connect(url, cursor_factory=factory)
        connection.set_session(isolation_level="SERIALIZABLE")
        found = []
        for text in ("SELECT 1 AS n", *more):
            cursor = connection.cursor()
            cursor.execute(text)
            found.append([cursor.statusmessage, [column.name for column in cursor.description], cursor.fetchall()])
            found.append([connection.status, connection.get_transaction_status()])
        connection.commit()
        found.append([connection.status, connection.get_transaction_status()])
        connection.close()
        return found

    path = tmp_path / "x.msgpack"
    with record(path):
        work()
    bare = work("SELECT 2 AS m", "SHOW transaction_isolation")
    with replay(path, record_mode="new_episodes") as session:
        assert work("SELECT 2 AS m", "SHOW transaction_isolation") == bare
    assert session.verdict().ok
    postgres.stop()
    with replay(path):
        assert work("SELECT 2 AS m", "SHOW transaction_isolation") == bare


def test_what_is_not_recorded_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)
    with record(tmp_path / "x.msgpack"):
        connection = psycopg2.connect(url)
        connection.cursor().execute("SELECT 1")
        large = connection.lobject()
        assert large.write(b"x") == 1
        large.close()
        assert connection.tpc_recover() == []
        connection.close()
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        connection = psycopg2.connect(url)
        with pytest.raises(ReplayMismatchError, match=r"(?s)connection\.lobject .*name psycopg2 in live_plugins"):
            connection.lobject()
        with pytest.raises(ReplayMismatchError, match=r"connection\.tpc_recover"):
            connection.tpc_recover()
        with pytest.raises(ReplayMismatchError, match="encrypt_password without an algorithm"):
            extensions.encrypt_password("pw", "user", connection)
        with pytest.raises(ReplayMismatchError, match="asynchronous connection"):
            psycopg2.connect(url, async_=1)
        with pytest.raises(ReplayMismatchError, match="factory of which no class can be derived"):
            psycopg2.connect(url, connection_factory=lambda dsn: extensions.connection(dsn))
        with pytest.raises(ReplayMismatchError, match="factory of which no class can be derived"):
            connection.cursor(cursor_factory=lambda *given: extensions.cursor(*given))
        # The driver's own method, past every class.
        with pytest.raises(psycopg2.NotSupportedError, match="went past what is recorded"):
            extensions.cursor.execute(connection.cursor(), "SELECT 1")
        connection.close()


def test_a_connection_of_a_replay_ends_with_it(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def work() -> Any:
        connection = psycopg2.connect(url)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
        return connection, cursor

    with record(tmp_path / "x.msgpack"):
        work()[0].close()
    with replay(tmp_path / "x.msgpack"):
        connection, cursor = work()
    with pytest.raises(ReplayMismatchError, match="has ended"):
        cursor.execute("SELECT 1")
    with pytest.raises(ReplayMismatchError, match=r"connection\.commit"):
        connection.commit()
    connection.rollback()
    connection.close()


def test_nothing_is_left_of_connections_of_a_replay(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def work() -> Any:
        connection = psycopg2.connect(url)
        connection.cursor().execute("SELECT 1")
        return connection

    with record(tmp_path / "x.msgpack"):
        for _ in range(5):
            work().close()
    open_before, threads = len(list(Path("/dev/fd").iterdir())), _thread._count()
    with replay(tmp_path / "x.msgpack"):
        for number in range(5):
            made = work()
            if number % 2:
                made.close()
            # Some are closed, and some are let go.
            del made
    gc.collect()
    threading.Event().wait(0.2)
    assert len(list(Path("/dev/fd").iterdir())) <= open_before
    assert _thread._count() <= threads


def test_a_connection_of_a_replay_lives_on_in_a_child(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def work(connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        connection.commit()
        return cursor.fetchall(), connection.status

    with record(tmp_path / "x.msgpack"):
        connection = psycopg2.connect(url)
        work(connection)
        found = work(connection)
        connection.close()
    with replay(tmp_path / "x.msgpack", fail_on_miss=False):
        connection = psycopg2.connect(url)
        assert work(connection) == found
        child = os.fork()
        if not child:
            os._exit(0 if work(connection) == found else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        connection.close()


@pytest.mark.parametrize("name", ["psycopg2", "db"])
def test_a_live_database(postgres: Postgres, tmp_path: Path, name: str) -> None:
    url = _url(postgres)

    def work() -> Any:
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS live (n int)")
            cursor.execute("INSERT INTO live SELECT count(*) FROM live RETURNING n")
            found = cursor.fetchone()
        connection.close()
        return found

    with record(tmp_path / "x.msgpack"):
        (first,) = work()
    with replay(tmp_path / "x.msgpack", live_plugins=[name]):
        assert work() == (first + 1,)


def test_a_name_that_was_imported_before_is_patched(postgres: Postgres, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec("from psycopg2 import connect", names)
    module = type(sys)("of_the_app")
    vars(module).update(names)
    sys.modules["of_the_app"] = module
    url = _url(postgres)
    try:
        with record(tmp_path / "x.msgpack") as recording:
            connection = module.connect(url)
            connection.cursor().execute("SELECT 1")
            connection.close()
    finally:
        del sys.modules["of_the_app"]
    assert [event.signature.method for event in recording.events] == ["CONNECT", "SELECT"]


def test_waiting_with_gevent_is_answered(postgres: Postgres, tmp_path: Path) -> None:
    program = """
        from gevent import monkey; monkey.patch_all()
        import sys
        import psycopg2  # type: ignore[import-untyped]
        from timetracer_otel import record, replay

        def work():
            connection = psycopg2.connect(sys.argv[1])
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            connection.commit()
            return cursor.fetchall()

        with record(sys.argv[2]):
            work()
        with replay(sys.argv[2]):
            assert work() == [(1,)]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), _url(postgres), str(tmp_path / "x.msgpack")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_types_that_were_registered_before_the_recording_are_known_in_a_replay(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = _url(postgres)
    postgres.execute("DROP TYPE IF EXISTS place", "CREATE TYPE place AS (name text, floor int)")

    def start() -> Any:
        connection = psycopg2.connect(url)
        return connection, extras.register_composite("place", connection)

    def work(connection: Any) -> Any:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT ROW('here', 2)::place")
            return repr(cursor.fetchone())

    enable_psycopg2()
    try:
        connection, registered = start()
        with record(tmp_path / "x.msgpack"):
            found = work(connection)
        connection.close()
    finally:
        disable_psycopg2()
    postgres.stop()
    with replay(tmp_path / "x.msgpack") as session:
        connection, again = start()
        assert (again.oid, again.attnames) == (registered.oid, registered.attnames)
        assert work(connection) == found == "(place(name='here', floor=2),)"
        connection.close()
    assert session.verdict().ok


def test_a_copy_that_differs_is_a_miss(postgres: Postgres, tmp_path: Path) -> None:
    import io

    url = _url(postgres)

    def work(text: str) -> Any:
        connection = psycopg2.connect(url)
        cursor = connection.cursor()
        cursor.execute("CREATE TEMPORARY TABLE copied (n int)")
        cursor.copy_from(io.StringIO(text), "copied")
        connection.close()

    with record(tmp_path / "x.msgpack"):
        work("1\n2\n")
    with replay(tmp_path / "x.msgpack"):
        work("1\n2\n")
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError):
        work("1\n3\n")


def test_an_app_that_waits_for_notifications_in_vain_waits_in_a_replay(postgres: Postgres, tmp_path: Path) -> None:
    url = _url(postgres)

    def work() -> Any:
        connection = psycopg2.connect(url)
        connection.autocommit = True
        connection.cursor().execute("LISTEN news")
        ready = select.select([connection], [], [], 0.05)[0]
        found = connection.poll(), connection.notifies
        connection.close()
        return bool(ready), found

    with record(tmp_path / "x.msgpack"):
        assert work() == (False, (0, []))
    with replay(tmp_path / "x.msgpack"):
        assert work() == (False, (0, []))


def test_spans_are_those_of_a_bare_run(postgres: Postgres, tmp_path: Path) -> None:
    from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    url = _url(postgres)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work() -> Any:
        connection = psycopg2.connect(url, cursor_factory=extras.RealDictCursor)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS n")
            found = cursor.fetchall()
            cursor.executemany("SELECT %s", ([number] for number in range(2)))
            with pytest.raises(psycopg2.errors.UndefinedTable):
                cursor.execute("SELECT * FROM nowhere")
            connection.rollback()
        connection.close()
        return found

    def spans() -> Any:
        ended = exporter.get_finished_spans()
        exporter.clear()
        return [
            (span.name, span.status.status_code, {**span.attributes, "timetracer.replayed": None})  # type: ignore[dict-item]
            for span in ended
        ]

    instrumentor: Any = Psycopg2Instrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        bare, expected = work(), spans()
        assert len(expected) == 3
        with record(tmp_path / "x.msgpack") as recording:
            assert work() == bare
        assert spans() == expected
        assert [event.signature.method for event in recording.events].count("SELECT") == 3
        postgres.stop()
        with replay(tmp_path / "x.msgpack"):
            assert work() == bare
        assert spans() == expected
    finally:
        instrumentor.uninstrument()
