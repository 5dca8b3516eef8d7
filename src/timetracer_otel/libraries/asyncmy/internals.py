"""Private names of asyncmy (0.2.18): what its connections, cursors and results in C consist of."""

from __future__ import annotations

from typing import Any

from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.mysql.wire import Wire

__all__ = ["RELIED_UPON", "WireLoop", "class_asked", "facts_of", "leads_to", "place", "result_of", "was"]

RELIED_UPON = (
    "asyncmy.connection:Connection._execute_command",
    "asyncmy.connection:Connection.commit",
    "asyncmy.connection:Connection.connect",
    "asyncmy.connection:Connection.cursor",
    "asyncmy.connection:Connection.next_result",
    "asyncmy.connection:Connection.query",
    "asyncmy.connection:Connection.rollback",
    "asyncmy.connection:Connection.show_warnings",
    # Earlier releases (0.2.12) read from a stream of asyncio.
    "asyncmy.connection:_MySQLProtocol",
    "asyncmy.connection:MySQLResult._finish_unbuffered_query",
    "asyncmy.connection:MySQLResult._read_rowdata_packet_unbuffered",
    "asyncmy.cursors:Cursor.execute",
    "asyncmy.cursors:Cursor.executemany",
    "asyncmy.cursors:SSCursor.read_next",
)


class WireLoop(ReplayObject):
    """The app's loop, but for the opening of a connection: that leads to what stands for a transport in a replay.

    Args:
        loop: The app's.
        wire: Stands for the transport.
    """

    _lib = "asyncmy"

    def __init__(self, loop: Any, wire: Wire) -> None:
        self.loop = loop
        self._wire = wire

    @in_steps
    def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Flow:
        """Open no connection. The protocol gets what the wire says."""
        yield from ()
        wire, protocol = self._wire, protocol_factory()

        def feed(data: bytes) -> None:
            protocol.get_buffer(len(data))[: len(data)] = data
            protocol.buffer_updated(len(data))

        def drop() -> None:
            protocol.pos = protocol.length

        protocol.connection_made(wire)
        wire.feed, wire.drop, wire.lost = feed, drop, protocol.connection_lost
        wire.greet()
        return wire, protocol

    create_unix_connection = create_connection

    def __getattr__(self, name: str) -> Any:
        return outside(getattr, self.loop, name)


def leads_to(connection: Any, wire: Wire) -> None:
    """Let a connection open its stream to this."""
    connection._loop = WireLoop(connection._loop, wire)


def was(connection: Any) -> None:
    """The stream is open: the connection has its own loop again."""
    connection._loop = connection._loop.loop


def place(connection: Any) -> tuple[Any, Any, Any, Any]:
    """Host, port, socket and database of a connection."""
    return connection._host, connection._port, connection._unix_socket, connection._db


def class_asked(connection: Any, asked: Any) -> Any:
    """The class of cursors that an app gets."""
    return asked or connection._cursor_cls


def result_of(cursor: Any) -> Any:
    """The result of a cursor."""
    return cursor._result


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
