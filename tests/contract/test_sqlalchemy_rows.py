"""Rows of cursors of ``engine.raw_connection()`` come back in the class in which they were fetched, or not at all."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg.rows
import pytest
import sqlalchemy as sa

from tests.servers.postgres import Postgres
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette

extras: Any = importlib.import_module("psycopg2.extras")

TWICE = "SELECT 1 AS id, 'Ada' AS name, 2 AS id"


class Person(NamedTuple):
    """A row class of the app's."""

    id: int
    name: str


def fetched(url: Any, query: str, factory: Any, **options: Any) -> Any:
    engine = sa.create_engine(url)
    connection = engine.raw_connection()
    try:
        if factory is not None:
            connection.dbapi_connection.row_factory = factory  # type: ignore[union-attr]
        cursor = connection.cursor(**options)
        cursor.execute(query)
        rows = [cursor.fetchone(), *cursor.fetchmany(1), *cursor.fetchall()]
        cursor.close()
    finally:
        connection.close()
        engine.dispose()
    return rows


def seen(row: Any) -> Any:
    """Type, values and names of a row."""
    kind = type(row)
    names = row.keys() if hasattr(row, "keys") else getattr(row, "_fields", ())
    by_name = [row[name] for name in names] if hasattr(row, "keys") else []
    shown = kind.__module__, kind.__qualname__, list(names), list(row), by_name
    return shown if kind.__name__ != "DictRow" else (*shown, dict(row), row["id"], row[0])


def same_again(tmp_path: Path, run: Callable[[], Any], stop: Callable[[], None] = lambda: None) -> list[Any]:
    bare = list(map(seen, run()))
    with record(tmp_path / "rows.msgpack"):
        assert list(map(seen, run())) == bare
    stop()
    with replay(tmp_path / "rows.msgpack"):
        assert list(map(seen, run())) == bare
    return bare


def refused(tmp_path: Path, run: Callable[[], Any], what: str) -> None:
    path = tmp_path / "rows.msgpack"
    with record(path):
        run()
    lost = [event.not_replayable for event in read_cassette(path).events if event.not_replayable is not None]
    assert len(lost) == 1
    assert f"rows of {what}" in lost[0]
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError, match="make your objects of them"):
        run()


FACTORIES = [
    pytest.param("psycopg", {"row_factory": psycopg.rows.dict_row}, id="dict_row"),
    pytest.param("psycopg", {"row_factory": psycopg.rows.namedtuple_row}, id="namedtuple_row"),
    pytest.param("psycopg", {}, id="psycopg"),
    pytest.param("psycopg2", {"cursor_factory": extras.RealDictCursor}, id="RealDictCursor"),
    pytest.param("psycopg2", {"cursor_factory": extras.DictCursor}, id="DictCursor"),
    pytest.param("psycopg2", {"cursor_factory": extras.NamedTupleCursor}, id="NamedTupleCursor"),
    pytest.param("psycopg2", {}, id="psycopg2"),
]


@pytest.mark.parametrize(("driver", "options"), FACTORIES)
def test_rows_come_back_in_the_class_that_the_driver_made(
    tmp_path: Path, postgres: Postgres, driver: str, options: dict[str, Any]
) -> None:
    postgres.start()
    query = "SELECT * FROM (VALUES (1, 'Ada', ARRAY[1]), (2, 'Eve', NULL), (3, 'Bob', NULL)) AS q (id, \"a name\", x)"
    rows = same_again(tmp_path, lambda: fetched(postgres.url(driver), query, None, **options), postgres.stop)
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("driver", "options"), [found for found in FACTORIES if "namedt" not in str(found.id).lower()]
)
def test_a_name_that_two_columns_have(
    tmp_path: Path, postgres: Postgres, driver: str, options: dict[str, Any]
) -> None:
    postgres.start()
    run = lambda: fetched(postgres.url(driver), TWICE, None, **options)[:1]  # noqa: E731
    same_again(tmp_path, run, postgres.stop)


@pytest.mark.parametrize(
    "factory",
    [sqlite3.Row, None, lambda _, values: list(values), lambda _, values: dict(zip("ab", values, strict=True))],
    ids=["Row", "tuple", "list", "dict"],
)
def test_rows_of_sqlite_come_back_in_their_class(tmp_path: Path, factory: Any) -> None:
    query = "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y' UNION ALL SELECT 3, 'z'"
    same_again(tmp_path, lambda: fetched(f"sqlite:///{tmp_path}/rows.db", query, factory))


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        (lambda _, values: Person(*values), "tests.contract.test_sqlalchemy_rows.Person"),
        (lambda _, values: {"name": values[1]}, "dict whose keys are not the columns"),
        (lambda _, values: [*values, 1], "list whose items are not the columns"),
        (lambda _, values: values[1], "str"),
        (lambda _, values: list(values) if values[0] == 1 else values, "list and tuple"),
    ],
)
def test_rows_of_the_apps_own_are_not_replayed(tmp_path: Path, factory: Any, what: str) -> None:
    def run() -> Any:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.db")
        connection = engine.raw_connection()
        connection.dbapi_connection.row_factory = factory  # type: ignore[union-attr]
        try:
            return connection.cursor().execute("SELECT 1 AS id, 'Ada' AS name UNION ALL SELECT 2, 'Eve'").fetchall()
        finally:
            connection.close()
            engine.dispose()

    refused(tmp_path, run, what)


def _scalar_row(cursor: Any) -> Any:
    """As psycopg has it from 3.2 on."""
    return lambda values: values[0]


def test_scalar_rows_are_not_replayed(tmp_path: Path, postgres: Postgres) -> None:
    postgres.start()
    options = {"row_factory": getattr(psycopg.rows, "scalar_row", _scalar_row)}
    query = "SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 3"
    refused(tmp_path, lambda: fetched(postgres.url("psycopg"), query, None, **options), "int")


def test_a_secret_in_a_row_that_is_a_dict_stays_out(tmp_path: Path, postgres: Postgres) -> None:
    postgres.start()
    path = tmp_path / "rows.msgpack"
    options = {"row_factory": psycopg.rows.dict_row}
    query = "SELECT 1 AS id, 2 AS id, 'hun' || 'ter2' AS password"

    def run() -> Any:
        return fetched(postgres.url("psycopg"), query, None, **options)[0]

    with record(path, redact="default"):
        assert run() == {"id": 2, "password": "hunter2"}
    with replay(path):
        # One for the literal that has a secret label, one for the value.
        cassette = read_cassette(path)
        assert len(cassette.pseudonyms) == 2
        found = run()
        assert found.keys() == {"id", "password"}
        assert found["password"] in cassette.pseudonyms
        assert b"hunter2" not in path.read_bytes()
