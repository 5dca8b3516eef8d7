"""Private names of mysql-connector-python (26.10): the handle in C of its connections (``_cmysql``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

from timetracer_otel.calls.whose_error import outside

__all__ = [
    "LIB",
    "MODULE",
    "RELIED_UPON",
    "WITH_ASYNCIO",
    "connection_of",
    "facts_in_python",
    "facts_of",
    "is_open",
    "is_open_in_python",
    "keeps_rows",
    "leads_to",
    "literals",
    "over",
    "place",
    "set_handle",
    "taken_over",
]

LIB: Final = "mysqlconnector"
MODULE: Final = "mysql.connector"
WITH_ASYNCIO: Final = "mysql.connector.aio.connection"
_OVER: Final = "_timetracer_over"

RELIED_UPON = (
    "mysql.connector.abstracts:MySQLConnectionAbstract.connect",
    "mysql.connector.connection:MySQLConnection._open_connection",
    "mysql.connector.cursor:MySQLCursor.execute",
)


def connection_of(cursor: Any) -> Any:
    """The connection of a cursor; None where the cursor is closed, or the connection is gone."""
    found = cursor._connection
    try:
        # It is a weak reference, whose own attributes are not those of the connection.
        return None if found is None else found.get_self()
    except ReferenceError:
        return None


def place(connection: Any, given: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Host, port, socket and database of a connection, which opens with these arguments."""
    named = {name: given[name] for name in ("host", "port", "unix_socket", "database", "db") if name in given}
    return (
        named.get("host", connection._host),
        named.get("port", connection._port),
        named.get("unix_socket", connection._unix_socket),
        named.get("database", named.get("db", connection._database)),
    )


def is_open(connection: Any) -> bool:
    """Whether a connection is open."""
    handle = connection._cmysql
    return handle is not None and bool(handle.connected())


def keeps_rows(connection: Any) -> bool:
    """Whether rows of the last statement must be read before a connection is asked for more."""
    return bool(connection.unread_result) and not connection.can_consume_results


def facts_of(connection: Any) -> dict[str, Any]:
    """What an open connection knows of its server."""
    handle = connection._cmysql
    names = ("character_set_name", "get_host_info", "get_proto_info", "get_server_info", "thread_id")
    return {name: getattr(handle, name)() for name in (*names, "st_server_capabilities", "st_server_status")}


def is_open_in_python(connection: Any) -> bool:
    """The same, of one that is written in Python."""
    return connection._socket is not None and connection._handshake is not None


def facts_in_python(connection: Any) -> dict[str, Any]:
    """The same, of one that is written in Python."""
    told = connection._handshake
    return {
        "server_version": told["server_version_original"],
        "thread_id": told["server_threadid"],
        "capabilities": told["capabilities"],
        "language": told["charset"],
        "status": told["server_status"],
    }


def taken_over(connection: Any) -> Any:
    """What `over` has said, once; None for a connection that opens for real."""
    return vars(connection).pop(_OVER, None)


def leads_to(made: Any, wire: Any) -> None:
    """Let a socket of the driver's, which is not open yet, lead to this."""
    made.sock, made.open_connection = wire, wire.greet


def over(connection: Any, handle: Any) -> None:
    """Let a connection that is opened next stand on this in the place of its handle in C."""
    vars(connection)[_OVER] = handle


def set_handle(connection: Any) -> bool:
    """Do so, where it was said."""
    handle = taken_over(connection)
    if handle is not None:
        connection._cmysql = handle
        connection._do_handshake()
    return handle is not None


def literals(values: Any) -> list[bytes]:
    """Values as texts in a statement, as the driver's own converter in Python writes them."""
    converter = importlib.import_module(f"{MODULE}.conversion").MySQLConverter("utf8mb4", True)
    texts = [outside(converter.escape, outside(converter.to_mysql, value)) for value in values]
    return [outside(converter.quote, text) for text in texts]
