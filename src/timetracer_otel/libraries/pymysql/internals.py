"""Private names of pymysql (1.1): what its connections and results consist of."""

from __future__ import annotations

from typing import Any

__all__ = ["RELIED_UPON", "close", "facts_of"]

RELIED_UPON = (
    "pymysql.connections:Connection._execute_command(command)",
    "pymysql.connections:Connection._force_close",
    "pymysql.connections:Connection.commit",
    "pymysql.connections:Connection.connect(sock)",
    "pymysql.connections:Connection.next_result(unbuffered)",
    "pymysql.connections:Connection.query(unbuffered)",
    "pymysql.connections:Connection.rollback",
    "pymysql.connections:Connection.show_warnings",
    "pymysql.connections:MySQLResult._finish_unbuffered_query",
    "pymysql.connections:MySQLResult._read_rowdata_packet_unbuffered",
    "pymysql.cursors:Cursor.execute(args)",
    "pymysql.cursors:Cursor.executemany(args)",
)


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


def close(connection: Any) -> None:
    """Close a connection that was lost."""
    connection._force_close()
