"""Where psycopg is patched: the generators beneath its connections and cursors."""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import Recording, flow
from timetracer_otel.calls.guarded import (
    AppStep,
    Done,
    Flow,
    guarded,
    guarded_async,
    guarded_generator,
    only,
    raising,
)
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.boundaries import end_of_transaction
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.connection_setup import ran
from timetracer_otel.libraries.kits.dbapi.direct import Held, connected, held_by, refused
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call, text_of, verb_of
from timetracer_otel.libraries.psycopg import internals
from timetracer_otel.libraries.psycopg.answer import NotedRows, RecordedResult, RecordedRows, StandIn, UnknownRows
from timetracer_otel.libraries.psycopg.call import LIB, ServerTarget
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["patches"]

_KNOWN: Final = drivers.PSYCOPG
"""The kit must know the driver's values and errors."""
_ENDS: Final = ("COMMIT", "ROLLBACK")


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``psycopg``."""
    connections, cursors, on_server = (
        importlib.import_module(f"{module.__name__}.{name}")
        for name in ("_connection_base", "_cursor_base", "_server_cursor_base")
    )
    connection, cursor, server = connections.BaseConnection, cursors.BaseCursor, on_server.ServerCursorMixin
    return [
        # A connection that is opened outside sessions may be used in one: whose it is must be known.
        Staying(Patch(module, "connect", partial(_connect, module, guarded, module.Connection))),
        Staying(Patch(module.Connection, "connect", partial(_connect, module, guarded, None))),
        Staying(Patch(module.AsyncConnection, "connect", partial(_connect, module, guarded_async, None))),
        Patch(connection, "_exec_command", _command),
        Patch(cursor, "_execute_gen", partial(_statement, False)),
        Patch(module.Cursor, "executemany", partial(_many, guarded)),
        Patch(module.AsyncCursor, "executemany", partial(_many, guarded_async)),
        Patch(cursor, "_stream_send_gen", partial(_unrecorded, "stream")),
        Patch(cursor, "_start_copy_gen", partial(_unrecorded, "copy")),
        Patch(cursor, "_close", _close),
        Patch(server, "_declare_gen", partial(_statement, True)),
        Patch(server, "_fetch_gen", _fetch_from_server),
        Patch(server, "_close_gen", _close_on_server),
        Patch(server, "_scroll_gen", partial(_unrecorded, "scroll")),
        Patch(module.sql.Identifier, "as_bytes", _quoted),
        Patch(module.sql.Literal, "as_bytes", _quoted),
    ]


def _connect(module: Any, guard: Any, of: Any, original: Function) -> Function:
    """An app opens a connection.

    Args:
        module: psycopg.
        guard: Of a function that blocks, or of a coroutine function.
        of: The class of connections where the function is bound to it; None where it gets that as an argument.
        original: The function.
    """
    # By the class's attribute, the call would pass OpenTelemetry's wrapper a second time.
    unbound = original if of is None else original.__func__  # type: ignore[attr-defined]

    def begin(session: BaseSession | None, *args: Any, **kwargs: Any) -> Flow | None:
        cls, *given = (of, *args) if of is not None else args
        if opening.get() is not None or internals.is_stand_in_class(cls):
            return None
        # Some of the arguments are psycopg's own; the others are libpq's.
        named = {name: value for name, value in kwargs.items() if name not in internals.OWN_ARGUMENTS}
        conninfo = given[0] if given else named.pop("conninfo", "")
        try:
            parameters = module.conninfo.conninfo_to_dict(conninfo, **named)
        except module.Error:
            # psycopg says what is wrong with them.
            return None
        target = ServerTarget(module, parameters)

        def stand_in() -> AppStep:
            assert isinstance(session, ReplaySession)
            made = internals.stand_in_class(cls, StandIn(target, recorded_facts(session, target) or {}, module.pq))
            return AppStep(unbound, made, *given, **kwargs)

        live = AppStep(original, *args, **kwargs)
        return connected(target, session, live, stand_in, partial(_hold, target), may_be_new=False)

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]


def _hold(target: ServerTarget, connection: Any, stands_in: bool) -> Held:
    if not stands_in:
        target.connected(connection)
    made = Held(target, lambda: ReplayConnection(target, RealConnection(target)), stands_in=stands_in)
    setattr(connection, HELD, made)
    return made


def _command(original: Function) -> Function:
    """A connection sends a command of its own: most begin or end a transaction."""
    pq = importlib.import_module("psycopg.pq")
    status = pq.TransactionStatus
    done = RecordedResult(pq.ExecStatus.COMMAND_OK, b"", None, (), 0)

    def begin(session: BaseSession | None, connection: Any, command: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_by(connection)
        if held is None or (connection.closed and not held.stands_in):
            return None
        text = text_of(command)
        verb = verb_of(text)
        is_end = verb in _ENDS and " TO " not in text.upper() and " PREPARED" not in text.upper()
        if held.replays(session):
            return replayed(held, session, connection, verb, is_end, text)
        if not is_end:
            return None
        transaction = held.transactions.ended()
        live = AppStep(original, connection, command, *args, **kwargs)
        return flow(PlainSite(held.target, verb, live, transaction=transaction), session) if session else None

    def replayed(
        held: Held, session: BaseSession | None, connection: Any, verb: str, is_end: bool, text: str
    ) -> Flow:
        told = connection.pgconn
        if not held.stands_in:
            yield raising(unrecorded(held.target, f"{verb} on a connection that was opened before the replay"))
        yield AppStep(internals.check_open, connection)
        if not isinstance(session, ReplaySession):
            if verb != "ROLLBACK":
                yield raising(unrecorded(held.target, text))
        elif is_end:
            try:
                yield from end_of_transaction(held.target, verb, held.twin, session)
            finally:
                told.transaction_status = status.IDLE
        if is_end:
            told.transaction_status = status.IDLE
        elif verb in ("BEGIN", "ROLLBACK"):
            told.transaction_status = status.INTRANS
        return done

    return guarded_generator(LIB, original, begin, outside=True)


class _Execution(StatementSite):
    """A statement of psycopg's."""

    def __init__(self, held: Held, cursor: Any, call: CursorCall, live: Any, on_server: bool, rebuild: Any) -> None:
        connection = internals.connection_of(cursor)
        super().__init__(
            held.target,
            call,
            on_server,
            connection.pgconn if held.stands_in else connection,
            live,
            Fetches(cursor),
            rebuild,
            may_be_new=False,
            transaction=held.transactions.current,
        )
        self._on_server_now = on_server
        self._in_pipeline = not call.many and internals.in_pipeline(connection)

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the result as libpq tells it; rows are noted as psycopg makes them."""
        fetches, cursor = self.fetches, self.fetches.cursor
        assert cursor is not None
        assert self.target.state_of is not None
        result, transaction = internals.result_of(cursor), self.target.state_of(self.connection)
        several = internals.how_many_results(cursor) > 1
        super().returned(value, recording)
        fetches.state = [transaction, *result]
        if self._in_pipeline or several:
            recording.not_replayable = (
                "pipeline mode is not recorded" if self._in_pipeline else "several results are not recorded"
            )
        elif cursor.description is not None:
            internals.rows_by(cursor, NotedRows(internals.transformer_of(cursor), fetches, self._on_server_now))
        return value


def _let_go(cursor: Any) -> None:
    """The event of the cursor's last statement ends, and psycopg has its own object back."""
    rows = internals.transformer_of(cursor)
    if isinstance(rows, NotedRows):
        rows.end()
        internals.rows_by(cursor, rows.own)


