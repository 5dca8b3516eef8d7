"""The class of an app's cursors: derived of psycopg2's own, or of the class that the app asks for.

It stands beneath the app's class, so that what this does by itself (logging, spans, rows of its own) is done in a
replay, too. What a cursor fetches is made into rows here, whether the server or the cassette gives the values.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final
from weakref import ref

from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Begin, Done, Flow, guarded
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.dbapi.direct import Held, held_by
from timetracer_otel.libraries.kits.dbapi.recording_cursor import (
    CursorNotes,
    begin_callproc,
    begin_execute,
    begin_executemany,
    site_of,
)
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, RowsRead, cursor_call
from timetracer_otel.libraries.psycopg2.answer import Answers, Told
from timetracer_otel.libraries.psycopg2.call import LIB
from timetracer_otel.libraries.psycopg2.copying import Copy, CopySite, all_by_name
from timetracer_otel.libraries.psycopg2.internals import calls_the_next_class
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["NotedCursor", "class_of", "notes_of"]

extensions: Any = importlib.import_module("psycopg2.extensions")
_Cursor: Final[Any] = extensions.cursor
_NOTES: Final = "_self_notes"


class _Notes(CursorNotes):
    """What is noted of one cursor.

    Args:
        cursor: The app's.
        held: What is noted of its connection.
    """

    fetches_by = Told
    answers: Answers | None = None
    """What gives the rows in a replay; None where the server gives them."""
    given = 0
    """How many rows a replay has given; a ``scroll`` counts, too."""
    ran: tuple[str, tuple[Any, ...], dict[str, Any]] = ("", (), {})
    """The last call of a replay: its method, and the arguments."""

    def __init__(self, cursor: Any, held: Held) -> None:
        self._of = ref(cursor)
        self.target = held.target
        self.held = held
        self.transactions = held.transactions
        self.context = cursor.name is not None

    @property
    def cursor(self) -> Any:
        """The app's cursor as psycopg2's own. It would be a circle if it was kept."""
        of: Any = self._of()
        return super(NotedCursor, of)


def notes_of(cursor: Any) -> _Notes | None:
    """What is noted of a cursor; None where its connection is another library's."""
    found: _Notes | None = vars(cursor).get(_NOTES)
    if found is None:
        held = held_by(cursor.connection)
        if held is None:
            return None
        found = vars(cursor)[_NOTES] = _Notes(cursor, held)
    return None if found.is_another_s else found


def _running(name: str, begin: Begin) -> Any:
    """A method that runs a statement."""

    def decided(session: BaseSession | None, cursor: Any, /, *args: Any, **kwargs: Any) -> Any:
        notes = notes_of(cursor)
        if notes is None or _Cursor.closed.__get__(cursor):
            return None
        notes.end()
        replays = notes.held.replays(session)
        if session is None and not replays:
            notes.answers = None
            return None
        if replays:
            if name == "executemany" and (call := cursor_call(args, kwargs, many=True, as_read=True)) is not None:
                # Its values may be an iterator, which can be read once: `query` tells the last ones.
                args, kwargs = call.args, dict(call.kwargs)
            return _answered(name, notes, session, cursor, args, kwargs)
        notes.answers = None
        return begin(session, cursor, *args, **kwargs)

    return guarded(LIB, _beneath(name), decided, outside=True)


def _beneath(name: str) -> Callable[..., Any]:
    """A method of the class beneath: psycopg2's own, or the app's where ours is above that."""

    def beneath(cursor: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(NotedCursor, cursor), name)(*args, **kwargs)

    return beneath


