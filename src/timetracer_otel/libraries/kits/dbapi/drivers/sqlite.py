"""sqlite3, and what behaves like it (aiosqlite, SQLCipher)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.driver import Driver, RowType
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ExecutingConnection, passed_on
from timetracer_otel.libraries.kits.dbapi.statements import quoted_identifier
from timetracer_otel.libraries.kits.dbapi.target import Target

__all__ = ["SQLITE", "SqliteConnection"]


_OF_LIBRARY = re.compile(
    r"\s*SELECT\s+sqlite_(?:compileoption_(?:get|used)|source_id|version)\s*\(\s*(?:'\w*'|\d*)\s*\)\s*;?\s*\Z",
    re.IGNORECASE,
)


class SqliteConnection(ExecutingConnection):
    """A connection that takes functions and collations of the app's."""

    in_transaction = False
    total_changes = 0
    row_factory: Any = None
    text_factory: Any = str

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.isolation_level = ""

    def known_rows(self, text: str, values: Any) -> Sequence[Any] | None:
        """Those of a question about SQLite itself, which is here as it is beneath the app."""
        return _answers_of_library(text) if _OF_LIBRARY.match(text) and not values else None

    create_function = passed_on("create_function")
    create_aggregate = passed_on("create_aggregate")
    create_collation = passed_on("create_collation")
    create_window_function = passed_on("create_window_function")
    set_authorizer = passed_on("set_authorizer")
    set_progress_handler = passed_on("set_progress_handler")
    set_trace_callback = passed_on("set_trace_callback")
    enable_load_extension = passed_on("enable_load_extension")


def _row_maker(names: Sequence[Any]) -> Callable[[tuple[Any, ...]], Any]:
    """What makes a ``sqlite3.Row``: its constructor takes real cursors only, and asks them for the names of columns.

    So a statement that gives these columns runs in a database in memory, which is closed at once.
    """
    columns = ", ".join(f"NULL AS {quoted_identifier(name)}" for name in names)
    sqlite3 = importlib.import_module("sqlite3")  # some builds of Python are without it
    with closing(sqlite3.Connection(":memory:")) as connection:
        cursor = connection.execute(f"SELECT {columns}")
    return lambda values: sqlite3.Row(cursor, values)


@lru_cache(maxsize=64)
def _answers_of_library(text: str) -> Sequence[Any]:
    """The rows of a question about SQLite itself."""
    with closing(importlib.import_module("sqlite3").Connection(":memory:")) as connection:
        found: Sequence[Any] = connection.execute(text).fetchall()
    return found


SQLITE: Final = Driver(
    packages=("sqlite3", "aiosqlite"),
    row_types=(RowType("sqlite3.Row", _row_maker),),
    error_attributes=("sqlite_errorcode", "sqlite_errorname"),
    cursor_class=lambda dbapi, args, kwargs: kwargs.get("factory") or (args[0] if args else dbapi.Cursor),
)
