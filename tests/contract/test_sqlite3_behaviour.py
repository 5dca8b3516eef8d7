"""What a user of sqlite3 sees besides the contract: spans, connections of others, what a replay refuses, secrets."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import forks
from tests.children import ROOT
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_sqlalchemy, disable_sqlite3, enable_sqlalchemy, enable_sqlite3


@pytest.fixture
def enabled() -> Iterator[None]:
    enable_sqlite3()
    yield
    disable_sqlite3()


def _libraries(cassette: Path) -> set[str]:
    return {event.signature.lib for event in read_cassette(cassette).events}


@pytest.mark.parametrize("when", ["before", "after", "seam"])
def test_spans_are_those_of_a_bare_run(tmp_path: Path, when: str) -> None:
    done = forks.run("-m", "tests.contract.direct_telemetry_probe", str(tmp_path), when, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return [
            (span["name"], span["status"], {k: v for k, v in span["attributes"].items() if k not in names})
            for span in spans
        ]

    assert found["same"] == [True, False]
    assert without(found["recorded"]) == without(found["bare"])
    # What a connection executes by itself has no span of its own: the app's is marked then.
    assert without(found["replayed"], "timetracer.replayed") == without(found["bare"])
    assert len(found["bare"]) == (1 if when == "seam" else 5)
    assert found["left"] == []
    assert found["instrumented"] == [when == "before"]
    ids = {span["id"]: span["name"] for span in found["recorded"]}
    assert [method for method, _, _ in found["events"]] == [
        *("CONNECT", "CREATE", "INSERT", "COMMIT", "SELECT", "SELECT", "SELECT")
    ]
    for method, span_id, reason in found["events"][1:]:
        assert reason is None
        # The last statement went past the instrumentor.
        assert ids[span_id] == "work" or ids[span_id].startswith(method)


def _with_engine(engine: sa.Engine) -> Any:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
        return connection.execute(sa.text("SELECT count(*) FROM t")).all()


@pytest.mark.parametrize("opened", ["in the session", "before it", "before it, past SQLAlchemy's plugin"])
@pytest.mark.parametrize("traced", [False, True], ids=["bare", "traced"])
def test_a_statement_of_sqlalchemy_is_one_event(tmp_path: Path, enabled: None, opened: str, traced: bool) -> None:
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    instrumentor: Any = SQLite3Instrumentor()
    if traced:
        instrumentor.instrument()
    try:
        if opened == "before it":
            enable_sqlalchemy()
        if opened != "in the session":
            _with_engine(engine)
        with record(tmp_path / "x.msgpack") as recording:
            found = _with_engine(engine)
        methods = [event.signature.method for event in recording.events if event.signature.method != "CONNECT"]
        assert methods == ["BEGIN", "CREATE", "INSERT", "SELECT", "COMMIT"]
        assert _libraries(tmp_path / "x.msgpack") == {"sqlalchemy"}
        engine.dispose()
        with replay(tmp_path / "x.msgpack") as session:
            assert _with_engine(engine) == found
        assert session.verdict().ok
    finally:
        engine.dispose()
        disable_sqlalchemy()
        if traced:
            instrumentor.uninstrument()


def test_a_connection_that_was_opened_before_the_session(tmp_path: Path, enabled: None) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE t (n)")
        connection.commit()

        def work() -> Any:
            with connection:
                connection.execute("INSERT INTO t VALUES (1)")
            return connection.execute("SELECT count(*) FROM t").fetchall(), connection.in_transaction

        with record(tmp_path / "x.msgpack"):
            first = work()
        with replay(tmp_path / "x.msgpack"):
            assert work() == first == ([(1,)], False)
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(1,)], "the replay wrote nothing"


def test_what_is_not_recorded_is_refused(tmp_path: Path) -> None:
    def work(use: Any) -> Any:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
            return use(connection)

    def backup(connection: sqlite3.Connection) -> None:
        with closing(sqlite3.connect(":memory:")) as other:
            connection.backup(other)

    def whole(connection: sqlite3.Connection) -> bytes:
        made: bytes = getattr(connection, "serialize")()  # noqa: B009 - it came with Python 3.11
        return made

    for use in (backup, whole) if sys.version_info >= (3, 11) else (backup,):
        with record(tmp_path / "x.msgpack"):
            work(use)
        refused = pytest.raises(
            ReplayMismatchError, match=r"(?s)connection\.(backup|serialize).*name sqlite3 in live"
        )
        with replay(tmp_path / "x.msgpack", fail_on_miss=False), refused:
            work(use)


def _in_memory() -> Any:
    with closing(sqlite3.connect(":memory:")) as connection, connection:
        connection.execute("CREATE TABLE t (n)")
        connection.execute("INSERT INTO t VALUES (1)")
        return connection.execute("SELECT count(*) FROM t").fetchall()


def test_a_database_in_memory_is_the_process_s_own(tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack") as recording:
        assert _in_memory() == [(1,)]
    assert recording.events == []
    with replay(tmp_path / "x.msgpack") as session:
        assert _in_memory() == [(1,)]
    assert session.verdict().live == {}


def test_a_database_in_memory_is_recorded_where_the_user_says_so(tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack", memory_databases=True) as recording:
        assert _in_memory() == [(1,)]
    assert [event.signature.method for event in recording.events] == [
        "CONNECT",
        "CREATE",
        "INSERT",
        "SELECT",
        "COMMIT",
    ]
    # The recording says it: a replay answers what stands there, without the setting.
    with replay(tmp_path / "x.msgpack") as session:
        assert _in_memory() == [(1,)]
    assert len(session.verdict().hits) == 5


def test_a_database_in_memory_that_attaches_a_file(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE t (n)")

    def work() -> Any:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("ATTACH ? AS app", (str(tmp_path / "app.db"),))
            return connection.execute("SELECT count(*) FROM app.t").fetchall()

    with record(tmp_path / "x.msgpack"):
        assert work() == [(0,)]
    assert sum(read_cassette(tmp_path / "x.msgpack").stats.dropped.values()) == 1
    refused = pytest.raises(ReplayMismatchError, match=r"(?s)reaches a file.*memory_databases=True")
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), refused:
        work()
    with record(tmp_path / "y.msgpack", memory_databases=True):
        assert work() == [(0,)]
    (tmp_path / "app.db").unlink()
    with replay(tmp_path / "y.msgpack"):
        assert work() == [(0,)]


def test_outside_sessions_a_connection_has_the_driver_s_own_methods(tmp_path: Path) -> None:
    program = """if True:
        import gc, sqlite3, sys
        from timetracer_otel import record, replay
        from timetracer_otel.plugins import enable_sqlite3
        enable_sqlite3()
        connection = sqlite3.connect(sys.argv[1] + "/app.db")
        own = sqlite3.Connection.execute
        found = [type(connection).execute is own]
        with record(sys.argv[1] + "/x.msgpack"):
            found += [type(connection).execute is own, connection.execute("SELECT 1").fetchall()]
        # The session may be in a circle. Each hundredth call looks whether one is left.
        gc.collect()
        for _ in range(200):
            connection.execute("SELECT 1")
        found.append(type(connection).execute is own)
        with replay(sys.argv[1] + "/x.msgpack"):
            found.append(connection.execute("SELECT 1").fetchall())
        print(found)
    """
    done = forks.run("-c", program, str(tmp_path), env=os.environ, cwd=ROOT)
    assert done.stdout.strip() == "[True, False, [(1,)], True, [(1,)]]", done.stderr


def test_a_statement_past_the_connection_reaches_no_database(tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        sqlite3.connect(tmp_path / "app.db").close()
    with replay(tmp_path / "x.msgpack"), closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        cursor = sqlite3.Cursor(connection)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            cursor.execute("SELECT 1")


def test_a_generator_of_values_is_left_to_the_driver(tmp_path: Path) -> None:
    def work() -> Any:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE IF NOT EXISTS t (n)")

            def recursive() -> Iterator[tuple[int]]:
                yield (1,)
                cursor.execute("SELECT 1")

            def failing() -> Iterator[tuple[int]]:
                yield (1,)
                raise ValueError("of the app")

            with pytest.raises(sqlite3.ProgrammingError, match="Recursive use of cursors not allowed"):
                cursor.executemany("INSERT INTO t VALUES (?)", recursive())
            with pytest.raises(ValueError, match="of the app"):
                cursor.executemany("INSERT INTO t VALUES (?)", failing())
            connection.rollback()
            return cursor.execute("SELECT count(*) FROM t").fetchall()

    with record(tmp_path / "x.msgpack"):
        assert work() == [(0,)]
    with replay(tmp_path / "x.msgpack"):
        assert work() == [(0,)]


def test_a_factory_that_is_a_function(tmp_path: Path) -> None:
    def work() -> Any:
        made: Any = lambda *args, **kwargs: sqlite3.Connection(*args, **kwargs)  # noqa: E731
        with closing(sqlite3.connect(tmp_path / "app.db", factory=made)) as connection:
            return connection.execute("SELECT 1").fetchall()

    with record(tmp_path / "x.msgpack"):
        assert work() == [(1,)]
    cassette = read_cassette(tmp_path / "x.msgpack")
    assert cassette.events == []
    assert sum(cassette.stats.dropped.values()) == 1
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="factory"):
        work()


def test_a_connection_of_a_replay_that_has_ended(tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        sqlite3.connect(tmp_path / "app.db").close()
    with replay(tmp_path / "x.msgpack"):
        connection = sqlite3.connect(tmp_path / "app.db")
    with pytest.raises(ReplayMismatchError, match="No replay answers this connection"):
        connection.execute("SELECT 1")
    connection.rollback()
    connection.close()


@pytest.mark.parametrize("name", ["sqlite3", "db"])
def test_a_live_database(tmp_path: Path, name: str) -> None:
    def work() -> Any:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
            connection.execute("INSERT INTO t VALUES (1)")
            return connection.execute("SELECT count(*) FROM t").fetchone()

    with record(tmp_path / "x.msgpack"):
        assert work() == (1,)
    with replay(tmp_path / "x.msgpack", live_plugins=[name]) as session:
        assert work() == (2,)
    assert session.verdict().live == {"sqlite3": 5}


def test_secrets_are_replaced(tmp_path: Path) -> None:
    def work(password: str) -> Any:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS account (password TEXT)")
            connection.execute("INSERT INTO account (password) VALUES (:password)", {"password": password})
            return connection.execute("SELECT password FROM account").fetchall()

    with record(tmp_path / "x.msgpack"):
        assert work("hunter2-hunter2") == [("hunter2-hunter2",)]
    assert b"hunter2" not in (tmp_path / "x.msgpack").read_bytes()
    with replay(tmp_path / "x.msgpack"):
        ((answer,),) = work("hunter2-hunter2")
    assert "hunter2" not in answer
