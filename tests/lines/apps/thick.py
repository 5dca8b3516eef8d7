"""Lines about oracledb in thick mode, where Oracle's own library connects. One connection is older than a recording.

``ORACLE_CLIENT`` in the environment is the folder of that library.
"""

from __future__ import annotations

import os
from typing import Any

import oracledb

from tests.lines._line import Lines

ORACLE_CLIENT = os.environ.get("ORACLE_CLIENT", "")
NOBODY = "127.0.0.2:9"
WHERE: dict[str, Any] = {"user": "app", "password": "s3cret", "dsn": f"{NOBODY}/shop"}
OPEN: list[Any] = []
LINES = Lines()


def before() -> None:
    """What the app does when it starts."""
    oracledb.init_oracle_client(lib_dir=ORACLE_CLIENT)
    OPEN.append(oracledb.connect(**{**WHERE, "dsn": f"{NOBODY}/kept"}))


def _failed(function: Any, *args: Any, **kwargs: Any) -> Any:
    assert not oracledb.is_thin_mode()
    try:
        function(*args, **kwargs)
    except oracledb.DatabaseError as error:
        return str(error)
    return "connected"


@LINES.add
def by_connect() -> Any:
    return _failed(oracledb.connect, **WHERE)


@LINES.add
def by_connection() -> Any:
    return _failed(oracledb.Connection, **WHERE)


@LINES.add
def by_create_pool() -> Any:
    return _failed(oracledb.create_pool, **WHERE, min=1)


@LINES.add
def by_session_pool() -> Any:
    return _failed(oracledb.SessionPool, **WHERE, min=1)


@LINES.add
def by_a_cursor() -> Any:
    return _failed(OPEN[0].cursor().execute, "SELECT 1 FROM dual")
