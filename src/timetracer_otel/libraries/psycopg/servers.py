"""Cursors on the server: an event is all that is fetched from one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow, rebuilt
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded_generator, only, raising
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, unrecorded
from timetracer_otel.libraries.kits.dbapi.statements import cursor_call, quoted_identifier
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import NotedAnswer, Rows, recorded_results
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of, is_answered, lent, on_real, waiting
from timetracer_otel.libraries.psycopg.results import RecordedResult, noted_result, size_of
from timetracer_otel.libraries.psycopg.statements import Execution, let_go, run
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["close", "declare", "fetch", "scroll"]

_FETCH, _MOVE = "FETCH", "MOVE"


class _Elsewhere(PlainSite):
    """A command about a cursor that another statement declared: each is an event of its own."""

    def __init__(self, held: HeldConnection, cursor: Any, verb: str, command: str, live: AppStep) -> None:
        connection = internals.connection_of(cursor)
        answered = is_answered(held)
        made = f"{verb} {command} {quoted_identifier(cursor.name)}"
        super().__init__(
            held.target, verb, live, connection.pgconn if answered else connection, given={"statement": made}
        )
        self._held = held
        self._cursor: Any = cursor
        self._answer = NotedAnswer()
        if not answered and not connection.closed:
            held.listen(connection)

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the rows, and what the connection tells behind them."""
        cursor, answer = self._cursor, self._answer
        answer.began(recording)
        if self._method == _FETCH:
            answer.keep([cursor.pgresult])
        self._held.heard(internals.libpq_of(cursor), answer)
        self._cursor = None
        super().returned(None, recording)
        return value

    def result(self, recording: Recording) -> EventResult:
        """The rows."""
        made = super().result(recording)
        return EventResult(reply={**self._answer.reply(), **made.reply})

    def again(self) -> bool:
        """True: a new call may have declared it."""
        held, cursor = self._held, self._cursor
        connection = internals.connection_of(cursor)

        def lend() -> Callable[[], Any]:
            back = lent(held, connection, cursor)
            held.listen(connection)
            return back

        self.lend = lend
        self.live = waiting(held, self.live)
        return True

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """The rows, as the app's row factory makes them."""
        assert event is not None
        reply: Any = event.result.reply
        self.connection.told(reply)
        results = recorded_results(reply)
        if not results:
            return None
        if not internals.is_described(self._cursor):
            head = {**reply, "tag": ""}
            head.pop("rows", None)
            internals.select_result(self._cursor, recorded_results(head), internals.declared(self._cursor, None))
        return internals.rows_made(self._cursor, results[0])


class _Given:
    """The recorded rows of a cursor on the server."""

    def __init__(
        self, site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]
    ) -> None:
        self.site = site
        self.event = event
        self.session = session
        self.reply = reply
        self.rows = Rows(reply)

    def failed(self) -> AppStep | None:
        """The step that raises what the recorded app met; None where it met nothing."""
        error = self.reply.get("fetch_error")
        return None if error is None else raising(rebuilt(self.site, self.event, self.session, error))


def declare(original: Function) -> Function:
    """A cursor on the server gets its statement."""

    def begin(
        session: BaseSession | None, cursor: Any, query: Any, params: Any = None, binary: bool | None = None
    ) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None:
            return None
        let_go(cursor)
        options = {} if binary is None else {"binary": binary}
        call = cursor_call((query, params), options)
        if call is None or cursor.closed or internals.connection_of(cursor).pgconn.status != 0:
            return None
        live = AppStep(original, cursor, query, params, binary)
        site = Execution(held, cursor, call, live, partial(_give, binary), on_server=True)
        return run(held, session, site)

    return guarded_generator(LIB, original, begin, outside=True)


def _give(
    binary: bool | None, site: Execution, event: DependencyEvent, session: ReplaySession, reply: dict[str, Any]
) -> None:
    cursor = site.cursor
    site.connection.told(reply)
    head = {name: value for name, value in reply.items() if name != "rows"}
    internals.set_results(cursor, [], None)
    internals.select_result(cursor, recorded_results(head), internals.declared(cursor, binary))
    site.held.notes[cursor] = _Given(site, event, session, reply)


def _noted(held: HeldConnection, cursor: Any, live: AppStep) -> Flow:
    """Make a call of a recorded cursor, and let its failing be noted."""
    answer: NotedAnswer = held.notes[cursor]
    try:
        return (yield from on_real(held, cursor, waiting(held, live)) if cursor in held.on_real else only(live))
    except Exception as error:
        answer.failed(error)
        raise


