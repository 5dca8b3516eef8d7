"""Cursors of sqlite3: those that are recorded, and those that answer in a replay."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from threading import get_ident
from typing import Any, Final

from timetracer_otel.calls.flow import pass_or_refuse
from timetracer_otel.calls.guarded import Begin, Flow, only, raising
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.libraries.kits.dbapi.answer import NO_ROWS, Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import StatementSite
from timetracer_otel.libraries.kits.dbapi.cursor_shape import shaped
from timetracer_otel.libraries.kits.dbapi.drivers.sqlite import SqliteConnection
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import (
    CursorNotes,
    RecordingCursor,
    begin_execute,
    begin_executemany,
    recorded_method,
    recorded_run,
)
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor, shape_of
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.kits.dbapi.values import plain_row
from timetracer_otel.libraries.sqlite3.call import reaches_file
from timetracer_otel.session import BaseSession

__all__ = ["Twin", "in_script", "wrapped_cursor"]


in_script: Final[CallAbove[bool]] = CallAbove("sqlite3 script")
"""Whether a script is run now."""


def _script(args: tuple[Any, ...], kwargs: dict[str, Any]) -> CursorCall | None:
    """A script, which is another call than a statement of the same text."""
    call = cursor_call(args, {"statement" if name == "sql_script" else name: kwargs[name] for name in kwargs})
    return call._replace(options={"script": True}, args=args, kwargs=kwargs) if call is not None else None


def _is_usable(notes: Any) -> bool:
    """Whether a cursor is open, and so is its connection, which only the thread that opened it may use.

    What is run on another one fails before the database is asked: it is no call.
    """
    if notes.is_closed:
        return False
    try:
        notes.cursor.connection.total_changes  # noqa: B018 - it raises
    except notes.target.dbapi.ProgrammingError:
        return False
    return True


def _usable(begin: Begin) -> Begin:
    def begin_if_usable(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Any:
        notes = cursor._self_notes
        if not _is_usable(notes):
            return None
        if not notes.target.takes_part(session):
            return _attaching(session, notes.target, *args) if args and reaches_file(args[0]) else None
        return begin(session, cursor, *args, **kwargs)

    return begin_if_usable


def _attaching(session: BaseSession, target: Target, statement: str, *_: Any) -> Flow | None:
    """A database that takes no part is given a file: what is read there from now on cannot be told from its own."""
    refusal = pass_or_refuse(
        target.lib,
        f"a database in memory, which takes no part in this replay, reaches a file: {statement[:200]}",
        "record with memory_databases=True: its statements are answered from the cassette then.",
        session,
    )
    return only(raising(refusal)) if refusal is not None else None


def _begin_script(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
    steps = recorded_run(session, cursor, "executescript", _script(args, kwargs))
    return _in_script(steps) if steps is not None else None


def _in_script(steps: Flow) -> Flow:
    with in_script.making(True):
        return (yield from steps)


class _Notes(CursorNotes):
    """Notes the rows as the database gave them, where the app makes something else of each."""

    is_closed = False
    factory: Any = None
    """The app's row factory, where its rows are noted before it gets them."""

    def __init__(self, cursor: Any, target: Target) -> None:
        super().__init__(cursor, target)
        self._rows: list[tuple[Any, ...]] = []
        self.make_rows_by(cursor.row_factory)

    def make_rows_by(self, factory: Any) -> None:
        """Let the cursor give rows of the app's; sqlite3's own are known to the kit."""
        if factory is None or factory is self.target.dbapi.Row:
            self.factory, self.cursor.row_factory = None, factory
            return
        rows = self._rows

        def made(cursor: Any, row: tuple[Any, ...]) -> Any:
            rows.append(row)
            return factory(cursor, row)

        self.factory, self.cursor.row_factory = factory, made

    def fetch(self, fetch: Any, *args: Any, **kwargs: Any) -> Any:
        self._rows.clear()
        try:
            return super().fetch(fetch, *args, **kwargs)
        except BaseException:
            if self.factory is not None:
                self._refused()
            raise

    def _refused(self) -> None:
        """Note the row at which fetching raised: the app's factory may have done it, and does so in a replay."""
        try:
            if self.fetches is not None and self._rows:
                self.fetches.refused_row = plain_row(self._rows[-1])
        except Exception as fault:
            self.give_up(fault)

    def took(self, how: str, rows: Any, asked: int | None) -> None:
        super().took(how, list(self._rows) if self.factory is not None else rows, asked)


