"""Private names of psycopg (3.1 to 3.3): the generators that blocking and asyncio objects share, and what stands on
them.

psycopg writes what it does over a socket as generators, which its connections run while they wait in their own way.
A cursor keeps results of libpq (``_results``), and a transformer (``_tx``) that makes rows of the one that it is at.
The classes are found by their public descendants: they stand in other modules in each minor release.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from timetracer_otel.calls.guarded_objects import ReplayObject, guarded_method
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.results import RecordedResult, as_sent

__all__ = [
    "OWN_ARGUMENTS",
    "RELIED_UPON",
    "as_literal",
    "begin_loader",
    "behind",
    "by_python",
    "can_cancel_safely",
    "checks_open",
    "connection_behind",
    "connection_of",
    "copies_by_own",
    "declared",
    "encoding",
    "encoding_of",
    "in_pipeline",
    "in_python_as_well",
    "is_described",
    "is_read",
    "is_row_maker",
    "is_stand_in_class",
    "libpq_of",
    "module_of",
    "mogrified",
    "nested",
    "notification",
    "of_results",
    "opened_connection",
    "owner_of",
    "queue",
    "real_connection",
    "results_of",
    "rows_made",
    "select_result",
    "sent",
    "set_copied",
    "set_ended_copy",
    "set_kept",
    "set_message",
    "set_query",
    "set_results",
    "set_streamed",
    "shows_notifications",
    "stand_in_class",
    "start_query",
    "timed_out",
    "use",
    "waited",
    "without_pipeline",
]

RELIED_UPON = (
    "psycopg:AsyncConnection.connect",
    "psycopg:Connection._connect_gen",
    "psycopg:Connection._exec_command(command)",
    "psycopg:Connection.connect",
    "psycopg:Cursor._close",
    "psycopg:Cursor._execute_gen(query)",
    "psycopg:Cursor._select_current_result",
    "psycopg:Cursor._start_copy_gen",
    "psycopg:Cursor._start_query(query)",
    "psycopg:Cursor._stream_fetchone_gen(first)",
    "psycopg:Cursor._stream_send_gen",
    "psycopg:Copy._read_gen",
    "psycopg:Copy._end_copy_out_gen",
    "psycopg:Pipeline._enter_gen",
    "psycopg:Pipeline._process_results(queued)",
    "psycopg:ServerCursor._close_gen",
    "psycopg:ServerCursor._declare_gen(query)",
    "psycopg:ServerCursor._fetch_gen",
    "psycopg:ServerCursor._scroll_gen",
    "psycopg.adapt:AdaptersMap._optimised",
)

OWN_ARGUMENTS = frozenset(
    {"autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory", "server_cursor_factory"}
)
"""Arguments of ``connect`` that are none of libpq's."""
_UTF_8 = "utf-8"
_FATAL = 7
"""``PGRES_FATAL_ERROR`` of libpq."""
_STANDS_IN = "_timetracer_stands_in"


def owner_of(cls: Any, name: str) -> Any:
    """The class among a class and its bases that has a method."""
    return next(base for base in cls.__mro__ if name in vars(base))


def module_of(cls: Any, name: str) -> Any:
    """The module in which a method of a class is written; some classes say that they are in another one."""
    return sys.modules[vars(owner_of(cls, name))[name].__module__]


def set_query(cursor: Any, statement: Any, values: Any) -> Exception | None:
    """The statement as psycopg would send it, which nobody sends in a replay: apps show it.

    Gives the error where it cannot be converted, which it was in the recording, too.
    """
    own = cursor._tx
    cursor._tx = _without_libpq(cursor)
    try:
        if hasattr(cursor, "_make_declare_statement"):
            statement = cursor._make_declare_statement(statement)
        cursor._query = cursor._convert_query(statement, values)
    except Exception as error:
        # The frames of its traceback would keep it.
        return error.with_traceback(None)
    finally:
        cursor._tx = own
    return None


@guarded_method
def mogrified(cursor: Any, query: Any, params: Any = None) -> str:
    """The statement with its values in it, which a cursor makes on the client."""
    cursor._tx = _quoting(cursor.adapters, cursor._conn)
    made: bytes = outside(cursor._convert_query, query, params).query
    return made.decode(cursor._tx.encoding)


@guarded_method
def as_literal(literal: Any, context: Any) -> bytes:
    """A value as it is written into a statement."""
    made: bytes = outside(_quoting(context.adapters, context.connection).as_literal, literal._obj)
    return made


def _quoting(adapters: Any, connection: Any) -> Any:
    """What converts and quotes values without code in C, by what a stand-in tells."""
    kind, by_python = _by_python()
    return kind(SimpleNamespace(adapters=by_python(adapters), connection=connection))


