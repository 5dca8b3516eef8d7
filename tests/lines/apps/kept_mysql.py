"""Lines about a connection that pyodbc opened before the recording.

pyodbc is traced as OpenTelemetry's documentation has it. ``MARIADB`` in the environment is a database's URL for
SQLAlchemy, ``ODBC_DRIVER`` the path of a driver.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import pyodbc  # type: ignore[import-not-found,unused-ignore]
import sqlalchemy as sa
from opentelemetry.instrumentation.dbapi import trace_integration

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
    trace_integration(pyodbc, "connect", "odbc")
    server = (
        f"Socket={where['unix_socket']}" if "unix_socket" in where else "Server={host};Port={port}".format(**where)
    )
    words = (server, *(f"{name.title()}={value}" for name, value in names.items()))
    OPEN.append(pyodbc.connect(f"Driver={os.environ.get('ODBC_DRIVER', '')};{';'.join(words)}"))


@LINES.add
def by_pyodbc() -> Any:
    with closing(OPEN[0].cursor()) as cursor:
        cursor.execute("SELECT 14")
        return [tuple(row) for row in cursor.fetchall()]
