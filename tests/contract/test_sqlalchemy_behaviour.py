"""What a user of the SQLAlchemy plugin sees besides equal answers: misses, secrets, live databases, pools."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import json
import os
import re
import threading
import uuid
import weakref
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sqlalchemy import pool
from sqlalchemy.engine.base import Connection, Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool.base import Pool, _ConnectionFairy, _ConnectionRecord  # type: ignore[attr-defined]

from tests import forks
from tests.children import ROOT, environment, instrumented_path
from tests.contract.sql_cases import items
from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.plugins import disable_sqlalchemy, enable_sqlalchemy
from timetracer_otel.session import ReplaySession

METADATA = sa.MetaData()
USERS = sa.Table(
    "users",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String),
    sa.Column("password", sa.String),
    sa.Column("api_key", sa.LargeBinary),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'app.db'}"


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "sql.msgpack"


def count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM item")).scalar_one()


def filled(url: str, rows: int = 3, **options: Any) -> sa.Engine:
    engine = sa.create_engine(url, **options)
    with engine.connect() as connection:
        items(connection, rows)
    return engine


def insert_user(url: str, name: str) -> Any:
    engine = sa.create_engine(url)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(USERS.insert().values(name=name, password="hunter2", api_key=b"k-secret"))
        rows = connection.execute(sa.select(USERS).where(USERS.c.password == "hunter2")).all()
        labelled = connection.execute(sa.select(USERS.c.password.label("shown"))).scalars().all()
    engine.dispose()
    return rows[0].name, rows[0].password, rows[0].api_key, labelled


def test_a_miss_shows_the_statement_what_differs_and_the_nearest(url: str, cassette: Path) -> None:
    with record(cassette):
        insert_user(url, "ada")
    with replay(cassette) as session, pytest.raises(ReplayMismatchError) as caught:
        insert_user(url, "eve")
    text = str(caught.value)
    assert "INSERT INTO users (name, password, api_key) VALUES" in text
    assert "args.parameters.name: recorded 'ada', now 'eve'" in text
    assert caught.value.actual == {"args.parameters.name": "eve"}
    assert isinstance(session, ReplaySession)
    assert len(session.misses) == 1, "the rollback on the way out is no second miss"
    assert not isinstance(caught.value, sa.exc.SQLAlchemyError)


@pytest.mark.parametrize(
    "rules",
    [["name"], ["insert into users *: name"], "INSERT INTO users*: 1; SELECT nothing: x", ["*: NAME, other"]],
)
def test_values_that_change_each_run_can_be_ignored(url: str, cassette: Path, rules: Any) -> None:
    with record(cassette):
        insert_user(url, str(uuid.uuid4()))
    with replay(cassette, ignore_sql_params=rules) as session:
        insert_user(url, str(uuid.uuid4()))
    assert isinstance(session, ReplaySession)
    assert not session.get_unconsumed_events()


def test_an_ignored_value_elsewhere_still_counts(url: str, cassette: Path) -> None:
    with record(cassette):
        insert_user(url, "ada")
    with replay(cassette, ignore_sql_params=["UPDATE users*: name"]), pytest.raises(ReplayMismatchError):
        insert_user(url, "eve")


def test_a_rule_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ignore_sql_params"):
        replay("x", ignore_sql_params=["INSERT INTO users: "])


def test_secrets_stay_out_of_the_cassette_and_do_not_hinder_a_replay(url: str, cassette: Path) -> None:
    with record(cassette):
        live = insert_user(url, "ada")
    assert live == ("ada", "hunter2", b"k-secret", ["hunter2"])
    data = cassette.read_bytes()
    assert b"hunter2" not in data
    assert b"k-secret" not in data
    with replay(cassette):
        name, password, key, list_of_one = insert_user(url, "ada")
    # One secret has one pseudonym, of its form.
    assert (name, list_of_one) == ("ada", [password])
    assert {password, key.decode()} <= set(read_cassette(cassette).pseudonyms)
    assert re.fullmatch(rb"[a-z]-[a-z]{6}", key)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_secret_that_the_servers_error_repeats_stays_out_too(
    cassette: Path, postgres: Postgres, driver: str
) -> None:
    postgres.start()
    postgres.clear()
    postgres.execute("CREATE TABLE keys (api_key TEXT UNIQUE)")
    engine = sa.create_engine(postgres.url(driver), hide_parameters=True)
    keys = sa.table("keys", sa.column("api_key", sa.Text))

    def run() -> Any:
        with engine.connect() as connection:
            connection.execute(keys.insert().values(api_key="k-hunter2"))
            try:
                connection.execute(keys.insert().values(api_key="k-hunter2"))
            except sa.exc.IntegrityError as error:
                return str(error.orig), error.orig.diag.message_detail  # type: ignore[union-attr]

    with record(cassette):
        live = run()
    assert "k-hunter2" in live[0]
    assert b"k-hunter2" not in cassette.read_bytes()
    with replay(cassette):
        (pseudonym,) = read_cassette(cassette).pseudonyms
        assert run() == tuple(text.replace("k-hunter2", pseudonym) for text in live)
    engine.dispose()


def test_a_password_in_the_url_is_not_kept(cassette: Path, postgres: Postgres) -> None:
    engine = sa.create_engine(postgres.url("psycopg").set(password="pw-secret"))
    with record(cassette), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()
    assert b"pw-secret" not in cassette.read_bytes()


def test_a_tracers_comment_is_no_part_of_the_statement(url: str, cassette: Path) -> None:
    def run() -> Any:
        engine = sa.create_engine(url)

        @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
        def _comment(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
            return f"{statement} /*db_driver='x',traceparent='00-{uuid.uuid4().hex}-01'*/", parameters

        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT 5 /* mine */")).scalar()
        engine.dispose()
        return found

    with record(cassette):
        assert run() == 5
    with replay(cassette):
        assert run() == 5
    statements = [event.call.args["statement"] for event in read_cassette(cassette).events if event.call]
    assert "SELECT 5 /* mine */" in statements


def test_the_database_may_stay_live_in_a_replay(url: str, cassette: Path) -> None:
    engine = filled(url)
    with record(cassette):
        assert count(engine) == 3
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM item WHERE id = 1"))
    with replay(cassette):
        assert count(engine) == 3
    with replay(cassette, live_plugins=["db"]) as session:
        assert count(engine) == 2
        assert isinstance(session, ReplaySession)
        assert session.live_calls["sqlalchemy"] > 0
    with replay(cassette, mock_plugins=["http"]):
        assert count(engine) == 2
    with replay(cassette):
        assert count(engine) == 3
    assert count(engine) == 2
    engine.dispose()


def test_a_pool_that_was_warm_when_recorded_replays_cold(url: str, cassette: Path, tmp_path: Path) -> None:
    engine = filled(url)
    with record(cassette):
        assert count(engine) == 3
    engine.dispose()
    (tmp_path / "app.db").unlink()
    with replay(cassette):
        cold = sa.create_engine(url)
        assert count(cold) == 3
        assert cold.dialect.server_version_info  # type: ignore[attr-defined]
        cold.dispose()


def test_real_connections_of_a_pool_survive_a_replay(cassette: Path) -> None:
    engine = filled("sqlite://", poolclass=pool.StaticPool)
    with record(cassette):
        count(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM item"))
    with replay(cassette):
        assert count(engine) == 3
    assert count(engine) == 0, "a database in memory lives as long as its one connection"
    engine.dispose()


def test_an_engine_first_used_in_a_replay_works_for_real_afterwards(url: str, cassette: Path) -> None:
    with record(cassette):
        engine = filled(url)
        count(engine)
    engine.dispose()
    other = sa.create_engine(url)
    with replay(cassette):
        for _ in range(1):
            with other.connect() as connection:
                items(connection, 3)
    other.dialect.default_schema_name = "of the cassette"
    assert count(other) == 3
    assert other.dialect.default_schema_name == "main", "learned anew from the real database"
    other.dispose()


def test_fetching_more_than_was_recorded_is_a_miss(url: str, cassette: Path) -> None:
    engine = filled(url, 20)
    query = sa.text("SELECT id FROM item ORDER BY id")
    with record(cassette), engine.connect() as connection:
        result = connection.execute(query)
        assert len(result.fetchmany(5)) == 5
        result.close()
    rows = [
        event.result.reply["rows"] for event in read_cassette(cassette).events if event.signature.method == "SELECT"
    ]
    assert [len(batch) for batch in rows] == [5], "rows are recorded as they are fetched, never more"
    with replay(cassette), engine.connect() as connection:
        result = connection.execute(query)
        assert len(result.fetchmany(3)) == 3
        with pytest.raises(ReplayMismatchError, match="never saw the end"):
            result.fetchall()
    engine.dispose()


def test_a_commit_that_was_never_recorded_is_a_miss(url: str, cassette: Path) -> None:
    engine = filled(url)
    with record(cassette), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    with replay(cassette), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        with pytest.raises(ReplayMismatchError, match="COMMIT"):
            connection.commit()
    engine.dispose()


def test_a_transaction_that_ends_in_another_way_than_when_it_was_recorded_is_told(url: str, cassette: Path) -> None:
    def work(end: str) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            getattr(connection, end)()

    engine = filled(url)
    with record(cassette):
        work("rollback")
    [statement] = [event for event in read_cassette(cassette).events if event.signature.method == "SELECT"]
    assert [event.signature.method for event in statement.transaction] == ["BEGIN", "ROLLBACK"]
    with replay(cassette), pytest.raises(ReplayMismatchError, match="COMMIT"):
        work("commit")
    with record(cassette):
        work("commit")
    with replay(cassette) as session:
        work("rollback")
    assert isinstance(session, ReplaySession)
    assert [event.signature.method for event in session.get_unconsumed_events()] == ["COMMIT"]
    with replay(cassette) as session:
        work("commit")
        with pytest.raises(ReplayMismatchError):
            work("commit")
    engine.dispose()


def test_a_session_counts_a_transaction_as_its_cassette_does(url: str, cassette: Path) -> None:
    engine = filled(url)
    with record(cassette) as session:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT 1")).scalar()
            # What was asked for too early does not know the end yet.
            assert [event.signature.method for event in session.events][-2:] == ["BEGIN", "SELECT"]
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT 2")).scalar()
    read = read_cassette(cassette)
    methods = ["BEGIN", "SELECT", "COMMIT"] * 2
    assert [event.signature.method for event in session.events][-6:] == methods
    assert [event.signature.method for event in read.events][-6:] == methods
    assert [event.eid for event in read.events] == list(range(1, len(read.events) + 1))
    assert read.stats.total_events == len(read.events) == session.verdict().recorded
    with replay(cassette) as replayed:
        for number in (1, 2):
            with engine.begin() as connection:
                assert connection.execute(sa.text(f"SELECT {number}")).scalar() == number
    assert not replayed.verdict().misses
    engine.dispose()


def test_statements_past_sqlalchemy_are_not_answered(url: str, cassette: Path) -> None:
    engine = filled(url)
    with record(cassette):
        count(engine)
    with replay(cassette), engine.connect() as connection:
        driver_connection = connection.connection.dbapi_connection
        assert driver_connection is not None
        cursor = driver_connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        with pytest.raises(ReplayMismatchError):
            cursor.fetchall()
        with pytest.raises(ReplayMismatchError):
            cursor.execute("SELECT count(*) FROM other")
    engine.dispose()


def test_a_database_that_was_never_recorded_is_a_miss(url: str, cassette: Path, tmp_path: Path) -> None:
    with record(cassette):
        filled(url).dispose()
    with replay(cassette), pytest.raises(ReplayMismatchError, match="CONNECT"):
        sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}").connect()
    assert not (tmp_path / "other.db").exists()


def test_only_the_given_engine_takes_part(url: str, cassette: Path, tmp_path: Path) -> None:
    mine, other = filled(url), filled(f"sqlite:///{tmp_path / 'other.db'}", 7)
    enable_sqlalchemy(mine)
    try:
        with record(cassette) as session:
            assert (count(mine), count(other)) == (3, 7)
        assert {event.signature.url for event in session.events} == {"sqlite+pysqlite:///app.db"}
        with replay(cassette):
            assert (count(mine), count(other)) == (3, 7)
    finally:
        disable_sqlalchemy()
        mine.dispose()
        other.dispose()


def test_one_of_the_given_engines_is_left_out_again(url: str, cassette: Path, tmp_path: Path) -> None:
    mine, other = filled(url), filled(f"sqlite:///{tmp_path / 'other.db'}", 7)
    enable_sqlalchemy(mine)
    enable_sqlalchemy(other)
    disable_sqlalchemy(other)
    with record(cassette) as session:
        assert (count(mine), count(other)) == (3, 7)
    assert {event.signature.url for event in session.events} == {"sqlite+pysqlite:///app.db"}
    disable_sqlalchemy(mine)
    with record(cassette) as session:
        assert (count(mine), count(other)) == (3, 7)
    assert len({event.signature.url for event in session.events}) == 2, "no engine is left out by name any more"
    mine.dispose()
    other.dispose()


def test_disabling_leaves_nothing_behind(url: str, cassette: Path) -> None:
    owners: list[type[Any]] = [Pool, _ConnectionFairy, _ConnectionRecord, Engine, Connection]
    before = [dict(vars(owner)) for owner in owners]
    enable_sqlalchemy()
    assert [dict(vars(owner)) for owner in owners] != before
    engine = filled(url)
    with record(cassette):
        count(engine)
    with replay(cassette):
        count(engine)
    disable_sqlalchemy()
    for owner, were in zip(owners, before, strict=True):
        now = dict(vars(owner))
        assert list(now) == list(were)
        assert all(now[name] is were[name] for name in were)
    assert count(engine) == 3
    assert "initialize" not in vars(engine.dialect)
    engine.dispose()


def test_nothing_is_recorded_while_instrumentation_is_suppressed(url: str, cassette: Path) -> None:
    engine = filled(url)
    with record(cassette) as session, suppress_instrumentation():
        count(engine)
    assert session.events == []
    engine.dispose()


def test_two_recordings_at_once_do_not_mix(url: str, tmp_path: Path) -> None:
    engine = filled(url, 9)
    barrier = threading.Barrier(2)

    def run(number: int) -> Any:
        with record(tmp_path / f"{number}.msgpack") as session:
            barrier.wait()
            for _ in range(20):
                with engine.connect() as connection:
                    connection.execute(sa.text(f"SELECT {number}"))
        return {event.call.args["statement"] for event in session.events if event.call and event.duration_ms >= 0} - {
            "CONNECT",
            "BEGIN",
            "ROLLBACK",
        }

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        found = list(executor.map(run, (1, 2)))
    assert found == [{"SELECT 1"}, {"SELECT 2"}]
    engine.dispose()


def test_fifty_threads_get_their_own_answers(url: str, cassette: Path) -> None:
    engine = filled(url, 50, pool_size=10, max_overflow=40)
    table = sa.Table("item", sa.MetaData(), autoload_with=engine)

    def name_of(number: int) -> Any:
        with engine.connect() as connection:
            return connection.scalar(sa.select(table.c.name).where(table.c.id == number))

    def all_names(order: range) -> dict[int, Any]:
        with concurrent.futures.ThreadPoolExecutor(20) as executor:
            jobs = {number: executor.submit(contextvars.copy_context().run, name_of, number) for number in order}
            return {number: job.result() for number, job in jobs.items()}

    with record(cassette):
        live = all_names(range(1, 51))
    with replay(cassette):
        assert all_names(range(50, 0, -1)) == dict(sorted(live.items(), reverse=True))
    assert live[7] == "item 7"
    engine.dispose()


def test_a_connection_opens_without_an_answer_where_another_thread_takes_the_last_one(
    url: str, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer() -> Any:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            found = connection.scalar(sa.text("SELECT 1"))
        engine.dispose()
        return found

    with record(cassette):
        assert answer() == 1
    upcoming = ReplaySession.upcoming
    taken = []

    def upcoming_and_gone(self: ReplaySession, *args: Any) -> Any:
        event = upcoming(self, *args)
        if event is not None and event.signature.method == "CONNECT":
            # As another thread would, between the look and the call.
            taken.append(self.claim(event))
        return event

    monkeypatch.setattr(ReplaySession, "upcoming", upcoming_and_gone)
    with replay(cassette):
        assert answer() == 1
    assert taken == [True]


def test_an_engine_that_the_app_drops_is_not_kept(url: str, cassette: Path) -> None:
    def dialect_of_an_engine() -> weakref.ref[Any]:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        engine.dispose()
        return weakref.ref(engine.dialect)

    with record(cassette):
        recorded = dialect_of_an_engine()
    with replay(cassette):
        replayed = dialect_of_an_engine()
    gc.collect()
    assert (recorded(), replayed()) == (None, None)


def test_a_result_still_open_when_the_recording_ends_keeps_what_was_fetched(url: str, cassette: Path) -> None:
    engine = filled(url, 10)
    with engine.connect() as connection:
        with record(cassette):
            result = connection.execute(sa.text("SELECT id FROM item ORDER BY id"))
            result.fetchmany(2)
        assert len(result.fetchall()) == 8
    (event,) = [event for event in read_cassette(cassette).events if event.signature.method == "SELECT"]
    assert event.result.reply["rows"] == [[1], [2]]
    engine.dispose()


def test_a_session_object_from_before_is_answered_without_its_connection(url: str, cassette: Path) -> None:
    engine = filled(url)
    statement = sa.text("SELECT count(*) FROM item")
    with engine.connect() as connection:
        connection.execute(statement)
        with record(cassette):
            assert connection.execute(statement).scalar() == 3
        connection.execute(sa.text("DELETE FROM item"))
        with replay(cassette):
            assert connection.execute(statement).scalar() == 3
        assert connection.execute(statement).scalar() == 0
        connection.rollback()
    engine.dispose()


def test_replay_timing_waits_as_long_as_the_database_took(cassette: Path, postgres: Postgres) -> None:
    postgres.start()
    engine = sa.create_engine(postgres.url("psycopg"))
    with record(cassette), engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_sleep(1)"))
    for timed in (False, True):
        with replay(cassette, replay_timing=timed), engine.connect() as connection:
            clock = asyncio.new_event_loop()
            began = clock.time()
            connection.execute(sa.text("SELECT pg_sleep(1)"))
            took = clock.time() - began
            clock.close()
            assert (took >= 0.95) is timed
    engine.dispose()


def test_a_cancelled_query_is_cancelled_again(cassette: Path, postgres: Postgres) -> None:
    postgres.start()

    async def run() -> Any:
        engine = create_async_engine(postgres.url("asyncpg"))
        found: list[Any] = []
        async with engine.connect() as connection:
            try:
                await asyncio.wait_for(connection.execute(sa.text("SELECT pg_sleep(30)")), 0.3)
            except asyncio.TimeoutError:
                found.append("timed out")
        async with engine.connect() as connection:
            found.append(await connection.scalar(sa.text("SELECT 9")))
        await engine.dispose()
        return found

    with record(cassette):
        live = asyncio.run(run())
    assert live == ["timed out", 9]
    with replay(cassette):
        assert asyncio.run(run()) == live


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_lost_connection_is_lost_again(cassette: Path, postgres: Postgres, driver: str) -> None:
    postgres.start()

    def run() -> Any:
        engine = sa.create_engine(postgres.url(driver))
        found: list[Any] = []
        with engine.connect() as connection:
            try:
                connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
            except sa.exc.DBAPIError as error:
                found += [type(error).__name__, error.connection_invalidated, connection.invalidated]
            connection.rollback()
            found.append(connection.scalar(sa.text("SELECT 3")))
        engine.dispose()
        return found

    with record(cassette):
        live = run()
    assert live == ["OperationalError", True, True, 3]
    postgres.stop()
    with replay(cassette):
        assert run() == live


def test_psycopg2_batches_are_one_call(cassette: Path, postgres: Postgres) -> None:
    postgres.start()
    postgres.clear()

    def run() -> Any:
        engine = sa.create_engine(postgres.url("psycopg2"), executemany_mode="values_plus_batch")
        with engine.connect() as connection:
            table = items(connection, 4)
            update = table.update().where(table.c.id == sa.bindparam("b_id")).values(name=sa.bindparam("b_name"))
            connection.execute(update, [{"b_id": n, "b_name": f"now {n}"} for n in range(1, 5)])
            found = connection.scalars(sa.select(table.c.name).order_by(table.c.id)).all()
            connection.rollback()
        engine.dispose()
        return found

    with record(cassette) as session:
        live = run()
    assert sum(event.signature.method == "UPDATE" for event in session.events) == 1
    postgres.stop()
    with replay(cassette):
        assert run() == live


@pytest.mark.parametrize("when", ["before", "after"])
def test_opentelemetrys_spans_are_as_live_and_joined_to_their_events(tmp_path: Path, when: str) -> None:
    done = forks.run("-m", "tests.contract.sql_telemetry_probe", str(tmp_path), when, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    def without(spans: Any, *names: str) -> Any:
        return [
            (span["name"], span["status"], {k: v for k, v in span["attributes"].items() if k not in names})
            for span in spans
        ]

    assert without(found["recorded"]) == without(found["bare"])
    assert without(found["replayed"], "timetracer.replayed") == without(found["bare"])
    marked = [span["name"] for span in found["replayed"] if "timetracer.replayed" in span["attributes"]]
    assert len([name for name in marked if name.startswith(("CREATE", "INSERT", "SELECT"))]) == 5
    assert "work" not in marked, "the app's own span is no call"
    assert found["left"] == 0
    ids = {span["id"]: span["name"] for span in found["recorded"]}
    for method, span_id, reason in found["events"]:
        assert reason is None, "OpenTelemetry's span around Engine.connect is no event of its own"
        if method in {"CREATE", "INSERT", "SELECT"}:
            assert ids[span_id].startswith(method)


def test_opentelemetry_instrument_traces_releases_that_the_instrumentor_does_not_declare(tmp_path: Path) -> None:
    program = (
        "import sqlalchemy as sa, sys\n"
        "with sa.create_engine('sqlite://').connect() as c: print(c.execute(sa.text('SELECT 4')).scalar())\n"
        "from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor as Instrumentor\n"
        "print(Instrumentor().is_instrumented_by_opentelemetry)\n"
    )
    settings = {"OTEL_TRACES_EXPORTER": "none", "TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path)}
    settings["PYTHONPATH"] = instrumented_path(None, tmp_path)
    # Without sqlalchemy among those that it shall have, it stands in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.
    for instrumentations, instrumented in ({"sqlalchemy"}, "True"), (set(), "False"):
        env = environment(instrumentations, **settings)
        done = forks.run("-c", program, env=env, cwd=tmp_path)
        assert done.stdout.split() == ["4", instrumented], done.stderr
