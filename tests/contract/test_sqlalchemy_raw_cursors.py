"""Cursors of ``engine.raw_connection()`` do what the driver's own do, in a recording and in a replay."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql as sql3
from psycopg2.extensions import quote_ident, register_type  # type: ignore[import-untyped]

from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession

sql2: Any = importlib.import_module("psycopg2.sql")
extensions: Any = importlib.import_module("psycopg2.extensions")
extras: Any = importlib.import_module("psycopg2.extras")

COMPOSED = sql2.SQL("SELECT 1 AS {}").format(sql2.Identifier('a"b'))
LITERALS = sql2.SQL("SELECT {}, {}, {}, {}, {}, {} AS {}").format(
    sql2.Literal(7),
    sql2.Literal("it's \\ ä"),
    sql2.Literal(None),
    sql2.Literal(dt.date(2020, 1, 2)),
    sql2.Literal([1, 2]),
    sql2.Placeholder(),
    sql2.Identifier("x"),
)
COMPOSED3 = sql3.SQL("SELECT {}, %s AS {}").format("it's", sql3.Identifier("x"))

CASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "as_string": ("psycopg2", COMPOSED.as_string),
    "quote_ident": ("psycopg2", lambda cursor: extensions.quote_ident('a "b"', cursor)),
    "register_uuid": ("psycopg2", lambda cursor: type(extras.register_uuid(None, cursor))),
    "register_type": ("psycopg2", lambda cursor: extensions.register_type(extensions.UNICODE, cursor)),
    # As modules have these functions that imported them by name, before the plugin was switched on.
    "quote_ident by name": ("psycopg2", lambda cursor: quote_ident('a "b"', cursor)),
    "register_type by name": ("psycopg2", lambda cursor: register_type(extensions.UNICODE, cursor)),
    "query=": ("psycopg2", lambda cursor: (cursor.execute(query="SELECT 1"), cursor.fetchall())),
    "vars=": ("psycopg2", lambda cursor: (cursor.execute("SELECT %s", vars=(1,)), cursor.fetchall())),
    "vars=None": ("psycopg2", lambda cursor: (cursor.execute("SELECT 1", None), cursor.fetchall())),
    "vars_list=": (
        "psycopg2",
        lambda cursor: cursor.executemany(query="SELECT %s", vars_list=iter([(1,), (2,)])),
    ),
    "callproc": ("psycopg2", lambda cursor: (cursor.callproc("abs", [-1]), cursor.fetchall())),
    "Composed": ("psycopg2", lambda cursor: (cursor.execute(COMPOSED), cursor.fetchall())),
    "Literals": ("psycopg2", lambda cursor: (cursor.execute(LITERALS, ("y",)), cursor.fetchall())),
    "params=": (
        "psycopg",
        lambda cursor: cursor.execute(query="SELECT %s::int", params=(1,), binary=True).fetchall(),
    ),
    "params_seq=": ("psycopg", lambda cursor: cursor.executemany("SELECT %s::int", params_seq=iter([(1,)]))),
    "Composed of psycopg": ("psycopg", lambda cursor: cursor.execute(COMPOSED3, ("y",)).fetchall()),
    "sqlite": ("sqlite", lambda cursor: cursor.execute("SELECT ?", (1,)).fetchall()),
}


def on_cursor(url: Any, use: Callable[[Any], Any]) -> Any:
    engine = sa.create_engine(url)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    try:
        return use(cursor)
    finally:
        cursor.close()
        connection.close()
        engine.dispose()


class Made(NamedTuple):
    """One case, and what came of it while there was a server."""

    cassette: Path
    url: Any
    bare: Any
    recorded: Any


@pytest.fixture(scope="module")
def made(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("raw")
    found = {}
    postgres.start()
    for number, (name, (driver, use)) in enumerate(CASES.items()):
        path = folder / f"{number}.msgpack"
        url = f"sqlite:///{folder}/raw.db" if driver == "sqlite" else postgres.url(driver)
        bare = on_cursor(url, use)
        with record(path):
            recorded = on_cursor(url, use)
        found[name] = Made(path, url, bare, recorded)
    postgres.stop()
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_raw_cursor_is_as_the_drivers_own(made: dict[str, Made], name: str) -> None:
    case = made[name]
    assert case.recorded == case.bare
    assert not [event for event in read_cassette(case.cassette).events if event.not_replayable]
    with replay(case.cassette):
        assert on_cursor(case.url, CASES[name][1]) == case.bare


@pytest.mark.parametrize(
    "use",
    [
        lambda cursor, value: cursor.execute(query="SELECT %s::int", params=(value,)),
        lambda cursor, value: cursor.execute("SELECT %(x)s::int", params={"x": value}),
        lambda cursor, value: cursor.executemany("SELECT %s::int", params_seq=[(value,)]),
        lambda cursor, value: cursor.execute("SELECT 1", binary=value == 1),
    ],
)
def test_what_is_given_by_name_is_matched(tmp_path: Path, postgres: Postgres, use: Any) -> None:
    path = tmp_path / "raw.msgpack"
    postgres.start()
    url = postgres.url("psycopg")
    with record(path):
        on_cursor(url, lambda cursor: use(cursor, 1))
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError):
        on_cursor(url, lambda cursor: use(cursor, 2))
    with replay(path):
        on_cursor(url, lambda cursor: use(cursor, 1))


def test_a_literal_of_a_composed_statement_is_matched(tmp_path: Path, postgres: Postgres) -> None:
    path = tmp_path / "raw.msgpack"
    postgres.start()
    url = postgres.url("psycopg2")

    def run(value: int) -> Any:
        return on_cursor(url, lambda cursor: cursor.execute(sql2.SQL("SELECT {}").format(sql2.Literal(value))))

    with record(path):
        run(1)
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError):
        run(2)


@pytest.mark.parametrize("arguments", [(), ("SELECT %s", 5)])
def test_what_the_driver_refuses_is_refused_as_it_does(
    tmp_path: Path, postgres: Postgres, arguments: tuple[Any, ...]
) -> None:
    postgres.start()

    def run() -> Any:
        with pytest.raises((TypeError, psycopg.Error)) as caught:
            on_cursor(postgres.url("psycopg"), lambda cursor: cursor.executemany(*arguments))
        return type(caught.value), str(caught.value)

    bare = run()
    with record(tmp_path / "raw.msgpack"):
        assert run() == bare
    with replay(tmp_path / "raw.msgpack"):
        assert run()[0] is bare[0]


@pytest.mark.parametrize(
    ("driver", "use", "what"),
    [
        ("psycopg2", lambda cursor: cursor.mogrify("%s", (1,)), "mogrify"),
        ("psycopg2", lambda cursor: str(cursor.statusmessage), "statusmessage"),
        ("psycopg2", lambda cursor: extras.execute_values(cursor, b"SELECT * FROM (VALUES %s) q", [(1,)]), "mogrify"),
        ("psycopg", COMPOSED3.as_string, "pgconn"),
        ("psycopg", lambda cursor: cursor.rownumber == 0, "rownumber"),
        ("psycopg", lambda cursor: list(cursor.stream("SELECT 1")), "stream"),
        ("psycopg", lambda cursor: cursor.copy("COPY (SELECT 1) TO STDOUT").__enter__().read(), "copy"),
        ("sqlite", lambda cursor: cursor.executescript("SELECT 1"), "executescript"),
    ],
)
def test_what_is_not_recorded_is_a_miss(
    tmp_path: Path, postgres: Postgres, driver: str, use: Callable[[Any], Any], what: str
) -> None:
    path = tmp_path / "raw.msgpack"
    postgres.start()
    url = f"sqlite:///{tmp_path}/raw.db" if driver == "sqlite" else postgres.url(driver)
    with record(path):
        on_cursor(url, use)
    with replay(path, fail_on_miss=False) as session:
        with pytest.raises(ReplayMismatchError, match=rf"^Not recorded: (cursor|connection)\.{what} of"):
            on_cursor(url, use)
        on_cursor(url, lambda cursor: [hasattr(cursor, "mogrify"), hasattr(cursor, "no_such_thing")])
    assert isinstance(session, ReplaySession)
    assert len(session.misses) == 1
