"""Statements of psycopg's cursors: the generators beneath blocking and asyncio cursors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow, rebuilt
from timetracer_otel.calls.guarded import AppStep, Flow, guarded_generator, only, raising
from timetracer_otel.calls.noting import noting
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.kits.dbapi.answer import Fetches
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.connection_setup import ran
from timetracer_otel.libraries.kits.dbapi.facts import untold_facts
from timetracer_otel.libraries.kits.dbapi.replay_cursor import sets_read
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call, text_of
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import NotedAnswer, Rows, recorded_results
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of, is_answered, lent, on_real, waiting
from timetracer_otel.libraries.psycopg.results import RecordedResult, unknown_result
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["Execution", "Given", "close", "let_go", "many", "run", "statement", "stream", "streamed"]

Rebuild = Callable[["Execution", DependencyEvent, ReplaySession, dict[str, Any]], Any]


_FAILING = frozenset({7, 11})
"""``PGRES_FATAL_ERROR`` and ``PGRES_PIPELINE_ABORTED`` of libpq."""


class Execution(StatementSite):
    """A statement of psycopg's.

    Args:
        held: What is noted of the connection.
        cursor: Of psycopg.
        call: What the cursor was given.
        live: Runs it for real.
        given: Gives the cursor its recorded answer.
        on_server: Whether its rows stay on the server.
        stays_open: Whether the app reads on when the call has returned.
    """

    reads_on = False
    """Whether calls that follow go where this one went."""

    def __init__(
        self,
        held: HeldConnection,
        cursor: Any,
        call: CursorCall,
        live: Any,
        given: Rebuild,
        *,
        on_server: bool = False,
        stays_open: bool = False,
    ) -> None:
        connection = internals.connection_of(cursor)
        super().__init__(
            held.target,
            call,
            on_server,
            connection.pgconn if is_answered(held) else connection,
            live,
            Fetches(cursor),
            self._give,
            may_be_new=True,
            transaction=held.transactions.current,
        )
        self.held = held
        self.cursor: Any = cursor
        self.many = call.many
        self.statement = call.statement
        self.values: Any = call.values
        self._given_by = given
        self._stays_open = stays_open
        self._on_server_now = on_server
        self.answer = NotedAnswer()
        self.is_read_late = call.is_read_late

    def observe(self, session: TraceSession) -> None:
        """Keep the arguments, and listen to what the server tells besides."""
        super().observe(session)
        connection = internals.connection_of(self.cursor)
        if self.lend is not None:
            # On the real connection behind a stand-in, which listens when it is there.
            return
        if connection.pgconn.status == 0:
            self.held.listen(connection)
        if internals.in_pipeline(connection) is not None:
            self.answer.left = 0 if self.is_read_late else len(self.values) if self.many else 1
            self.answer.sends = self.is_read_late
            self.held.queued.append((ref(self.cursor), self.answer))

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the results, as far as they are there."""
        cursor, answer = self.cursor, self.answer
        connection = internals.connection_of(cursor)
        self._note_arguments()
        self._all_sent()
        self._facts = untold_facts(recording.session, self.target)
        recording.transaction = self._transaction
        answer.began(recording)
        in_pipeline = self.lend is None and internals.in_pipeline(connection) is not None
        if not in_pipeline:
            answer.keep(internals.results_of(cursor))
            self.noted(connection.pgconn)
        if self.many or in_pipeline:
            answer.rowcount, answer.message = internals.of_results(cursor)
        if self.lend is not None and not self._on_server_now:
            # The connection has a stand-in again: what code in C would ask of it, is not there.
            internals.set_kept(cursor, answer.results())
        if self._on_server_now or self._stays_open:
            answer.rows = Rows()
            recording.goes_on = True
            self.held.notes[cursor] = answer
        elif not answer.left:
            answer.ended()
        self.let_go()
        return value

    def noted(self, pgconn: Any) -> None:
        """Note what the connection tells behind the call."""
        self.held.heard(pgconn, self.answer)
        rowcount, _ = internals.of_results(self.cursor)
        self.answer.rowcount = rowcount

    def _all_sent(self) -> None:
        """In a pipeline: psycopg has read all sets of values that the app gave one by one."""
        if self.answer.sends:
            self.answer.sends = False
            self.answer.left += len(self.values)
            if not self.answer.left:
                self.held.came_whole(internals.libpq_of(self.cursor))

    def let_go(self) -> None:
        """Forget the connection and the cursor."""
        self._all_sent()
        super().let_go()
        self.cursor = self.values = None
        self._given_by = _nothing

    def result(self, recording: Recording) -> EventResult:
        """The results, with what the connection told behind them."""
        reply = self.answer.reply()
        if self._facts:
            reply["engine"] = self._facts
        return EventResult(reply=self.with_setup(reply))

    def again(self) -> bool:
        """True where the real connection can run it: psycopg's cursor goes by that for the time of the call."""
        if not super().again():
            return False
        connection = internals.connection_of(self.cursor)

        def lend() -> Callable[[], Any]:
            back = lent(self.held, connection, self.cursor)
            self.held.listen(connection)
            self.connection = connection
            if self._stays_open or self._on_server_now or self.reads_on:
                self.held.on_real.add(self.cursor)
            return back

        self.lend = lend
        if not self.many:
            self.live = waiting(self.held, self.live)
        return True

    def _give(self, event: DependencyEvent, session: ReplaySession, _: StatementSite) -> Any:
        reply = event.result.reply
        if not isinstance(reply, dict):
            raise TypeError(f"a reply that is a {type(reply).__name__}")
        if session.adds_new_calls:
            self.held.twin.real.execute(text_of(self.statement), self.statement, self.values)
        self.held.on_real.discard(self.cursor)
        return self._given_by(self, event, session, reply)