def _statement(on_server: bool, original: Function) -> Function:
    """A cursor runs a statement."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_by(internals.connection_of(cursor))
        if held is None:
            return None
        _let_go(cursor)
        binary = {"binary": args[2]} if on_server and len(args) > 2 and args[2] is not None else {}
        given = {name: value for name, value in kwargs.items() if value is not None}
        call = cursor_call(args[:2], {**given, **binary})
        if call is None or cursor.closed or internals.connection_of(cursor).closed:
            return None
        return _run(held, session, cursor, call, AppStep(original, cursor, *args, **kwargs), on_server)

    return guarded_generator(LIB, original, begin, outside=True)


def _many(guard: Any, original: Function) -> Function:
    """A cursor runs a statement with many sets of values."""

    def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_by(internals.connection_of(cursor))
        if held is None:
            return None
        _let_go(cursor)
        call = cursor_call(args, kwargs, many=True)
        if call is None or cursor.closed or internals.connection_of(cursor).closed or hasattr(cursor, "scrollable"):
            return None
        return _run(held, session, cursor, call, AppStep(original, cursor, *call.args, **call.kwargs), False)

    return guard(LIB, original, begin, outside=True)  # type: ignore[no-any-return]


def _run(
    held: Held, session: BaseSession | None, cursor: Any, call: CursorCall, live: AppStep, on_server: bool
) -> Flow | None:
    if not held.replays(session):
        if session is None:
            return None
        return flow(_Execution(held, cursor, call, live, on_server, _refuse), session)
    return _replayed(held, session, cursor, call, on_server)


def _replayed(held: Held, session: BaseSession | None, cursor: Any, call: CursorCall, on_server: bool) -> Flow:
    if not isinstance(session, ReplaySession) or not held.stands_in:
        yield raising(unrecorded(held.target, f"{text_of(call.statement)[:200]!r} on a connection of another time"))
    # It begins a transaction, and forgets the last result.
    # No step: where a coroutine function is replaced, each step is awaited.
    internals.start_query(cursor, call.statement)
    site = _Execution(held, cursor, call, raise_made_already, on_server, partial(_rebuild, cursor, on_server))
    assert session is not None
    return (yield from ran(site, session, partial(_pass, cursor, call)))


def _pass(cursor: Any, call: CursorCall) -> None:
    """Give the cursor no result: a fetch is refused."""
    held = held_by(internals.connection_of(cursor))
    assert held is not None
    result = RecordedResult(importlib.import_module("psycopg.pq").ExecStatus.TUPLES_OK, b"", None, (), 1)
    internals.rows_by(cursor, UnknownRows(held.target, text_of(call.statement)))
    internals.set_result(cursor, result, 1, b"")


def _rebuild(
    cursor: Any, on_server: bool, event: DependencyEvent, session: ReplaySession, site: StatementSite
) -> None:
    """Give the cursor its recorded result."""
    answer = RecordedAnswer(event, session, site)
    transaction, status, command, changed, columns, ntuples = answer.state
    site.connection.state = transaction
    if status < 0:
        internals.set_result(cursor, None, answer.rowcount, command)
        return
    kind = importlib.import_module("psycopg.pq").ExecStatus
    result = RecordedResult(kind(status), command, changed, columns, ntuples)
    internals.rows_by(cursor, RecordedRows(answer, event, session))
    internals.set_result(cursor, result, answer.rowcount, command)
    if on_server:
        internals.set_described(cursor)


def _refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    raise session.refuse(event, "the connection was opened before this replay began")


def _unrecorded(what: str, original: Function) -> Function:
    def begin(session: BaseSession | None, cursor: Any, *_: Any, **__: Any) -> Flow | None:
        rows = internals.transformer_of(cursor)
        if isinstance(rows, NotedRows):
            rows.not_kept(what)
        return refused(f"cursor.{what}", session, internals.connection_of(cursor))

    return guarded_generator(LIB, original, begin, outside=True)


def _close(original: Function) -> Function:
    return noting(f"{LIB}.close", original, before=_let_go)


def _fetch_from_server(original: Function) -> Function:
    """A cursor on the server fetches some rows."""

    def begin(session: BaseSession | None, cursor: Any, count: int | None) -> Flow | None:
        rows = internals.transformer_of(cursor)
        if isinstance(rows, NotedRows):
            rows.asked = count
        if cursor.closed or not isinstance(rows, RecordedRows):
            held = held_by(internals.connection_of(cursor))
            return (
                None
                if held is None or not held.stands_in
                else only(
                    raising(unrecorded(held.target, "a fetch of a cursor on the server that was declared elsewhere"))
                )
            )
        return Done(internals.rows_made(cursor, rows.take(count)))

    return guarded_generator(LIB, original, begin, outside=True)


def _close_on_server(original: Function) -> Function:
    def begin(session: BaseSession | None, cursor: Any) -> Flow | None:
        held = held_by(internals.connection_of(cursor))
        return Done(None) if held is not None and held.stands_in else None

    return guarded_generator(LIB, original, begin, outside=True)


def _quoted(original: Function) -> Function:
    """Names and values are put into a statement. Libpq does it by its connection, which a stand-in has none of."""

    def begin(_: BaseSession | None, part: Any, context: Any = None) -> AppStep | None:
        held = held_by(getattr(context, "connection", None)) if context is not None else None
        return AppStep(original, part) if held is not None and held.stands_in else None

    return guarded(LIB, original, begin, outside=True)
