"""Private names of psycopg (3.3): the generators that blocking and asyncio objects share, and what stands on them.

psycopg writes what it does over a socket as generators, which its connections run while they wait in their own way.
A cursor keeps a result of libpq (``pgresult``), and a transformer (``_tx``) that makes rows of it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

__all__ = [
    "OWN_ARGUMENTS",
    "RELIED_UPON",
    "check_open",
    "connection_of",
    "how_many_results",
    "in_pipeline",
    "is_stand_in_class",
    "result_of",
    "rows_by",
    "rows_made",
    "set_described",
    "set_result",
    "stand_in_class",
    "start_query",
    "transformer_of",
]

RELIED_UPON = (
    "psycopg._connection_base:BaseConnection._connect_gen",
    "psycopg:AsyncConnection.connect",
    "psycopg:Connection.connect",
    "psycopg._connection_base:BaseConnection._exec_command(command)",
    "psycopg._cursor_base:BaseCursor._close",
    "psycopg._cursor_base:BaseCursor._execute_gen(query)",
    "psycopg._cursor_base:BaseCursor._select_current_result",
    "psycopg._cursor_base:BaseCursor._start_copy_gen",
    "psycopg._cursor_base:BaseCursor._start_query(query)",
    "psycopg._cursor_base:BaseCursor._stream_send_gen",
    "psycopg._server_cursor_base:ServerCursorMixin._close_gen",
    "psycopg._server_cursor_base:ServerCursorMixin._declare_gen(query)",
    "psycopg._server_cursor_base:ServerCursorMixin._fetch_gen",
    "psycopg._server_cursor_base:ServerCursorMixin._scroll_gen",
)

OWN_ARGUMENTS = frozenset(
    {"autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory", "server_cursor_factory"}
)
"""Arguments of ``connect`` that are none of libpq's."""
_STANDS_IN = "_timetracer_stands_in"


def stand_in_class(cls: Any, pgconn: Any) -> Any:
    """A class whose ``connect`` gives an object of another class, over something that stands for libpq's connection.

    All that psycopg does around the connecting itself is done.
    """

    def connect_gen(_: Any, *__: Any, **___: Any) -> Generator[Any, Any, Any]:
        yield from ()
        return cls(pgconn)

    names = {"_connect_gen": classmethod(connect_gen), _STANDS_IN: True, "__module__": cls.__module__}
    return type(cls.__name__, (cls,), names)


def is_stand_in_class(cls: Any) -> bool:
    """Whether it is such a class."""
    return _STANDS_IN in vars(cls)


def connection_of(cursor: Any) -> Any:
    """The connection of a cursor."""
    return cursor._conn


def in_pipeline(connection: Any) -> bool:
    """Whether statements of a connection are sent before the answers of others are there."""
    return connection._pipeline is not None


def transformer_of(cursor: Any) -> Any:
    """What makes rows of the cursor's result; None where the cursor has run nothing."""
    return getattr(cursor, "_tx", None)


def start_query(cursor: Any, statement: Any) -> None:
    """Begin a statement on the stand-in for a connection, which waits for nothing: psycopg begins a transaction, and
    the cursor forgets its last result.
    """
    for _ in cursor._start_query(statement):
        raise AssertionError("a stand-in has nothing to wait for")


def check_open(connection: Any) -> None:
    """Raise psycopg's error where a connection is closed."""
    connection._check_connection_ok()


def rows_by(cursor: Any, transformer: Any) -> None:
    """Let another one make the rows."""
    cursor._tx = transformer


def result_of(cursor: Any) -> tuple[int, bytes | None, int | None, list[list[Any]], int]:
    """Of the cursor's result: status, command tag, how many rows it changed, the columns as libpq tells them, and how
    many rows there are.
    """
    result = cursor.pgresult
    if result is None:
        return -1, cursor._statusmessage, cursor._rowcount, [], 0
    columns = [
        [result.fname(index), result.ftype(index), result.fmod(index), result.fsize(index)]
        for index in range(result.nfields)
    ]
    return int(result.status), result.command_status, result.command_tuples, columns, result.ntuples


def how_many_results(cursor: Any) -> int:
    """How many results the last call gave."""
    return len(cursor._results)


def set_result(cursor: Any, result: Any, rowcount: int, message: bytes | None) -> None:
    """Give a cursor a result; None for a call that leaves it none."""
    if result is None:
        cursor._rowcount, cursor._statusmessage = rowcount, message
        return
    cursor._results = [result]
    cursor._select_current_result(0)


def set_described(cursor: Any) -> None:
    """A cursor on the server was declared, and its columns are known."""
    cursor._described = True
    cursor._iter_rows = None


def rows_made(cursor: Any, rows: Any) -> list[Any]:
    """Rows as the app's row factory makes them."""
    make = cursor._make_row
    return [make(row) for row in rows]