class _RecordingCursor(RecordingCursor):
    """A cursor of sqlite3 while a session records."""

    _self_noted_by = _Notes

    execute = recorded_method("execute", "Run one statement, and record it.", _usable(begin_execute))
    executemany = recorded_method(
        "executemany", "Run one statement often, and record it.", _usable(begin_executemany)
    )
    executescript = recorded_method(
        "executescript", "Run several statements, and record them.", _usable(_begin_script)
    )

    @property
    def row_factory(self) -> Any:
        """What makes the rows, as the app has set it."""
        notes: Any = self._self_notes
        return notes.cursor.row_factory if notes.factory is None else notes.factory

    @row_factory.setter
    def row_factory(self, value: Any) -> None:
        notes: Any = self._self_notes
        notes.make_rows_by(value)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the cursor; nothing more is noted."""
        notes: Any = self._self_notes
        notes.is_closed = True
        return super().close(*args, **kwargs)


def wrapped_cursor(wrapped: Any, target: Target, fetches: Fetches | None = None) -> RecordingCursor:
    """One of sqlite3's cursors, or of a class of the app's, whose statements are recorded."""
    own: Any = type(wrapped)
    made: RecordingCursor = _class_for(own)(wrapped, target, fetches)
    return made


@lru_cache(maxsize=256)
def _class_for(own: Any) -> Any:
    return shaped(_RecordingCursor, own)


class _ReplayCursor(ReplayCursor):
    """A cursor of sqlite3 in a replay."""

    _wrapped = staticmethod(wrapped_cursor)
    row_factory: Any = None
    _last_row_id: Any = None
    _reads_values = False
    """Whether it runs an ``executemany`` whose values it reads from the app by now."""

    # The class of cursors that it stands for: `isinstance` says so.
    __class__: Any = property(lambda self: self._own or type(self))

    @property
    def description(self) -> Any:
        """As recorded, in the types that sqlite3 has for it."""
        found = super().description
        return found if found is None else tuple(map(tuple, found))

    @property
    def lastrowid(self) -> Any:
        """As recorded; a statement that fails leaves it as it was."""
        if self._answer is not None:
            self._last_row_id = super().lastrowid
        return self._last_row_id

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one statement from the cassette."""
        self._check()
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one statement with many sets of values from the cassette."""
        self._check()
        self._reads_values = True
        try:
            return super().executemany(*args, **kwargs)
        finally:
            self._reads_values = False

    def close(self) -> None:
        """Close the cursor; in another thread than its own it is an error."""
        self._check_thread()
        super().close()

    def executescript(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a script from the cassette."""
        self._check()
        return self._call("executescript", _script(args, kwargs))

    def fetchone(self) -> Any:
        """The next recorded row, or None."""
        row = super().fetchone()
        return row if row is None else self._made([row])[0]

    def fetchmany(self, size: int | None = None) -> Any:
        """The next recorded rows."""
        return self._made(super().fetchmany(size))

    def fetchall(self) -> Any:
        """All recorded rows that are left."""
        return self._made(super().fetchall())

    def _given(self, answer: RecordedAnswer) -> Any:
        if answer.refused_row is not None:
            # The error of the app's factory may be of a class of the app's, which nobody but the factory makes.
            answer.make = lambda row: self._made([row])
        return super()._given(answer)

    def _made(self, rows: list[Any]) -> list[Any]:
        """The rows as the app wants them, where they were recorded before it got them."""
        factory = self.row_factory
        if factory is None or factory is self._target.dbapi.Row or isinstance(self._answer, RecordingCursor):
            return rows
        return [outside(factory, self, row) if type(row) is tuple else row for row in rows]

    def _run_for_real(self, site: StatementSite, live: Callable[[Any], Any], fetches: Fetches) -> Any:
        value = super()._run_for_real(site, live, fetches)
        self._answer.row_factory = self.row_factory  # type: ignore[union-attr]
        return value

    def _rows(self) -> Any:
        self._check()
        # Fetching from a cursor that ran nothing is no error.
        return NO_ROWS if self._answer is None and self._setup is None else super()._rows()

    def _check(self) -> None:
        # Raises what sqlite3 raises where the connection is closed.
        outside(getattr, self.connection, "total_changes")
        self._check_thread()
        if self._closed:
            raise_for_app(self._target.dbapi.ProgrammingError("Cannot operate on a closed cursor."))
        if self._reads_values:
            raise_for_app(self._target.dbapi.ProgrammingError("Recursive use of cursors not allowed."))

    def _check_thread(self) -> None:
        if self._connection.thread != get_ident():
            # It raises where the connection is not for other threads.
            outside(self._target.dbapi.Connection.cursor, self.connection)


class Twin(SqliteConnection):
    """What answers for a connection in a replay."""

    cursor_class = _ReplayCursor
    shows_itself = False

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.state: Any = [False, 0]
        self.thread = get_ident()
        """The one that opened it, or was the first to use it in a replay."""
        self.blobs: list[Any] = []
        """The connections in memory that its blobs are of."""

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close it, and its blobs."""
        for each in self.blobs:
            outside(each.close)
        super().close(*args, **kwargs)

    def cursor_like(self, shown: Any, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor of the same class, with what an app's class has set when it was made."""
        made: Any = shape_of(self.cursor_class, self._target, type(shown))
        cursor: ReplayCursor = made(self._target, self, asked=(args, kwargs))
        vars(cursor).update({**getattr(shown, "__dict__", {}), **vars(cursor)})
        cursor.row_factory, cursor.arraysize = shown.row_factory, shown.arraysize  # type: ignore[attr-defined]
        return cursor

    def commit(self) -> None:
        """End the transaction."""
        super().commit()
        self.state = [False, self.state[1]]

    def rollback(self) -> None:
        """End the transaction."""
        super().rollback()
        self.state = [False, self.state[1]]
