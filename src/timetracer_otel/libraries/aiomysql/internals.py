"""Private names of aiomysql (0.3): what its connections consist of."""

from __future__ import annotations

from typing import Any

from timetracer_otel.libraries.kits.mysql.wire import Wire

__all__ = ["RELIED_UPON", "WirePath", "facts_of", "leads_to", "was"]

RELIED_UPON = (
    "aiomysql.connection:Connection._connect",
    "aiomysql.connection:Connection._execute_command(command)",
    "aiomysql.connection:Connection.commit",
    "aiomysql.connection:Connection.next_result",
    "aiomysql.connection:Connection.query(unbuffered)",
    "aiomysql.connection:Connection.rollback",
    "aiomysql.connection:Connection.show_warnings",
    "aiomysql.connection:MySQLResult._finish_unbuffered_query",
    "aiomysql.connection:MySQLResult._read_rowdata_packet_unbuffered",
    "aiomysql.connection:_open_unix_connection(path)",
    "aiomysql.cursors:Cursor.execute(args)",
    "aiomysql.cursors:Cursor.executemany(args)",
)


class WirePath(str):
    """In the place of the file of a socket, for which a stream is opened: what stands for that stream in a replay."""

    __slots__ = ("was", "wire")
    wire: Wire
    was: Any


def leads_to(connection: Any, wire: Wire) -> None:
    """Let a connection open its stream to this."""
    path = WirePath(connection.unix_socket or "replay")
    path.wire, path.was = wire, connection.unix_socket
    connection._unix_socket = path


def was(connection: Any) -> None:
    """The stream is open: the connection has its own path again."""
    connection._unix_socket = connection.unix_socket.was


def facts_of(connection: Any) -> dict[str, Any]:
    """What an open connection knows of its server."""
    return {
        "server_version": connection.server_version,
        "thread_id": connection.server_thread_id[0],
        "capabilities": connection.server_capabilities,
        "language": connection.server_language,
        "status": connection.server_status,
        "host_info": connection.host_info,
    }