def _answered(
    name: str, notes: _Notes, session: BaseSession | None, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Flow:
    answers = _answers(notes, session, cursor)
    notes.ran = name, args, kwargs
    answers.converting = partial(_sent, notes)
    try:
        value = yield AppStep(getattr(answers, name), *args, **kwargs)
    finally:
        del answers.converting
        notes.held.twin.as_real()  # type: ignore[attr-defined]
    if notes.context and (peer := notes.target.peer) is not None:  # type: ignore[attr-defined]
        peer.declared.add(cursor.name)
    return None if value is answers else value


def _answers(notes: _Notes, session: BaseSession | None, cursor: Any) -> Answers:
    """What answers for a cursor in a replay."""
    twin: Any = notes.held.twin
    twin.plain_in = session if isinstance(session, ReplaySession) and session.recorder is None else None
    answers = notes.answers
    if answers is None:
        asked = {"withhold": cursor.withhold, "scrollable": cursor.scrollable} if notes.context else {}
        notes.answers = answers = twin.library_cursor(*((cursor.name,) if notes.context else ()), **asked)
        answers._self_bind(notes.context)
    notes.given = 0
    return answers


def _copying(name: str) -> Any:
    """A method that copies from or into a file of the app's."""
    own = _beneath(name)

    def decided(session: BaseSession | None, cursor: Any, /, *args: Any, **kwargs: Any) -> Flow | None:
        notes = notes_of(cursor)
        if notes is None or _Cursor.closed.__get__(cursor):
            return None
        notes.end()
        given = all_by_name(name, args, kwargs)
        if given is None:
            # psycopg2 says what is wrong.
            return None
        copy = Copy(name, given)
        if notes.held.replays(session):
            return _copied(notes, session, cursor, copy)
        notes.answers = None
        if not isinstance(session, TraceSession):
            return None
        live = AppStep(own, cursor, **copy.noted(session.limits))
        site = site_of(notes, CursorCall(copy.text), live, partial(CopySite, copy))
        return flow(site, session)

    return guarded(LIB, own, decided, outside=True)


def _copied(notes: _Notes, session: BaseSession | None, cursor: Any, copy: Copy) -> Flow:
    while copy.sends:
        try:
            piece = yield AppStep(copy.file.read, copy.size)
        except Exception:
            # psycopg2 tells the server, which ends the call by an error.
            break
        if not piece:
            break
        copy.pieces.append(piece)
    answers = _answers(notes, session, cursor)
    notes.ran = "copy", (copy.text,), {}
    try:
        came = yield AppStep(answers.copy, copy)
    finally:
        notes.held.twin.as_real()  # type: ignore[attr-defined]
    for piece in came:
        yield AppStep(copy.file.write, piece)


def _sent(notes: _Notes) -> bytes:
    """What the last statement of a replay would look like to a server, as ``query`` tells it."""
    cursor, (name, args, kwargs) = notes.cursor, notes.ran
    given: list[Any] = [*args, *kwargs.values()]
    if name == "executemany" and len(given) > 1:
        rows = given.pop(1)
        given[1:] = (rows.seen if isinstance(rows, RowsRead) else rows)[-1:]
    if name == "callproc":
        values = given[1] if len(given) > 1 else ()
        given = [" ".join(("SELECT * FROM", f"{given[0]}({','.join(['%s'] * len(values))})")), list(values)]
    text: bytes = outside(cursor.mogrify, *given)
    if cursor.name is None:
        return text
    scrolls = {None: "", True: "SCROLL ", False: "NO SCROLL "}[cursor.scrollable]
    hold = "WITH" if cursor.withhold else "WITHOUT"
    quoted = extensions.quote_ident(cursor.name, cursor.connection)
    return f"DECLARE {quoted} {scrolls}CURSOR {hold} HOLD FOR ".encode() + text


def _fetching(name: str, how: str, asked_of: Callable[..., int | None]) -> Any:
    """A method that fetches. Each part of it is a guard (see `CursorNotes`)."""
    own = _beneath(name)

    def fetch(cursor: Any, *args: Any, **kwargs: Any) -> Any:
        notes: _Notes | None = vars(cursor).get(_NOTES)
        answers = notes.answers if notes is not None else None
        if notes is None or (answers is None and notes.fetches is None):
            return own(cursor, *args, **kwargs)
        factory = _Cursor.row_factory.__get__(cursor)
        if answers is not None:
            if _Cursor.closed.__get__(cursor) or not answers.gives_rows:
                # psycopg2 says so.
                return own(cursor, *args, **kwargs)
            asked = asked_of(cursor, *args, **kwargs)
            given = answers.fetchmany(asked) if how == "many" else getattr(answers, name)()
            notes.given += 0 if given is None else 1 if how == "one" else len(given)
        else:
            if factory is not None:
                _Cursor.row_factory.__set__(cursor, None)
            try:
                given = notes.fetch(own, cursor, *args, **kwargs)
            except StopIteration:
                notes.took(how, (), 1)
                raise
            finally:
                if factory is not None:
                    _Cursor.row_factory.__set__(cursor, factory)
            notes.took(
                how, given if how != "one" else () if given is None else [given], asked_of(cursor, *args, **kwargs)
            )
        if factory is None or given is None:
            return given
        return _made(factory, cursor, given) if how == "one" else [_made(factory, cursor, row) for row in given]

    fetch.__name__ = name
    return fetch


_scroll_beneath: Final = _beneath("scroll")


def _scroll(cursor: Any, value: Any, mode: Any = "relative") -> Any:
    """Move in the set of rows. Each part of it is a guard."""
    notes: _Notes | None = vars(cursor).get(_NOTES)
    if notes is None or (notes.answers is None and notes.fetches is None):
        return _scroll_beneath(cursor, value, mode)
    if notes.answers is None:
        return notes.move(partial(_scroll_beneath, cursor), value, mode)
    if _Cursor.closed.__get__(cursor) or not notes.answers.gives_rows:
        return _scroll_beneath(cursor, value, mode)
    notes.answers.scroll(value, mode)
    notes.given = value if mode == "absolute" else notes.given + value
    return None


def _made(factory: Any, cursor: Any, values: tuple[Any, ...]) -> Any:
    """A row of a class that the app has asked for, made as psycopg2 makes it."""
    row = factory(cursor)
    for place, value in enumerate(values):
        row[place] = value
    return row


def _told(name: str, in_replay: Callable[[Any], Any]) -> property:
    """What a cursor tells of its last statement."""
    own = getattr(_Cursor, name)

    def begin(_: BaseSession | None, cursor: Any) -> Flow | None:
        notes: _Notes | None = vars(cursor).get(_NOTES)
        return Done(in_replay(notes)) if notes is not None and notes.answers is not None else None

    return property(guarded(LIB, own.__get__, begin, outside=True))


def _close(_: BaseSession | None, cursor: Any) -> None:
    notes = vars(cursor).get(_NOTES)
    if notes is not None:
        notes.end()


class NotedCursor(extensions.cursor):  # type: ignore[misc]
    """A cursor whose statements are recorded, or answered in a replay."""

    @property
    def __wrapped__(self) -> Any:
        """The cursor as psycopg2's own."""
        return super()

    execute = _running("execute", begin_execute)
    executemany = _running("executemany", begin_executemany)
    callproc = _running("callproc", begin_callproc)
    fetchone = _fetching("fetchone", "one", lambda _: 1)
    __next__ = _fetching("__next__", "one", lambda _: 1)
    fetchall = _fetching("fetchall", "all", lambda _: None)
    fetchmany = _fetching("fetchmany", "many", lambda cursor, size=None: cursor.arraysize if size is None else size)
    scroll = _scroll
    copy_expert = _copying("copy_expert")
    copy_from = _copying("copy_from")
    copy_to = _copying("copy_to")
    close = guarded(LIB, _beneath("close"), _close, outside=True)

    description = _told("description", lambda notes: notes.answers.columns)
    lastrowid = _told("lastrowid", lambda notes: notes.answers.last_oid)
    query = _told("query", _sent)
    rownumber = _told("rownumber", lambda notes: notes.given)
    rowcount = _told("rowcount", lambda notes: notes.answers.rowcount)
    statusmessage = _told("statusmessage", lambda notes: notes.answers.status)

    def __del__(self) -> None:
        # Half-read, and let go by the app: nothing more will be fetched.
        notes = vars(self).get(_NOTES)
        if notes is not None and notes.fetches is not None:
            notes.end()


_BENEATH: Final = ("execute", "executemany", "callproc", "fetchone", "fetchmany", "fetchall")


# OpenTelemetry's instrumentor makes a class for each connection.
@lru_cache(maxsize=256)
def class_of(asked: type[Any]) -> type[Any] | None:
    """The class to make a cursor of where an app asks for one; None where none can be derived of it.

    It stands beneath the app's class. Where that does not go on by ``super()``, it stands above.
    """
    if issubclass(asked, NotedCursor):
        return asked
    is_beneath = all(calls_the_next_class(vars(cls).get(name)) for cls in asked.__mro__ for name in _BENEATH)
    bases: Any = (NotedCursor,) if asked is _Cursor else (asked, NotedCursor) if is_beneath else (NotedCursor, asked)
    try:
        return type(asked.__name__, bases, {"__module__": asked.__module__, "__qualname__": asked.__qualname__})
    except TypeError:
        # Its slots are in the way.
        return None
