"""What is relied upon of sqlite3 beyond its documentation, and what differs between releases of Python."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["RELIED_UPON", "SCRIPTS_CALL_COMMIT", "connect_in_c", "opened_by_aiosqlite"]

RELIED_UPON = (
    "sqlite3:Connection.cursor",
    "sqlite3:Connection.execute",
    "sqlite3:Connection.executemany",
    "sqlite3:Connection.executescript",
    "sqlite3.dbapi2:connect",
)

SCRIPTS_CALL_COMMIT = sys.version_info < (3, 11)
"""Whether ``executescript`` commits by the method of the connection, which an app's class may have replaced."""

_FRAMES = 12
"""How many callers are looked at: the instrumentation of OpenTelemetry stands between."""


def connect_in_c() -> Any:
    """The function that all modules have as ``connect``, however it is wrapped there."""
    return importlib.import_module("_sqlite3").connect


def opened_by_aiosqlite() -> bool:
    """Whether aiosqlite opens a connection now, in a thread of its own."""
    frame: Any = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").partition(".")[0] == "aiosqlite":
            return True
        frame = frame.f_back
    return False