def _elsewhere(
    held: HeldConnection, session: BaseSession | None, cursor: Any, verb: str, command: str, live: AppStep
) -> Flow | None:
    if cursor in held.on_real:
        return on_real(held, cursor, waiting(held, live))
    if is_answered(held) and not isinstance(session, ReplaySession):
        return only(raising(unrecorded(held.target, f"{verb} on a connection of another time")))
    if is_answered(held) and verb == _FETCH and not internals.is_described(cursor):
        # As psycopg does before it asks for the columns: it begins a transaction.
        internals.start_query(cursor, None)
    return None if session is None else flow(_Elsewhere(held, cursor, verb, command, live), session)


def fetch(original: Function) -> Function:
    """A cursor on the server fetches some rows."""

    def begin(session: BaseSession | None, cursor: Any, count: int | None) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None or cursor.closed:
            return None
        source = held.notes.get(cursor)
        if isinstance(source, NotedAnswer) and source.is_open:
            return noted(held, source, cursor, count)
        if isinstance(source, _Given):
            return given(held, source, cursor, count)
        wanted = "FORWARD ALL FROM" if count is None else f"FORWARD {count} FROM"
        return _elsewhere(held, session, cursor, _FETCH, wanted, AppStep(original, cursor, count))

    def noted(held: HeldConnection, answer: NotedAnswer, cursor: Any, count: int | None) -> Flow:
        value = yield from _noted(held, cursor, AppStep(original, cursor, count))
        made = noted_result(cursor.pgresult)
        rows = made.get("rows", [])
        assert answer.rows is not None
        if answer.take(size_of(made)):
            answer.rows.came(rows, count)
        return value

    def given(held: HeldConnection, source: _Given, cursor: Any, count: int | None) -> Flow:
        taken = source.rows.take(count)
        if taken is None:
            wanted = "all rows" if count is None else f"{count} more"
            reason = (
                f"fetching {wanted} behind row {source.rows.place}, which the recorded app did not fetch in all, "
                "and there may be more"
            )
            yield source.failed() or raising(source.session.refuse(source.event, reason))
        tag = f"FETCH {len(taken or ())}"
        # The command's tag is that of the fetch.
        return internals.rows_made(cursor, RecordedResult({**source.reply, "status": 2, "tag": tag}, rows=taken))

    return guarded_generator(LIB, original, begin, outside=True)


def scroll(original: Function) -> Function:
    """A cursor on the server is moved."""

    def begin(session: BaseSession | None, cursor: Any, value: int, mode: str) -> Flow | None:
        held = held_of(internals.connection_of(cursor), session, cursor)
        if held is None or mode not in ("relative", "absolute"):
            return None
        source = held.notes.get(cursor)
        if isinstance(source, NotedAnswer) and source.is_open:
            return noted(held, source, cursor, value, mode)
        if isinstance(source, _Given):
            return given(source, value, mode)
        wanted = f"{'ABSOLUTE ' if mode == 'absolute' else ''}{value} FROM"
        return _elsewhere(held, session, cursor, _MOVE, wanted, AppStep(original, cursor, value, mode))

    def noted(held: HeldConnection, answer: NotedAnswer, cursor: Any, value: int, mode: str) -> Flow:
        tags: list[Any] = []
        held.moves = tags
        try:
            given = yield from _noted(held, cursor, AppStep(original, cursor, value, mode))
        finally:
            held.moves = None
        assert answer.rows is not None
        if value < 0 and mode == "absolute":
            answer.not_kept("scroll")
        elif tags:
            answer.rows.moved(value, mode, int(tags[-1].rpartition(b" ")[2]))
        return given

    def given(source: _Given, value: int, mode: str) -> Flow:
        failing = source.failed() if value < 0 else None
        if failing is not None:
            yield failing
        source.rows.move(value, mode)

    return guarded_generator(LIB, original, begin, outside=True)


def close(original: Function) -> Function:
    """A cursor on the server is closed there."""

    def begin(session: BaseSession | None, cursor: Any) -> Flow | None:
        connection = internals.connection_of(cursor)
        held = held_of(connection, session, cursor)
        if held is None or not is_answered(held):
            return None
        if cursor in held.on_real:
            return on_real(held, cursor, waiting(held, AppStep(original, cursor)))
        return Done(None)

    return guarded_generator(LIB, original, begin, outside=True)