def _without_libpq(cursor: Any) -> Any:
    if encoding(cursor._conn) != _UTF_8:
        return _quoting(cursor.adapters, cursor._conn)
    # Code in C converts by its defaults then; it asks libpq for bytes alone.
    context = SimpleNamespace(adapters=_of_bytes(cursor), connection=None)
    return importlib.import_module("psycopg.adapt").Transformer(context)


def _of_bytes(cursor: Any) -> Any:
    """The adapters of a cursor, of which those for bytes are written in Python, and ask its connection."""
    adapt, string = (importlib.import_module(f"psycopg.{name}") for name in ("adapt", "types.string"))
    connection = property(lambda _: cursor._conn, lambda *_: None)

    def asking(made: Any) -> Any:
        twin = _in_python(made)
        if not issubclass(twin, string.BytesDumper):
            return made
        return type(twin.__name__, (twin,), {"connection": connection})

    class Adapters(adapt.AdaptersMap):  # type: ignore[misc, name-defined]
        def get_dumper(self, cls: Any, format: Any) -> Any:  # noqa: A002 - psycopg's name
            return asking(super().get_dumper(cls, format))

        def get_dumper_by_oid(self, oid: int, format: Any) -> Any:  # noqa: A002
            return asking(super().get_dumper_by_oid(oid, format))

    return Adapters(cursor.adapters)


@guarded_method
def _made(cls: Any, pgconn: Any) -> Any:
    return outside(cls, pgconn)


def stand_in_class(cls: Any, pgconn: Any) -> Any:
    """A class whose ``connect`` gives an object of another class, over something that stands for libpq's connection.

    All that psycopg does around the connecting itself is done.
    """

    # A guard: it does nothing but call another one.
    def connect_gen(_: Any, *__: Any, **___: Any) -> Generator[Any, Any, Any]:
        yield from ()
        return _made(cls, pgconn)

    names = {"_connect_gen": classmethod(connect_gen), _STANDS_IN: True, "__module__": cls.__module__}
    return type(cls.__name__, (cls,), names)


def is_stand_in_class(cls: Any) -> bool:
    """Whether it is such a class."""
    return _STANDS_IN in vars(cls)


def opened_connection(conninfo: str) -> Any:
    """Libpq's connection, opened for real in a blocking way."""
    generators, waiting = (importlib.import_module(f"psycopg.{name}") for name in ("generators", "waiting"))
    return outside(waiting.wait_conn, outside(generators.connect, conninfo), 0.1)


def waited(call: Any, pgconn: Any) -> Any:
    """Make a call over a connection of libpq's to its end. psycopg waits at the socket of the stand-in, so this waits
    itself, and blocks.

    Args:
        call: Gives a generator of psycopg's.
        pgconn: The connection.
    """
    return outside(importlib.import_module("psycopg.waiting").wait, outside(call), pgconn.socket, 0.1)


def sent(pgconn: Any, text: str) -> None:
    """Send a command over a connection of libpq's, as it is, and block."""
    result = outside(pgconn.exec_, text.encode())
    if result.status == _FATAL:
        raise_for_app(importlib.import_module("psycopg.errors").error_from_result(result))


@contextmanager
def without_pipeline(connection: Any) -> Generator[None, None, None]:
    """While the block runs, each call of a connection waits for its answer."""
    pipeline, connection._pipeline = connection._pipeline, None
    try:
        yield
    finally:
        connection._pipeline = pipeline


def real_connection(pgconn: Any, stand_in: Any, *, autocommit: bool) -> Any:
    """A blocking connection of psycopg's over a real one of libpq's, which stands behind the app's."""
    made = importlib.import_module("psycopg").Connection(pgconn)
    made._autocommit = autocommit
    pgconn.notice_handler, pgconn.notify_handler = stand_in.notice_handler, stand_in.notify_handler
    return made


def connection_of(cursor: Any) -> Any:
    """The connection of a cursor."""
    return cursor._conn


def libpq_of(part: Any) -> Any:
    """The connection of libpq's that a cursor, or a part of a COPY, goes by."""
    return part._pgconn


def use(part: Any, pgconn: Any) -> None:
    """Let a cursor, or a part of a COPY, go by another connection of libpq's."""
    part._pgconn = pgconn


def is_read(copy: Any) -> bool:
    """Whether all of a COPY was read."""
    return bool(copy._finished)


def checks_open(connection: Any) -> Any:
    """Psycopg's function that raises where a connection is closed."""
    return connection._check_connection_ok


def behind(pipeline: Any) -> Any:
    """The connection of a pipeline."""
    return pipeline._conn


