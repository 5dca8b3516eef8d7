"""Lines about connections that clients without a plugin opened before the recording.

``UPSTREAM`` is a server's URL, ``POSTGRES`` a database's for SQLAlchemy.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
import psycopg2.pool  # type: ignore[import-untyped]
import sqlalchemy as sa
import urllib3

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
POOL = urllib3.PoolManager()
OPEN: list[Any] = []
LINES = Lines()


def before() -> None:
    """What the app does when it starts."""
    where: dict[str, Any] = {"user": POSTGRES.username, "dbname": POSTGRES.database, "port": POSTGRES.port or 5432}
    where["host"] = POSTGRES.query.get("host", POSTGRES.host)
    POOL.request("GET", f"{UPSTREAM}/users/1")
    OPEN.extend([psycopg2.pool.SimpleConnectionPool(1, 1, **where), psycopg.connect(**where)])


@LINES.add
def by_urllib3() -> Any:
    return POOL.request("GET", f"{UPSTREAM}/users/2", retries=False).data


@LINES.add
def by_psycopg2() -> Any:
    connection = OPEN[0].getconn()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 8")
            return cursor.fetchall()
    finally:
        OPEN[0].putconn(connection)


@LINES.add
def by_psycopg() -> Any:
    return OPEN[1].execute("SELECT 9").fetchall()
