"""Lines about clients of MySQL and MariaDB that have no plugin, and connect in C code.

``MARIADB`` in the environment is a database's URL for SQLAlchemy, ``ODBC_DRIVER`` the path of a driver.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import pyodbc  # type: ignore[import-not-found,unused-ignore]
import sqlalchemy as sa

from tests.lines._line import Lines

MARIADB = sa.make_url(os.environ.get("MARIADB", "mysql://nowhere"))
SOCKET = str(MARIADB.query.get("unix_socket", ""))
LINES = Lines()


@LINES.add
def by_pyodbc() -> Any:
    server = f"Socket={SOCKET}" if SOCKET else f"Server={MARIADB.host};Port={MARIADB.port or 3306}"
    words = (server, f"User={MARIADB.username}", f"Password={MARIADB.password or ''}", f"Database={MARIADB.database}")
    text = f"Driver={os.environ.get('ODBC_DRIVER', '')};{';'.join(words)}"
    with closing(pyodbc.connect(text)) as connection:
        return [tuple(row) for row in connection.execute("SELECT 12").fetchall()]