def in_python_as_well(module: Any, name: str) -> Any:
    """The function of a module that is written in Python, of one that may be in C."""
    return getattr(module, f"_{name}")


def shows_notifications(connection: Any) -> bool:
    """Whether this psycopg tells its handlers of notifications that the app waits for."""
    return hasattr(connection, "_notifies_backlog")


def encoding(connection: Any) -> str:
    """Python's name of the encoding of a stand-in's texts."""
    return str(connection.pgconn._encoding)


def can_cancel_safely(connection: Any) -> bool:
    """Whether this psycopg cancels calls by a generator."""
    return hasattr(connection, "_cancel_gen")


def in_pipeline(connection: Any) -> Any:
    """The pipeline of a connection, where statements are sent before the answers of others are there; else None."""
    return connection._pipeline


def queue(pipeline: Any, cursor: Any) -> None:
    """A cursor, or psycopg itself, waits for the next answer of a pipeline."""
    pipeline.result_queue.append(None if cursor is None else (cursor, None))


def start_query(cursor: Any, statement: Any) -> None:
    """Begin a statement on the stand-in for a connection, which waits for nothing: psycopg begins a transaction, and
    the cursor forgets its last result.
    """
    for _ in outside(cursor._start_query, statement):
        raise AssertionError("a stand-in has nothing to wait for")


def results_of(cursor: Any) -> list[Any]:
    """The results of the cursor's last call."""
    return list(cursor._results)


def of_results(cursor: Any) -> tuple[int, bytes | None]:
    """What a call with many sets of values leaves: how many rows it changed, and the tag of the last command."""
    return cursor._rowcount, getattr(cursor, "_statusmessage", None)


def set_results(cursor: Any, results: list[Any], returning: bool | None) -> None:
    """Give a cursor its results.

    Args:
        cursor: Of psycopg.
        results: Of libpq.
        returning: For a call with many sets of values, whether it gives rows; None for others.
    """
    cursor._results = results
    cursor._execmany_returning = returning
    if results:
        cursor._select_current_result(0)


def set_kept(cursor: Any, results: list[RecordedResult]) -> None:
    """Give a cursor the same results as it has, as they were noted."""
    if cursor._results:
        set_results(cursor, results, cursor._execmany_returning)


def set_message(cursor: Any, rowcount: int, message: bytes | None) -> None:
    """What a call with many sets of values leaves."""
    cursor._rowcount = rowcount
    if hasattr(type(cursor), "_statusmessage"):
        cursor._statusmessage = message


def select_result(cursor: Any, results: list[Any], result_format: Any) -> None:
    """A cursor on the server was declared, and its columns are known."""
    cursor._results = results
    cursor._format = result_format
    cursor._select_current_result(0, format=result_format)
    cursor._described = True
    if hasattr(type(cursor), "_iter_rows"):
        cursor._iter_rows = None


def is_described(cursor: Any) -> bool:
    """Whether the columns of a cursor on the server are known."""
    return bool(cursor._described)


def declared(cursor: Any, binary: bool | None) -> Any:
    """The format of the rows of a cursor on the server."""
    return cursor.format if binary is None else type(cursor.format)(int(binary))


def rows_made(cursor: Any, result: RecordedResult) -> list[Any]:
    """Rows of a cursor on the server, as the app's row factory makes them."""
    result.format = int(cursor._format)
    cursor.pgresult = result
    cursor._tx.set_pgresult(result, set_loaders=False)
    return cursor._tx.load_rows(0, result.ntuples, cursor._make_row)  # type: ignore[no-any-return]


def set_streamed(cursor: Any, result: RecordedResult, first: bool) -> None:
    """Give a cursor the next rows of a stream."""
    cursor.pgresult = result
    by_python(cursor)
    cursor._tx.set_pgresult(result, set_loaders=first)
    if first:
        cursor._make_row = outside(cursor._make_row_maker)


def set_copied(cursor: Any, result: RecordedResult) -> None:
    """All was written by a COPY."""
    cursor._results = [result]


def set_ended_copy(copy: Any, count: int | None) -> None:
    """All was read of a COPY."""
    copy._finished = True
    copy.cursor._rowcount = count if count is not None else -1


_IN_C = ("psycopg_binary", "psycopg_c")


