"""What SQLAlchemy's own test suites found: recording changes nothing that an app or a listener of its can see."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "sql.msgpack"


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Without garbage collection, an object is gone with the last reference to it, or not at all."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def same_three_times(cassette: Path, app: Callable[[], Any]) -> Any:
    """What an app gives bare, which it gives recorded and replayed too."""
    bare = app()
    with record(cassette):
        assert app() == bare
    with replay(cassette):
        assert app() == bare
    return bare


def half_read_result() -> Any:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE item (x)")
        connection.exec_driver_sql("INSERT INTO item VALUES (1), (2), (3)")
        row = connection.exec_driver_sql("SELECT x FROM item").fetchone()
        connection.exec_driver_sql("DROP TABLE item")
    engine.dispose()
    return tuple(row or ())


def half_read_cursors() -> Any:
    engine = sa.create_engine("sqlite://")
    connection = engine.raw_connection()
    found = []
    for read in (
        lambda cursor: cursor.execute("SELECT x FROM item").fetchone(),
        lambda cursor: next(iter(cursor.execute("SELECT x FROM item"))),
        lambda cursor: next(cursor.execute("SELECT x FROM item")),
        lambda cursor: cursor.execute("SELECT x FROM item").fetchmany(2),
    ):
        connection.cursor().execute("CREATE TABLE item (x)")
        connection.cursor().execute("INSERT INTO item VALUES (1), (2), (3)")
        found.append(read(connection.cursor()))
        connection.cursor().execute("DROP TABLE item")
    connection.close()
    engine.dispose()
    return found


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("app", [half_read_result, half_read_cursors])
def test_a_result_that_is_dropped_half_read_locks_no_table(cassette: Path, app: Callable[[], Any]) -> None:
    assert same_three_times(cassette, app)
    selects = [event for event in read_cassette(cassette).events if event.signature.method == "SELECT"]
    assert selects
    assert all(event.not_replayable is None for event in selects)


@pytest.mark.usefixtures("without_collector")
def test_a_result_that_was_read_in_a_block_locks_no_table_after_it(cassette: Path) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with record(cassette) as session:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE item (x)")
            connection.exec_driver_sql("INSERT INTO item VALUES (1), (2), (3)")
            with pytest.raises(sa.exc.OperationalError):
                connection.exec_driver_sql("SELECT x FROM nowhere")
            result = connection.exec_driver_sql("SELECT x FROM item")
            result.fetchone()
    with engine.begin() as connection:
        del result
        connection.exec_driver_sql("DROP TABLE item")
    engine.dispose()
    assert session.is_finalized
