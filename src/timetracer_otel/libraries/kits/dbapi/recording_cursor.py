"""The driver's own cursor while a session records: every call reaches it, and what it answers is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, TypeVar

import wrapt

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import begun, flow, notes
from timetracer_otel.calls.guarded import AppStep, Begin, Flow, Noted, guarded
from timetracer_otel.libraries.kits.dbapi.answer import Fetches
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, raise_made_already
from timetracer_otel.libraries.kits.dbapi.cursor_shape import shaped
from timetracer_otel.libraries.kits.dbapi.driver import known
from timetracer_otel.libraries.kits.dbapi.owners import taken_over
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.session.transactions import Transactions
from timetracer_otel.types import DependencyEvent

__all__ = [
    "CursorNotes",
    "RecordingCursor",
    "begin_callproc",
    "begin_execute",
    "begin_executemany",
    "is_used_directly",
    "recorded_method",
    "recorded_run",
    "recording_cursor",
    "site_of",
]

S = TypeVar("S", bound=StatementSite)


_GROUP = "db"
"""What the log, and the refusal of a replay, call the plugins that use this kit."""
_NO_ROWS: tuple[Any, ...] = ()
_PROXY: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)
"""The base class of wrapt's proxies: a cursor of one of them may be noted already."""
_AS_MANY_AS_USUAL = -1
"""Stands for the number of rows that a cursor fetches where the app does not say how many."""


def recorded_method(name: str, doc: str, begin: Begin) -> Any:
    """A method that runs a statement: the driver's own, recorded where a session is current."""

    def bare(cursor: Any, *args: Any, **kwargs: Any) -> Any:
        notes = cursor._self_notes
        notes.end()
        value = getattr(notes.cursor, name)(*args, **kwargs)
        return cursor if value is notes.cursor else value

    made = guarded(_GROUP, bare, begin)
    made.__name__, made.__qualname__, made.__doc__ = name, f"RecordingCursor.{name}", doc
    return made