@lru_cache(maxsize=1024)
def _in_python(cls: Any) -> Any:
    """The class of a loader or a dumper without code in C. psycopg has both, under the same name."""
    base = next((each for each in cls.__mro__ if each.__module__.partition(".")[0] in _IN_C), None)
    if base is None:
        return cls
    known = importlib.import_module("psycopg.adapt").AdaptersMap._optimised.items()
    twin = next((own for own, made in known if made is base and own is not base), None)
    twin = twin or getattr(importlib.import_module("psycopg.types.array"), base.__name__)
    if cls is base:
        return twin
    # Such as the class for arrays of one type, which psycopg makes of that for arrays of any.
    return type(cls.__name__, (twin,), {name: value for name, value in vars(cls).items() if name[:2] != "__"})


@lru_cache(maxsize=1)
def _by_python() -> tuple[Any, Any]:
    """The classes of transformers and of adapters that use no code in C.

    That code asks libpq's objects by their addresses, which stand-ins have none of.
    """
    try:
        transformer = importlib.import_module("psycopg._py_transformer").Transformer
    except ImportError:
        transformer = importlib.import_module("psycopg._transform").Transformer
    adapters = importlib.import_module("psycopg.adapt").AdaptersMap

    def in_python(cls: Any) -> Any:
        return None if cls is None else _in_python(cls)

    class Adapters(adapters):  # type: ignore[misc, valid-type]
        """Adapters of a cursor, of which each is written in Python."""

        def get_loader(self, oid: int, format: Any) -> Any:  # noqa: A002 - psycopg's name
            return in_python(super().get_loader(oid, format))

        def get_dumper(self, cls: Any, format: Any) -> Any:  # noqa: A002
            return in_python(super().get_dumper(cls, format))

        def get_dumper_by_oid(self, oid: int, format: Any) -> Any:  # noqa: A002
            return in_python(super().get_dumper_by_oid(oid, format))

    class RowMaker(ReplayObject, transformer):  # type: ignore[misc, valid-type]
        """Makes rows of a recorded result, in the place of psycopg's transformer."""

        _lib = LIB

        def in_python(self, cls: Any) -> Any:
            """A class of loaders without code in C, for a loader of the app's that stands on another."""
            return _in_python(cls)

        def load_row(self, row: int, make_row: Any) -> Any:
            """One row; None behind the last one, as psycopg 3.1 wants it."""
            return next(iter(self._self_rows(row, row + 1, make_row)), None)

        def load_rows(self, row0: int, row1: int, make_row: Any) -> list[Any]:
            """Some rows."""
            return self._self_rows(row0, row1, make_row)

        def _self_rows(self, first: int, end: int, make_row: Any) -> list[Any]:
            loads = self._row_loaders
            return [
                outside(
                    make_row,
                    [
                        None if value is None else outside(load, as_sent(value))
                        for load, value in zip(loads, row, strict=True)
                    ],
                )
                for row in self._pgresult.rows[first:end]
            ]

    return RowMaker, Adapters


def by_python(cursor: Any) -> None:
    """Let rows of a recorded result be made without code in C."""
    kind, adapters = _by_python()
    if type(cursor._tx) is not kind:
        cursor._tx = kind(SimpleNamespace(adapters=adapters(cursor.adapters), connection=cursor._conn))


def is_row_maker(context: Any) -> bool:
    """Whether it makes rows without code in C."""
    return type(context) is _by_python()[0]


def nested(context: Any) -> Any:
    """The transformer within a loader of values that have values, for another transformer."""
    return _by_python()[0](context) if is_row_maker(context) else None


@guarded_method
def begin_loader(loader: Any, oid: int, context: Any) -> None:
    """Begin a loader of values that have values, without code in C."""
    outside(importlib.import_module("psycopg.adapt").Loader.__init__, loader, oid, context)
    loader._tx = nested(context)


def copies_by_own(cursor: Any, reads: bool) -> None:
    """Let a COPY have a transformer without code in C. One that reads asks the connection for settings."""
    if reads:
        by_python(cursor)
    else:
        cursor._tx = _without_libpq(cursor)


def connection_behind(pgconn: Any) -> Any:
    """The connection of psycopg's that has one of libpq's."""
    return pgconn.notify_handler.args[0]()


def timed_out() -> BaseException | None:
    """What psycopg's generator is stopped by when the time is over that the app waits for a notification; None in
    releases in which it returns.
    """
    kind = getattr(importlib.import_module("psycopg.errors"), "_WaitTimeout", None)
    return None if kind is None else kind()


def notification(channel: bytes, pid: int, payload: bytes) -> Any:
    """A notification as libpq gives it."""
    return importlib.import_module("psycopg.pq").PGnotify(channel, pid, payload)


def encoding_of(name: bytes | None) -> str:
    """Python's name of an encoding of PostgreSQL's."""
    try:
        made: str = importlib.import_module("psycopg._encodings").pg2pyenc(name or b"UTF8")
    except Exception:
        return _UTF_8
    return made
