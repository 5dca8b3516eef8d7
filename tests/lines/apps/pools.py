"""Lines about pools that were filled before the recording, and about an app's sources of chance.

``POSTGRES`` in the environment is a database's URL for SQLAlchemy, ``SQLITE`` the path of a file.
"""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from tests.lines._line import Lines

LINES = Lines()
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
SQLITE = os.environ.get("SQLITE", "")
LEFT: list[sa.Connection] = []
ENGINES: dict[tuple[str, bool, str], sa.Engine] = {}


def _in_transaction(engine: sa.Engine) -> Any:
    with engine.begin():
        return None


def _query(engine: sa.Engine) -> Any:
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT 3"))


def _raw_cursor(engine: sa.Engine) -> Any:
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SELECT 4")
    found = cursor.fetchall()
    cursor.close()
    connection.close()
    return [tuple(row) for row in found]


BORROWED: dict[str, Callable[[sa.Engine], Any]] = {
    "connect": lambda engine: engine.connect().close(),
    "raw_connection": lambda engine: engine.raw_connection().close(),
    "raw cursor": _raw_cursor,
    "begin": _in_transaction,
    "query": _query,
}


def _engine(driver: str, pings: bool, name: str) -> sa.Engine:
    """The engine of a use: each has its own, as the first use of an engine opens its connection."""
    key = driver, pings, name
    if key not in ENGINES:
        url = sa.make_url(f"sqlite:///{SQLITE}")
        if driver != "sqlite":
            url = POSTGRES.set(drivername=f"postgresql+{driver}")
        ENGINES[key] = sa.create_engine(url, pool_pre_ping=pings)
    return ENGINES[key]


USES = list(itertools.product(("sqlite", "psycopg", "psycopg2"), (False, True), BORROWED))


def before() -> None:
    """What the app does when it starts: it fills its pools."""
    for use in USES:
        _engine(*use).connect().close()


@LINES.add
def pools_that_were_filled_before() -> Any:
    return [BORROWED[name](_engine(driver, pings, name)) for driver, pings, name in USES]


@LINES.add
def what_dialects_know_of_their_servers() -> Any:
    return [
        _engine(driver, False, "query").dialect.server_version_info for driver in ("sqlite", "psycopg", "psycopg2")
    ]  # type: ignore[attr-defined]


@LINES.add
def seeded_random() -> Any:
    random.seed(5)
    found: list[Any] = [random.random()]
    for pings in (False, True):
        found += [_query(_engine("psycopg", pings, "query")), random.random(), random.gauss(0, 1)]
    return [*found, random.random()]


@LINES.add
def mocked_uuids() -> Any:
    counted = itertools.count(1)
    with patch.object(uuid, "uuid4", lambda: uuid.UUID(int=next(counted))):
        found = [uuid.uuid4(), _query(_engine("psycopg2", True, "query"))]
        return [*found, uuid.uuid4()]


TABLES = ("half", "other_half")


@LINES.add
def results_that_are_left_half_read() -> Any:
    found: list[Any] = []
    for driver in ("sqlite", "psycopg2"):
        engine = _engine(driver, False, "query")
        with engine.begin() as connection:
            for table in TABLES:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
                connection.exec_driver_sql(f"CREATE TABLE {table} AS SELECT 1 AS x UNION SELECT 2")
        LEFT.append(engine.connect())
        found += [
            tuple(LEFT[-1].exec_driver_sql(f"SELECT x FROM {table} ORDER BY x").fetchone() or ()) for table in TABLES
        ]
        found.append(LEFT[-1].exec_driver_sql("DROP TABLE half").rowcount)
    return found


def after() -> Any:
    """Behind the block the app drops what is left, over the connections on which it left rows unread."""
    found = [connection.exec_driver_sql("DROP TABLE other_half").rowcount for connection in LEFT]
    for connection in LEFT:
        connection.close()
    return found
