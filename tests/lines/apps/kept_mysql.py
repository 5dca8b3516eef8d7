"""A line about a connection that mysqlclient opened before the recording.

``MARIADB`` in the environment is a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import MySQLdb  # type: ignore[import-untyped,import-not-found,unused-ignore]
import sqlalchemy as sa

from tests.lines._line import Lines

MARIADB = sa.make_url(os.environ.get("MARIADB", "mysql://nowhere"))
OPEN: list[Any] = []
LINES = Lines()


def before() -> None:
    """What the app does when it starts."""
    where: dict[str, Any] = {"unix_socket": MARIADB.query.get("unix_socket", "")}
    if not where["unix_socket"]:
        where = {"host": MARIADB.host, "port": MARIADB.port or 3306}
    names = {"user": MARIADB.username, "password": MARIADB.password or "", "database": MARIADB.database}
    OPEN.append(MySQLdb.connect(**names, **where))


@LINES.add
def by_mysqlclient() -> Any:
    with closing(OPEN[0].cursor()) as cursor:
        cursor.execute("SELECT 13")
        return cursor.fetchall()
