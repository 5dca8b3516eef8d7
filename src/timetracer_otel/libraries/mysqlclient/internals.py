"""Private names of mysqlclient (2.2.7 to 2.3): its connections and results in C, and what is asked of them."""

from __future__ import annotations

import importlib
from typing import Any, Final

from timetracer_otel.calls.whose_error import outside

__all__ = [
    "LIB",
    "MODULE",
    "RELIED_UPON",
    "closed_error",
    "columns_of",
    "escape",
    "escape_string",
    "facts_of",
    "has_more",
    "in_c",
    "in_c_names",
    "string_literal",
]

LIB: Final = "mysqlclient"
MODULE: Final = "MySQLdb"
RELIED_UPON = (
    "MySQLdb._mysql:connection.affected_rows",
    "MySQLdb._mysql:connection.next_result",
    "MySQLdb._mysql:connection.store_result",
    "MySQLdb._mysql:connection.use_result",
    "MySQLdb.connections:Connection.query",
    "MySQLdb.cursors:BaseCursor.execute(args)",
    "MySQLdb.cursors:BaseCursor.executemany(args)",
)


def in_c() -> Any:
    """The class in C that connections are derived of."""
    return importlib.import_module(f"{MODULE}._mysql").connection


def in_c_names() -> list[str]:
    """The names of its methods. None may be called on an object that was not connected: some would crash."""
    return [name for name in dir(in_c()) if not name.startswith("__") and callable(getattr(in_c(), name))]


def facts_of(connection: Any) -> dict[str, Any]:
    """What an open connection knows of its server."""
    return {
        name: getattr(connection, name)()
        for name in (
            *("character_set_name", "get_autocommit", "get_host_info", "get_proto_info", "get_server_info"),
            *("get_character_set_info", "thread_id"),
        )
    } | {name: getattr(connection, name) for name in ("client_flag", "port", "server_capabilities")}


def columns_of(connection: Any) -> int:
    """How many columns the result has that an open connection holds; 0 for a statement without rows."""
    return int(in_c().field_count(connection))


def has_more(connection: Any) -> bool | None:
    """Whether results follow that which an open connection holds; None where the release does not tell."""
    tells = getattr(in_c(), "more_results", None)
    return None if tells is None else bool(tells(connection))


def closed_error() -> BaseException:
    """What a closed connection raises for whatever it is asked."""
    error: BaseException = importlib.import_module(MODULE).OperationalError(2006, "")
    return error


def string_literal(value: Any) -> Any:
    """A value as a text in a statement, by no connection."""
    return outside(importlib.import_module(f"{MODULE}._mysql").string_literal, value)


def escape(value: Any, encoders: Any) -> Any:
    """The same by the app's converters."""
    return outside(importlib.import_module(f"{MODULE}._mysql").escape, value, encoders)


def escape_string(value: Any) -> Any:
    """The same without quotes."""
    return outside(importlib.import_module(f"{MODULE}._mysql").escape_string, value)
