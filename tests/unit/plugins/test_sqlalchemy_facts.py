"""What a dialect learned from its server, read while other threads use the dialect."""

from __future__ import annotations

import sqlite3
import sys
import threading
from typing import Any

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from timetracer_otel.libraries.sqlalchemy.internals import facts_of


def test_facts_are_read_while_other_threads_let_the_dialect_remember_more() -> None:
    """A service with threads saw "dictionary changed size during iteration": SQLAlchemy memoizes as it compiles."""
    dialect: Any = SQLiteDialect_pysqlite(dbapi=sqlite3)
    dialect.default_schema_name = "main"
    dialect.server_version_info = (3, 45)
    for number in range(200):
        setattr(dialect, f"learned_{number}", number)
    stop = threading.Event()

    def remember() -> None:
        while not stop.is_set():
            for number in range(500):
                setattr(dialect, f"memoized_{number}", None)
            for number in range(500):
                delattr(dialect, f"memoized_{number}")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=remember)
    thread.start()
    try:
        read = [facts_of(dialect) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert all(facts is not None and facts["server_version_info"] == (3, 45) for facts in read)