def _nothing(*_: Any) -> None:
    return None


def let_go(cursor: Any, *_: Any) -> None:
    """The event of the cursor's last statement ends."""
    held = _held_already(cursor)
    answer = held.notes.pop(cursor, None) if held is not None else None
    if isinstance(answer, NotedAnswer):
        answer.ended()


def _held_already(cursor: Any) -> HeldConnection | None:
    held = getattr(internals.connection_of(cursor), "_timetracer_held", None)
    return held if isinstance(held, HeldConnection) else None


def close(original: Function) -> Function:
    """A cursor is closed."""
    return noting(f"{LIB}.close", original, before=let_go)


def run(
    held: HeldConnection,
    session: BaseSession | None,
    site: Execution,
) -> Flow | None:
    """The steps of a call that a cursor makes."""
    if not is_answered(held):
        return flow(site, session) if session is not None else None
    return _replayed(held, session, site)


def _replayed(held: HeldConnection, session: BaseSession | None, site: Execution) -> Flow:
    if not isinstance(session, ReplaySession) or not held.replays(session):
        yield raising(unrecorded(held.target, f"{text_of(site.statement)[:200]!r} on a connection of another time"))
    # It begins a transaction, and forgets the last result.
    # No step: where a coroutine function is replaced, each step is awaited.
    internals.start_query(site.cursor, site.statement)
    if not site.many or site.values:
        values = site.values[-1] if site.many else site.values
        raised = internals.set_query(site.cursor, site.statement, values)
        if raised is not None:
            site.converting = partial(raise_for_app, raised)
    assert session is not None
    return (yield from ran(site, session, partial(_pass, site)))


def _pass(site: Execution) -> None:
    """The statement set up a connection, and needs no recorded answer."""
    internals.set_results(site.cursor, [unknown_result(site.target, text_of(site.statement))], None)


def _may_run(cursor: Any) -> bool:
    return not cursor.closed and internals.connection_of(cursor).pgconn.status == 0


