"""Cursors on the server: an event is all that is fetched from one."""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import rebuilt
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded_generator, only, raising
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.statements import cursor_call
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import NotedAnswer, Rows, recorded_results
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.connection import HeldConnection, held_of, is_answered, on_real, waiting
from timetracer_otel.libraries.psycopg.results import RecordedResult, noted_result, size_of
from timetracer_otel.libraries.psycopg.statements import Execution, let_go, run
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["close", "declare", "fetch", "scroll"]

_ELSEWHERE = "a fetch of a cursor on the server that was declared elsewhere"


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
        return only(raising(unrecorded(held.target, _ELSEWHERE))) if is_answered(held) else None

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
        return only(raising(unrecorded(held.target, _ELSEWHERE))) if is_answered(held) else None

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
