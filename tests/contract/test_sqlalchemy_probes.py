"""Probes that fail, and whose error the app swallows: a replay has the error again, and counts no miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contract.sql_observation import attempt, seen
from tests.servers.postgres import Postgres
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette


@pytest.mark.parametrize("driver", ["sqlite", "psycopg", "psycopg2"])
def test_a_value_that_the_driver_refuses(driver: str, postgres: Postgres, tmp_path: Path) -> None:
    postgres.start()
    url = postgres.url(driver) if driver != "sqlite" else sa.make_url(f"sqlite:///{tmp_path / 'app.db'}")

    def work(value: Any = None, statement: str = "SELECT :n AS a") -> Any:
        engine = sa.create_engine(url)
        found = []
        try:
            with engine.connect() as connection:
                # As pandas asks, given a statement where a table's name may stand.
                found.append(attempt(lambda: sa.inspect(connection).has_table(sa.text("SELECT 1"))))  # type: ignore[arg-type]
                connection.rollback()
                found.append(attempt(connection.execute, sa.text(statement), {"n": value or iter([1])}))
                connection.rollback()
                found.append(seen(connection.execute(sa.text("SELECT 2 AS a")).all()))
        finally:
            engine.dispose()
        return _without_addresses(found)

    bare = work()
    cassette = tmp_path / "probe.msgpack"
    with record(cassette):
        assert work() == bare
    events = read_cassette(cassette).events
    assert [event.not_replayable for event in events] == [None] * len(events)
    assert any(event.result.error for event in events)
    url = url.set(port=1) if driver != "sqlite" else url.set(database="/nowhere/app.db")
    with replay(cassette):
        assert work() == bare
    with replay(cassette, fail_on_miss=False) as session:
        work(statement="SELECT :n AS b")
    assert ["Cannot be matched" in str(miss) for miss in session.verdict().misses] == [True]


def test_isolation_levels_in_another_order(tmp_path: Path) -> None:
    def work(*levels: str) -> list[Any]:
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        found: list[Any] = []
        with engine.connect() as connection:
            for level in levels:
                connection.execution_options(isolation_level=level)
                found.append(connection.get_isolation_level())
        engine.dispose()
        return found

    with record(tmp_path / "x.msgpack"):
        assert work("SERIALIZABLE", "READ UNCOMMITTED") == ["SERIALIZABLE", "READ UNCOMMITTED"]
    with replay(tmp_path / "x.msgpack"):
        assert work("READ UNCOMMITTED", "SERIALIZABLE") == ["READ UNCOMMITTED", "SERIALIZABLE"]


def _without_addresses(found: Any) -> Any:
    """SQLAlchemy's text of an error shows the value, with its address."""
    if isinstance(found, dict):
        return {name: _without_addresses(item) for name, item in found.items() if name not in ("text", "params")}
    return [_without_addresses(item) for item in found] if isinstance(found, list) else found