def begin_execute(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
    """Decides about an ``execute`` of a cursor."""
    call, noted = cursor_call(args, kwargs), cursor._self_notes
    if noted.is_another_s:
        return None
    if call is not None and notes(noted.target.lib, session):
        site = _site(noted, call, raise_made_already)
        site.noted_on(noted)
        return begun(site, session)  # type: ignore[arg-type]
    return recorded_run(session, cursor, "execute", call)


def begin_executemany(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
    """Decides about an ``executemany`` of a cursor."""
    call = cursor_call(args, kwargs, many=True, as_read=isinstance(session, TraceSession))
    return recorded_run(session, cursor, "executemany", call)


def begin_callproc(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
    """Decides about a ``callproc`` of a cursor."""
    call = cursor_call(args, kwargs)
    named = call._replace(statement=f"CALL {call.statement}") if call is not None else None
    return recorded_run(session, cursor, "callproc", named)


def _executemany_by(
    session: BaseSession, cursor: Any, operation: Any, parameters: Any, through: Callable[[Any], Any]
) -> Flow:
    call = CursorCall(operation, parameters, many=True)
    return _recorded(session, cursor, call, AppStep(through, cursor.__wrapped__))


def _bare_by(cursor: Any, operation: Any, parameters: Any, through: Callable[[Any], Any]) -> Any:
    """An ``executemany`` that the library makes in its own way: ``through`` gets the driver's cursor."""
    cursor._self_notes.end()
    return through(cursor.__wrapped__)


def recorded_run(session: BaseSession, cursor: Any, name: str, call: CursorCall | None) -> Flow | None:
    """The steps of a call that runs a statement; None where there is nothing to note."""
    if call is None or cursor._self_notes.is_another_s:
        return None
    return _recorded(session, cursor, call, AppStep(getattr(cursor.__wrapped__, name), *call.args, **call.kwargs))


def _recorded(session: BaseSession, cursor: Any, call: CursorCall, live: AppStep) -> Flow:
    noted = cursor._self_notes
    site = _site(noted, call, live)
    noted.fetches = site.fetches
    value = yield from flow(site, session)
    return cursor if value is cursor.__wrapped__ else value


def _site(noted: CursorNotes, call: CursorCall, live: Callable[[], Any]) -> StatementSite:
    return site_of(noted, call, live, StatementSite)


def site_of(noted: CursorNotes, call: CursorCall, live: Callable[[], Any], kind: Callable[..., S]) -> S:
    """The site of a statement that a cursor runs.

    Args:
        noted: Of the cursor.
        call: The statement.
        live: Runs it.
        kind: The class of the site.
    """
    noted.end()
    wrapped, target, transactions = noted.cursor, noted.target, noted.transactions
    return kind(
        target,
        call,
        noted.context,
        target.connection_of(wrapped),
        live,
        noted.fetches_by(wrapped),
        _refuse,
        may_be_new=True,
        # Now, since a library may begin the transaction between taking the cursor and running the statement.
        transaction=None if transactions is None else transactions.current,
    )


def _moved(value: Any = None, mode: Any = "relative") -> tuple[Any, Any]:
    return value, mode


class CursorNotes:
    """What is noted of one cursor of a driver. It stands beside the proxy for the cursor: to read an attribute of a
    proxy takes as long as to read ten of a plain object.

    Its methods are guards (see `calls.guarded`).

    Args:
        cursor: The driver's.
        target: The database.
    """

    fetches_by: type[Fetches] = Fetches
    """The class of what notes an answer."""
    context: Any = None
    """What the library has bound the cursor to."""
    fetches: Fetches | None = None
    transactions: Transactions | None = None
    """Those of its connection."""
    is_another_s = False
    """Whether a library above records what it runs (see `owners`)."""

    def __init__(self, cursor: Any, target: Target) -> None:
        self.cursor = cursor
        self.target = target

    def fetch(self, fetch: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Fetch rows; an error is noted."""
        try:
            return fetch(*args, **kwargs)
        except StopIteration:
            raise
        except BaseException as error:
            try:
                if self.fetches is not None:
                    self.fetches.failed(error)
            except Exception as fault:
                self.give_up(fault)
            raise

    def took(self, how: str, rows: Any, asked: int | None) -> None:
        """Note rows that the app has; ``asked`` is how many it wanted, None where all."""
        try:
            if self.fetches is not None:
                if asked is _AS_MANY_AS_USUAL:
                    asked = getattr(self.cursor, "arraysize", 1)
                self.fetches.took(self.cursor, how, rows, asked)
        except Exception as fault:
            self.give_up(fault)

    def move(self, scroll: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Move in the set of rows, and note it."""
        error: BaseException | None = None
        try:
            return scroll(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                if self.fetches is not None:
                    self.fetches.moved(*_moved(*args, **kwargs), error)
            except Exception as fault:
                self.give_up(fault)
            # The exception refers to this frame.
            error = None

    def not_kept(self, what: str) -> None:
        """Note that the app did something which is not recorded."""
        try:
            if self.fetches is not None:
                self.fetches.unread = None
                self.fetches.not_kept(what)
        except Exception as fault:
            self.give_up(fault)

    def end(self) -> None:
        """End the event of the statement."""
        fetches, self.fetches = self.fetches, None
        try:
            if fetches is not None:
                fetches.closed(self.cursor)
        except Exception as fault:
            faults.contain(f"{_GROUP}.close", fault)

    def give_up(self, fault: Exception) -> None:
        """Note nothing more of this statement."""
        fetches, self.fetches = self.fetches, None
        try:
            if fetches is not None:
                fetches.not_kept("fetch (a fault of the recorder; see its log)")
                fetches.closed(self.cursor)
        except Exception as another:
            faults.contain(f"{_GROUP}.close", another)
        faults.contain(f"{_GROUP}.fetch", fault)


class RecordingCursor(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """Stands for a driver's cursor, with its class, attributes and methods.

    Connections stay the driver's own objects. Cursors are wrapped, since drivers written in C insist on their own
    class of connections in more places than on their own class of cursors.

    Args:
        wrapped: The cursor.
        target: The database.
        fetches: Notes the answer of the statement that the cursor ran already; None where it ran none.
    """

    # A name that begins with `_self_` is the proxy's own; every other one is the cursor's.
    _self_notes: CursorNotes
    _self_noted_by = CursorNotes

    def __init__(self, wrapped: Any, target: Target, fetches: Fetches | None = None) -> None:
        super().__init__(wrapped)
        self._self_notes = notes = self._self_noted_by(wrapped, target)
        if fetches is not None:
            notes.fetches = fetches

    def _self_bind(self, context: Any) -> None:
        """Say what the cursor was made for; `Target.statement_facts` gets it."""
        self._self_notes.context = context

    execute = recorded_method("execute", "Run one statement (PEP 249), and record it.", begin_execute)
    executemany = recorded_method(
        "executemany", "Run one statement with many sets of values (PEP 249), and record it.", begin_executemany
    )
    callproc = recorded_method("callproc", "Call a stored procedure (PEP 249), and record it.", begin_callproc)
    _self_executemany_by = guarded(_GROUP, _bare_by, _executemany_by)

    # From here on, each method is a guard (see `calls.guarded`): what the driver gives reaches the app.

    @property
    def description(self) -> Any:
        """The columns (PEP 249). What the library reads first is what we have read: drivers make it anew."""
        notes = self._self_notes
        fetches = notes.fetches
        if fetches is not None and fetches.unread is not None and notes.context is not None:
            unread, fetches.unread = fetches.unread, None
            return unread
        return notes.cursor.description

    @description.setter
    def description(self, value: Any) -> None:
        self.__wrapped__.description = value

    def fetchone(self, *args: Any, **kwargs: Any) -> Any:
        """The next row, or None (PEP 249); it is noted."""
        notes = self._self_notes
        row = notes.fetch(notes.cursor.fetchone, *args, **kwargs)
        notes.took("one", _NO_ROWS if row is None else [row], 1)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """The next rows (PEP 249); they are noted."""
        notes = self._self_notes
        rows = notes.fetch(notes.cursor.fetchmany, *args, **kwargs)
        notes.took("many", rows, (args[0] if args else kwargs.get("size")) or _AS_MANY_AS_USUAL)
        return rows

    def fetchall(self, *args: Any, **kwargs: Any) -> Any:
        """All rows that are left (PEP 249); they are noted."""
        notes = self._self_notes
        rows = notes.fetch(notes.cursor.fetchall, *args, **kwargs)
        notes.took("all", rows, None)
        return rows

    def __iter__(self) -> Iterator[Any]:
        notes = self._self_notes
        rows = iter(notes.cursor)
        while True:
            try:
                row = notes.fetch(next, rows)
            except StopIteration:
                notes.took("one", _NO_ROWS, 1)
                return
            notes.took("one", [row], 1)
            yield row

    def __next__(self) -> Any:
        notes = self._self_notes
        try:
            row = notes.fetch(next, notes.cursor)
        except StopIteration:
            notes.took("one", _NO_ROWS, 1)
            raise
        notes.took("one", [row], 1)
        return row

    def nextset(self, *args: Any, **kwargs: Any) -> Any:
        """Go to the next set of rows (PEP 249), which is noted for itself."""
        self._self_notes.not_kept("nextset")
        return self.__wrapped__.nextset(*args, **kwargs)

    def scroll(self, *args: Any, **kwargs: Any) -> Any:
        """Move in the set of rows; it is noted."""
        notes = self._self_notes
        return notes.move(notes.cursor.scroll, *args, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the driver's cursor; nothing more is noted."""
        notes = self._self_notes
        notes.end()
        return notes.cursor.close(*args, **kwargs)

    def __del__(self) -> None:
        # Half-read, and let go by the app: nothing more will be fetched.
        notes = getattr(self, "_self_notes", None)
        if notes is not None and notes.fetches is not None:
            notes.end()

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        self._self_notes.end()
        return self.__wrapped__.__exit__(*error)


def recording_cursor(wrapped: Any, target: Target, fetches: Fetches | None = None) -> RecordingCursor:
    """A `RecordingCursor` that has no method which the driver's cursor has not."""
    own: Any = type(wrapped)
    made: RecordingCursor = _class_for(own)(wrapped, target, fetches)
    return made


# Asked for each statement: one argument is looked up faster than those of `shaped`.
@lru_cache(maxsize=256)
def _class_for(own: Any) -> Any:
    made = shaped(RecordingCursor, own)
    packages = {base.__module__.partition(".")[0] for base in own.__mro__}
    # The cursor of an adapter is no driver's: any driver may be beneath it.
    is_adapter = bool(_used_directly) and packages.isdisjoint(known.packages)
    return (
        partial(_above_another, made)
        if is_adapter or issubclass(own, _PROXY) or not packages.isdisjoint(_used_directly)
        else made
    )


_used_directly: set[str] = set()
"""Drivers whose own plugins note connections: a library above may take one of these over."""


def is_used_directly(driver: str) -> None:
    """The plugin of a driver notes a connection of it."""
    if driver not in _used_directly:
        _used_directly.add(driver)
        _class_for.cache_clear()


def _above_another(made: Any, wrapped: Any, target: Target, *args: Any) -> Any:
    taken_over(wrapped)
    return made(wrapped, target, *args)


def _refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    raise session.refuse(event, "the cursor was made for a real connection, before this replay began")
