"""The cursor of a replay: it answers from the cassette in the way of the drivers (PEP 249).

A new call (record mode ``new_episodes``) runs on a cursor of the real connection, which gives the rows from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import answer, found_at_once, is_value, replays, run
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep, raising
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.dbapi.answer import NO_ROWS, Fetches, KnownRows, RecordedAnswer, may_fail
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.connection_setup import claimed, ran
from timetracer_otel.libraries.kits.dbapi.cursor_shape import MISSING, Unrecorded, own_attribute, shaped
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor, recording_cursor
from timetracer_otel.libraries.kits.dbapi.statements import (
    CursorCall,
    RowsRead,
    cursor_call,
    is_connection_setup,
    packed_arguments,
    text_of,
    verb_of,
)
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["ReplayCursor", "cursor_shape", "replay_cursor", "sets_read", "shape_of"]

_STATEMENT_AND_VALUES = 2
"""How many arguments libraries give to ``execute``."""


class ReplayCursor(ReplayObject):
    """A cursor without a server. `replay_cursor` makes one with the attributes of the driver's own.

    Args:
        target: The database.
        connection: The connection of the replay that it came from, where there is one.
        raw: Whether it was asked from that connection itself, past the library: its statements are not recorded.
        asked: The arguments with which it was asked for.
    """

    name: Any
    server_side: bool
    _wrapped = staticmethod(recording_cursor)
    """Makes the cursor that records, of the real one for a new call."""
    _statement: Callable[..., StatementSite] = StatementSite
    """Makes the site of a statement."""
    _fetches_by: type[Fetches] = Fetches
    """The class of what notes the answer of a new one."""
    _own: type[Any] | None = None
    """The driver's class, where it is known."""
    # The defaults stand in the class, since an object is made for each statement.
    arraysize = 1
    _closed = False
    _context: Any = None
    _answer: RecordedAnswer | KnownRows | RecordingCursor | None = None
    """Where the rows come from: the cassette, or a real cursor for a new call."""
    _input_sizes: tuple[Any, ...] | None = None
    _setup: str | None = None
    """The statement that it ran, where that needed no answer."""

    def __init__(
        self, target: Target, connection: Any, raw: bool = False, asked: tuple[Any, dict[str, Any]] = ((), {})
    ) -> None:
        self._target = target
        self._lib = target.lib
        self._connection = connection
        self._raw = raw
        self._asked = asked
        if connection is not None and connection.shows_itself:
            self.connection = connection

    def _self_bind(self, context: Any) -> None:
        """Say what the cursor was made for; `Target.statement_facts` gets it."""
        self._context = context

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def description(self) -> Any:
        """As recorded; None where the statement gives no rows."""
        return self._answer.description if self._answer is not None else None

    @property
    def rowcount(self) -> int:
        """As recorded."""
        return self._answer.rowcount if self._answer is not None else -1

    @property
    def lastrowid(self) -> Any:
        """As recorded."""
        return self._answer.lastrowid if self._answer is not None else None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one statement (PEP 249) from the cassette."""
        connection = self._connection
        if len(args) == _STATEMENT_AND_VALUES and not kwargs and connection is not None:
            session: ReplaySession | None = connection.plain_in
            if session is not None and get_current_session() is session and type(args[0]) is str and not self._raw:
                event = self._found_at_once(session, args[0], args[1])
                if event is not None:
                    return self._answered(session, event, args)
        return self._call("execute", cursor_call(args, kwargs))

    def _found_at_once(self, session: ReplaySession, statement: str, values: Any) -> DependencyEvent | None:
        """The event of a statement, taken, where its text and its values are all that it is matched by."""
        target = self._target
        names, on_server, span, unordered = target.statement_facts(self._context)
        if on_server or unordered:
            return None
        text = text_of(statement)
        verb = verb_of(text)
        packed = packed_arguments(verb, text, values, names)
        return None if packed is None else found_at_once(target.lib, session, verb, target.url, packed, span)

    def _answered(self, session: ReplaySession, event: DependencyEvent, args: tuple[Any, ...]) -> Any:
        """Answer a statement from the event that was found for it."""
        if is_value(event, session) and not may_fail(event):
            self._target.let_others_run()
            return self._given(RecordedAnswer(event, session, None))
        self._answer = None
        call = cursor_call(args, {})
        assert call is not None
        return run(answer(self._site(call, raise_made_already, Fetches()), session, event, None))

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one statement with many sets of values (PEP 249) from the cassette."""
        session = get_current_session()
        replay = session if isinstance(session, ReplaySession) and not self._raw else None
        call = cursor_call(args, kwargs, many=True, as_read=replay is not None)
        if call is not None and call.is_read_late and replay is not None:
            call = run(sets_read(call, lambda made: self._site(made, raise_made_already, Fetches()), replay))
        return self._call("executemany", call)

    def _self_executemany_by(self, operation: Any, parameters: Any, through: Callable[[Any], Any]) -> Any:
        """An ``executemany`` that the library makes in its own way: ``through`` gets the driver's cursor."""
        return self._run(CursorCall(operation, parameters, many=True), lambda real: outside(through, real))

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        """Answer the call of a stored procedure (PEP 249) from the cassette."""
        call = cursor_call(args, kwargs)
        return self._call("callproc", call._replace(statement=f"CALL {call.statement}") if call is not None else None)

    def fetchone(self) -> Any:
        """The next recorded row, or None (PEP 249)."""
        answer = self._rows()
        if isinstance(answer, RecordingCursor):
            return outside(answer.fetchone)
        rows = answer.take(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> Any:
        """The next recorded rows (PEP 249)."""
        answer, size = self._rows(), size or self.arraysize
        return outside(answer.fetchmany, size) if isinstance(answer, RecordingCursor) else answer.take(size)

    def fetchall(self) -> Any:
        """All recorded rows that are left (PEP 249)."""
        answer = self._rows()
        return outside(answer.fetchall) if isinstance(answer, RecordingCursor) else answer.take(None)

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def scroll(self, value: Any, mode: Any = "relative") -> Any:
        """Move in the recorded set of rows as the recorded app did (PEP 249)."""
        answer = self._rows()
        if isinstance(answer, RecordingCursor):
            return outside(answer.scroll, value, mode)
        if not isinstance(answer, RecordedAnswer):
            self._refuse("scroll")
        return answer.scroll(value, mode)

    def nextset(self) -> Any:
        """Go to the next recorded set of rows (PEP 249)."""
        return outside(self._answer.nextset) if isinstance(self._answer, RecordingCursor) else None

    def setinputsizes(self, *args: Any, **kwargs: Any) -> None:
        """Nothing (PEP 249 allows that): no memory is reserved."""
        self._input_sizes = (args, kwargs)

    def setoutputsize(self, *args: Any, **kwargs: Any) -> None:
        """Nothing (PEP 249 allows that): no memory is reserved."""

    def close(self) -> None:
        """Close the cursor; a fetch from then on is an error, as the driver's own."""
        self._closed = True
        if isinstance(self._answer, RecordingCursor):
            outside(self._answer.close)
        elif self._connection is not None and self._connection.forgets:
            self._answer = None

    def __enter__(self) -> ReplayCursor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # Not `self._answer`: where that is not there yet (`copy.copy` asks for methods first), it would lead here
        # again.
        answer = self.__dict__.get("_answer")
        if isinstance(answer, RecordingCursor):
            return outside(getattr, answer, name)
        own = self._own
        found = own_attribute(own, name) if own is not None and not name.startswith("__") else MISSING
        has_it = self._target.cursor_attributes.get(name, found is not MISSING)
        if found is MISSING or not has_it:
            if not has_it:
                kind = own.__name__ if own is not None else "cursor"
                raise_for_app(AttributeError(f"{kind!r} object has no attribute {name!r}"))
        elif not hasattr(found, "__get__") or isinstance(found, type):
            return found
        elif callable(getattr(own, name)):
            return lambda *_args, **_kwargs: self._refuse(name)
        return Unrecorded(lambda: self._refuse(name), f"cursor.{name}")

    def _refuse(self, name: str) -> NoReturn:
        raise unrecorded(self._target, f"cursor.{name}")

    def _call(self, method: str, call: CursorCall | None) -> Any:
        if call is None:
            raise_for_app(TypeError(f"{method}() was given no statement, or no values for it"))
        return self._run(call, lambda real: outside(getattr(real, method), *call.args, **call.kwargs))

    def _run(self, call: CursorCall, live: Callable[[Any], Any]) -> Any:
        if isinstance(self._answer, RecordingCursor):
            outside(self._answer.close)
        self._answer = self._setup = None
        text = text_of(call.statement)
        if self._raw:
            if self._knows(text, call.values):
                return self
            if is_connection_setup(text):
                self._setup = text
                self._connection.set_up(text, call.statement, call.values)
                return self
        session = get_current_session()
        if session is None or not replays(self._target.lib, session, lambda: self._target.address):
            raise ReplayMismatchError(
                f"No replay answers this connection: {self._target.url} {text[:200]}",
                hint="the connection was opened in a replay that has ended (or is live now): open a new one.",
            )
        fetches = self._fetches_by()
        site = self._site(call, OurStep(lambda: self._run_for_real(site, live, fetches)), fetches)
        return run(ran(site, session, partial(self._passed, text, call.values)))

    def _passed(self, text: str, values: Any) -> Any:
        """The statement needs no recorded answer: it sets up a connection."""
        if not self._knows(text, values):
            self._setup = text
        return self

    def _knows(self, text: str, values: Any) -> bool:
        known = self._connection.known_rows(text, values)
        if known is not None:
            self._answer = KnownRows(known)
        return known is not None

    def _site(self, call: CursorCall, live: Callable[[], Any], fetches: Fetches) -> StatementSite:
        return self._statement(
            self._target,
            call,
            self._context,
            self._connection,
            live,
            fetches,
            partial(self._rebuild, call),
            may_be_new=not self._raw,
        )

    def _rebuild(self, call: CursorCall, event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
        given = RecordedAnswer(event, session, site)
        if session.adds_new_calls and not self._raw:
            self._connection.real.execute(text_of(call.statement), call.statement, call.values)
        return self._given(given)

    def _given(self, answer: RecordedAnswer) -> Any:
        """What the statement returns; its rows are fetched from now on."""
        self._answer = answer
        self._setup = None
        if answer.state is not None:
            self._connection.state = answer.state
        return self if answer.value is None and not answer.returns_nothing else answer.value

    def _run_for_real(self, site: StatementSite, live: Callable[[Any], Any], fetches: Fetches) -> Any:
        args, kwargs = self._asked
        site.connection = connection = self._connection.real.opened()
        real = outside(connection.cursor, *args, **kwargs)
        fetches.cursor = real
        if self._input_sizes is not None:
            outside(real.setinputsizes, *self._input_sizes[0], **self._input_sizes[1])
        try:
            value = live(real)
        except Exception:
            if self._target.is_gone(connection):
                self._connection.lose()
            real.close()
            raise
        self._answer = self._wrapped(real, self._target, fetches)
        return self if value is real else value

    def _rows(self) -> RecordedAnswer | KnownRows | RecordingCursor:
        answer = self._answer
        if answer is None:
            if self._setup is not None:
                raise ReplayMismatchError(
                    f"Nothing recorded answers this: {self._target.url} {self._setup[:200]}",
                    hint=f"it ran on the driver's own connection, past {self._target.lib}: run it through that. "
                    "Or it set up a connection that was opened before the recording.",
                )
            raise ReplayMismatchError(f"fetch before execute: {self._target.url}")
        if isinstance(answer, RecordingCursor) or answer.gives_rows:
            return answer
        if self._target.refuses_empty_fetch:
            raise_for_app(self._target.dbapi.ProgrammingError("the last operation didn't produce a result"))
        return NO_ROWS


def replay_cursor(
    ours: type[ReplayCursor],
    target: Target,
    connection: Any,
    raw: bool = False,
    asked: tuple[tuple[Any, ...], dict[str, Any]] = ((), {}),
) -> ReplayCursor:
    """A cursor of a replay with the attributes of the one that the driver would give.

    Args:
        ours: The class that answers.
        target: As for `ReplayCursor`.
        connection: The same.
        raw: The same.
        asked: The same.
    """
    return cursor_shape(ours, target, asked)(target, connection, raw, asked)


def cursor_shape(
    ours: type[ReplayCursor], target: Target, asked: tuple[tuple[Any, ...], dict[str, Any]]
) -> type[ReplayCursor]:
    """The class of such a cursor.

    Args:
        ours: As for `replay_cursor`.
        target: The same.
        asked: The same.
    """
    own = target.cursor_class(*asked)
    return ours if own is None else shape_of(ours, target, own)


def shape_of(ours: type[ReplayCursor], target: Target, own: type[Any]) -> type[ReplayCursor]:
    """The class of a cursor that has the attributes of one of the driver's classes, or of one of the app's."""
    made = shaped(ours, own, target.cursor_attributes)
    made._own = own
    return made


def sets_read(call: CursorCall, site_of: Callable[[CursorCall], Any], session: ReplaySession) -> Flow:
    """The steps by which a replay reads the sets of values of an ``executemany`` that an app gives one by one.

    Gives the call with those sets that the recorded driver had read when it failed, where it did.

    Args:
        call: The app's, whose sets nobody has read.
        site_of: Makes the site of a call.
        session: The replay.
    """
    rows = next(each for each in (*call.args, *call.kwargs.values()) if isinstance(each, RowsRead))
    failing: Exception | None = None
    try:
        yield AppStep(list, rows)
    except Exception as error:
        failing = error
    seen, path = rows.seen, hooks.whereabouts(None).path()
    # A call that is added reads them again.
    again = seen if failing is None else _given_again(seen, failing)
    whole = call._replace(
        args=tuple(again if each is rows else each for each in call.args),
        kwargs={name: again if each is rows else each for name, each in call.kwargs.items()},
    )
    found = whole
    for count in range(len(seen), -1, -1):
        shorter = whole._replace(values=seen[:count])
        event = session.upcoming(site_of(shorter).redacted(session), path)
        if event is not None and (event.result.exception is not None or (count == len(seen) and failing is None)):
            found = shorter
            break
    if failing is not None and found is not whole and len(found.values) == len(seen):
        # The app's own code failed in the recording, too: the event is that of this call.
        claimed(site_of(found), session)
        yield raising(failing)
    if failing is not None and found is whole and not session.adds_new_calls:
        yield raising(failing)
    return found


def _given_again(seen: list[Any], failing: Exception) -> Iterator[Any]:
    yield from seen
    raise failing