def statement(original: Function) -> Function:
    """A cursor runs a statement."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None:
            return None
        let_go(cursor)
        call = cursor_call(args[:2], _given(kwargs))
        if call is None or not _may_run(cursor):
            return None
        live = AppStep(original, cursor, *args, **kwargs)
        return run(held, session, Execution(held, cursor, call, live, _give_results))

    return guarded_generator(LIB, original, begin, outside=True)


def _given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What was given. How a statement is prepared says nothing about its answer."""
    return {name: value for name, value in kwargs.items() if value is not None and name != "prepare"}


def many(guard: Any, original: Function) -> Function:
    """A cursor runs a statement with many sets of values."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None:
            return None
        let_go(cursor)
        if session is None and not is_answered(held):
            # Values that can be read only once are the driver's.
            return None
        # What an app gives bit by bit is psycopg's to read.
        call = cursor_call(args, kwargs, many=True, as_read=True)
        if call is None or not _may_run(cursor) or hasattr(cursor, "scrollable"):
            return None
        returning = bool(call.options.get("returning", False))

        def site_of(made: CursorCall) -> Execution:
            live = AppStep(original, cursor, *made.args, **made.kwargs)
            return Execution(held, cursor, made, live, partial(_give_many, returning))

        if call.is_read_late and is_answered(held) and isinstance(session, ReplaySession):
            return read(cursor, session, call, site_of)
        return run(held, session, site_of(call))

    def read(
        cursor: Any, session: ReplaySession, call: CursorCall, site_of: Callable[[CursorCall], Execution]
    ) -> Flow:
        # As psycopg does before it reads them: it begins a transaction.
        internals.start_query(cursor, call.statement)
        site = site_of((yield from sets_read(call, site_of, session)))
        return (yield from _replayed(site.held, session, site))

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]


def _give_results(site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]) -> None:
    if _is_queued(site, event, session, None):
        return
    site.connection.told(reply)
    internals.set_results(site.cursor, recorded_results(reply), None)


def _give_many(
    returning: bool, site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]
) -> None:
    cursor = site.cursor
    if _is_queued(site, event, session, returning):
        return
    site.connection.told(reply)
    internals.set_results(cursor, recorded_results(reply) if returning else [], returning)
    if not returning:
        internals.set_message(cursor, reply["rowcount"], reply.get("statusmessage"))


def _is_queued(site: Execution, event: DependencyEvent, session: ReplaySession, returning: bool | None) -> bool:
    """In a pipeline: let psycopg fetch the answer when it asks for it."""
    pipeline = internals.in_pipeline(internals.connection_of(site.cursor))
    if pipeline is None:
        return False
    reply: dict[str, Any] = event.result.reply
    cursor, stand_in = site.cursor, site.connection
    if returning is not None:
        internals.set_results(cursor, [], returning)
        internals.set_message(cursor, -1 if returning else 0, None)
    if "prepared" in reply:
        internals.queue(pipeline, None)
        stand_in.pending.append(([RecordedResult(reply["prepared"])], None))
    results = recorded_results(reply)
    missing = reply.get("unanswered", 0)
    is_whole = not missing and "prepared" not in reply
    if returning and is_whole and all(result.status not in _FAILING for result in results):
        # psycopg fetches the rows of such a call at once.
        internals.set_results(cursor, results, returning)
        return True
    for each in [[result] for result in results] if site.many else [results] if not missing else []:
        internals.queue(pipeline, cursor)
        stand_in.pending.append((each, reply))
    for _ in range(missing):
        # The recorded connection was closed before.
        internals.queue(pipeline, cursor)
        refusal = partial(session.refuse, event, "its answer, which never came in the recorded pipeline")
        stand_in.pending.append((refusal, None))
    return True


def stream(original: Function) -> Function:
    """A cursor sends a statement whose rows come bit by bit."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None:
            return None
        let_go(cursor)
        call = cursor_call(args[:2], {name: value for name, value in _given(kwargs).items() if name != "size"})
        if call is None or not _may_run(cursor):
            return None
        if kwargs.get("size", 1) < 1 and is_answered(held):
            return only(raising(ValueError("size must be >= 1")))
        live = AppStep(original, cursor, *args, **kwargs)
        site = Execution(held, cursor, call, live, partial(_give_stream, kwargs.get("size", 1)), stays_open=True)
        return run(held, session, site)

    return guarded_generator(LIB, original, begin, outside=True)


class Given:
    """The recorded answer of a call, of which its cursor reads more. It does not keep the cursor alive: psycopg warns
    of one that an app lost and did not close.

    Args:
        site: The call.
        event: Its event.
        session: The current replay.
        reply: The answer, as the cassette holds it.
    """

    def __init__(
        self, site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]
    ) -> None:
        self.stand_in = site.connection
        self.session = session
        self.reply = reply
        self._event = event
        self._read = PlainSite(site.target, "FETCH", raise_made_already, site.connection)

    @property
    def fails(self) -> bool:
        """Whether reading on ended with an error."""
        return self.reply.get("fetch_error") is not None

    def failing(self) -> AppStep:
        """The step that raises what the recorded app met."""
        return raising(rebuilt(self._read, self._event, self.session, self.reply["fetch_error"]))

    def refused(self, reason: str = "reading on, where the recorded app stopped") -> AppStep:
        """The step that raises where the recording does not tell what follows."""
        return raising(self.session.refuse(self._event, reason))


class _Stream(Given):
    """The recorded rows of a stream."""

    def __init__(self, size: int, *args: Any) -> None:
        super().__init__(*args)
        self.size = size
        self.rows = Rows(self.reply)


def _give_stream(size: int, site: Execution, *args: Any) -> None:
    site.held.notes[site.cursor] = _Stream(size, site, *args)


def streamed(original: Function) -> Function:
    """A cursor waits for the next rows of a stream."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = _held_already(cursor)
        source = held.notes.get(cursor) if held is not None else None
        live = AppStep(original, cursor, *args, **kwargs)
        if held is None or held.is_lent:
            return None
        if isinstance(source, _Stream):
            return given(held, source, cursor, *args, **kwargs)
        if source is None and cursor in held.on_real:
            return on_real(held, cursor, waiting(held, live))
        if isinstance(source, NotedAnswer):
            step = on_real(held, cursor, waiting(held, live)) if cursor in held.on_real else only(live)
            return noted(held, source, cursor, step)
        return None

    def noted(held: HeldConnection, answer: NotedAnswer, cursor: Any, live: Flow) -> Flow:
        try:
            result = yield from live
        except BaseException as error:
            held.notes.pop(cursor, None)
            held.heard(internals.libpq_of(cursor), answer)
            answer.failed(error)
            raise
        if result is None:
            held.notes.pop(cursor, None)
            assert answer.rows is not None
            answer.rows.came([], None)
            held.heard(internals.libpq_of(cursor), answer)
            answer.ended()
            return None
        made = NotedAnswer()
        made.keep([result])
        piece = made.reply()
        rows = piece.pop("rows", [])
        if answer.rows is not None and answer.rows.place == 0:
            answer.keep_head(piece)
        if answer.rows is not None and answer.take(100 * len(rows)):
            answer.rows.came(rows, len(rows))
        return result

    def given(held: HeldConnection, source: _Stream, cursor: Any, first: bool) -> Flow:
        rows = source.rows
        # The last piece of a stream may be shorter.
        known = rows.ahead(source.size)
        taken = rows.take(known) if known else [] if rows.end == rows.place else None
        if taken:
            result = RecordedResult(source.reply, rows=taken)
            internals.set_streamed(cursor, result, first)
            return result
        if taken is None and not source.fails:
            yield source.refused()
        held.notes.pop(cursor, None)
        source.stand_in.told({**source.reply, "state": None} if source.fails else source.reply)
        if source.fails:
            source.stand_in.fails()
            yield source.failing()
        return None

    return guarded_generator(LIB, original, begin)
