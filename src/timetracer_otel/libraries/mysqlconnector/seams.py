"""Where mysql-connector-python is patched: its connections over a handle in C."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import Recording, flow, pass_or_refuse
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded, guarded_async, only, raising
from timetracer_otel.calls.whose_error import is_for_app
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.direct import connected, held_by, refused
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, text_of
from timetracer_otel.libraries.kits.mysql.answer import ResultFacts
from timetracer_otel.libraries.kits.mysql.call import Execution, KnownEnd, MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.seams import Driver, Seams, lent, refuse
from timetracer_otel.libraries.kits.mysql.wire import MORE_RESULTS, Wire
from timetracer_otel.libraries.mysqlconnector import internals
from timetracer_otel.libraries.mysqlconnector.answer import Handle
from timetracer_otel.libraries.mysqlconnector.internals import LIB
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["patches"]

_COLUMN: Final = 7
"""How much PEP 249 says of a column; the driver adds flags and a character set."""
_ENDS: Final = ("COMMIT", "ROLLBACK")
_NOTED_ABOVE: Final = object()
"""Says that the result which is read is that of a call which is noted."""
_TO_SERVER: Final = (
    *("cmd_change_user", "cmd_init_db", "cmd_refresh", "cmd_reset_connection", "cmd_statistics", "cursor"),
    *("is_connected", "ping"),
)
"""What else a connection asks its server."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``mysql.connector``, or of its part for asyncio."""
    if module.__name__ == internals.WITH_ASYNCIO:
        unseen = "mysql.connector.aio opens a connection", "use aiomysql or asyncmy."
        return [Patch(module.MySQLConnection, "connect", partial(_unseen, guarded_async, *unseen))]
    pure, cursors = (importlib.import_module(f"{module.__name__}.{name}") for name in ("connection", "cursor"))
    driver = _driver(module, internals.is_open_in_python, internals.facts_in_python)
    made = _InPython(module, driver, pure.MySQLConnection, cursors.MySQLCursor).patches()
    in_c: Any = getattr(module, "CMySQLConnection", None)
    if in_c is not None:
        over_c: Any = importlib.import_module(f"{module.__name__}.cursor_cext")
        driver = _driver(module, internals.is_open, internals.facts_of)
        made += _OverC(module, driver, in_c, over_c.CMySQLCursor).patches()
    return made


@dataclass(frozen=True, kw_only=True)
class _Driver(Driver):
    is_open: Callable[[Any], bool]
    """Whether a connection is open."""


def _driver(module: Any, is_open: Callable[[Any], bool], facts_of: Callable[[Any], dict[str, Any]]) -> _Driver:
    return _Driver(
        lib=LIB,
        target_of=lambda connection: _target_of(module, connection, {}, is_open),
        facts_of=facts_of,
        close=lambda connection: connection.close(),
        connection_of=internals.connection_of,
        keeps_rows=internals.keeps_rows,
        is_open=is_open,
    )


class _Target(ServerTarget):
    """A database, whose errors the handle in C may raise as well."""

    @property
    def error_packages(self) -> Collection[str]:
        """The driver's, and that of its handle."""
        return ("mysql", "_mysql_connector")


def _target_of(
    module: Any, connection: Any, given: Mapping[str, Any], is_open: Callable[[Any], bool]
) -> ServerTarget:
    return _Target(LIB, module, *internals.place(connection, given), is_open)


def _unseen(guard: Any, what: str, next_step: str, original: Function) -> Function:
    def begin(session: BaseSession | None, *_: Any, **__: Any) -> Flow | None:
        if opening.get() is not None:
            return None
        refusal = pass_or_refuse(LIB, f"{what}, whose rows cannot be seen", next_step, session)
        return only(raising(refusal)) if refusal is not None else None

    made: Function = guard(LIB, original, begin)
    return made


class _Execution(Execution):
    """A statement, or the next result of one."""

    def __init__(self, held: MySQLHeld, connection: Any, call: CursorCall, live: AppStep, opened: Any) -> None:
        super().__init__(held, connection, call, live, refuse, None, opened)
        self.may_disown = "result" in call.options

    def disowns(self, outcome: Any) -> bool:
        """Whether no further result was there."""
        return not outcome

    def returned(self, value: Any, recording: Recording) -> Any:
        """The driver tells of the result in a dict, or with ``next_result`` when it is asked."""
        told, connection = value, self.connection
        if type(told) is not dict:
            told = (
                connection.fetch_eof_columns() if connection.result_set_available else connection.fetch_eof_status()
            )
        columns = told.get("columns")
        description = None if columns is None else [tuple(column[:_COLUMN]) for column in columns]
        facts = ResultFacts(told.get("affected_rows", -1), description, told.get("insert_id"))
        self._result = lambda: facts
        opened: Any = self._opened
        self._opened = partial(opened, told)
        # The dict is made again of what is noted.
        super().returned(None, recording)
        return value


class _RowsNoted(Noted):
    """Notes rows that a connection reads."""

    __slots__ = ("_connection", "_count", "_held", "_seams")

    def __init__(self, seams: _Seams, held: MySQLHeld, connection: Any, count: int | None) -> None:
        self._seams, self._held, self._connection, self._count = seams, held, connection, count

    def came(self, value: Any) -> Any:
        """The rows, and what the server says behind the last."""
        if self._held.open is not None:
            rows, eof = value
            fetches = self._held.open[1]
            fetches.took(None, "many", rows, self._count)
            if eof is not None:
                self._seams.behind(fetches, eof, self._connection)
                self._held.let_go()
        return value

    def raised(self, error: BaseException) -> None:
        """The server, or the connection, failed."""
        if self._held.open is not None and not self._connection.unread_result:
            self._held.open[1].failed(error)
            self._held.let_go()


class _Seams(Seams):
    """The seams of both kinds of connections.

    Args:
        module: ``mysql.connector``.
        driver: What it is called.
        connection: The class of connections.
        cursor: Its class of cursors.
    """

    _driver: _Driver

    def __init__(self, module: Any, driver: _Driver, connection: type[Any], cursor: type[Any]) -> None:
        super().__init__(driver, connection, cursor)
        self._module = module

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection = self._connection
        prepared = "mysql-connector-python has a statement prepared on the server", "use a cursor that prepares none."
        return [
            # A connection that is opened outside sessions may be used in one: whose it is must be known.
            Staying(Patch(connection, "connect", self.connecting)),
            Patch(connection, "get_rows", self.rows),
            Patch(connection, "cmd_stmt_prepare", partial(_unseen, guarded, *prepared)),
            *super().patches(),
        ]

    def connecting(self, original: Function) -> Function:
        """A connection is opened, or opened again."""

        def begin(session: BaseSession | None, connection: Any, **kwargs: Any) -> Flow | None:
            # What the driver asks by itself is none of the app's calls.
            vars(connection)[HELD] = None
            if opening.get() is not None:
                return None
            target = _target_of(self._module, connection, kwargs, self._driver.is_open)
            live = AppStep(original, connection, **kwargs)
            handles: list[Any] = []

            def stand_in() -> AppStep:
                assert isinstance(session, ReplaySession)
                handles.append(self.handle_for(target, recorded_facts(session, target) or {}))
                internals.over(connection, handles[0])
                return live

            def hold(_: Any, stands_in: bool) -> MySQLHeld:
                wire = handles[0] if stands_in and isinstance(handles[0], Wire) else None
                return self.hold(connection, wire, target, stands_in=stands_in)

            return connected(target, session, live, stand_in, hold, may_be_new=False)

        return self.guarded(original, begin)

    def more(self, connection: Any) -> bool:
        """Whether results follow that which a connection has."""
        raise NotImplementedError

    def noted(self, told: dict[str, Any], connection: Any) -> Any:
        """What is noted of a result besides its rows.

        Args:
            told: What the driver says of it.
            connection: It has the result.
        """
        raise NotImplementedError

    def behind(self, fetches: Fetches, eof: dict[str, Any], connection: Any) -> None:
        """Note what the driver says behind the last row.

        Args:
            fetches: Of the event.
            eof: What it says.
            connection: It has the result.
        """
        raise NotImplementedError

    def handle_for(self, target: ServerTarget, facts: Any) -> Any:
        """What a connection of a replay stands on.

        Args:
            target: The database.
            facts: What the recorded connection knew of its server.
        """
        raise NotImplementedError

    def taken(self, connection: Any, count: int | None) -> tuple[list[Any], Any]:
        """Rows of a recorded result, and what the server says behind the last one; None as long as there are more.

        Args:
            connection: One of a replay.
            count: How many are asked for; None for all.
        """
        raise NotImplementedError

    def forget(self, connection: Any) -> None:
        """Forget the rows of a connection of a replay: the driver asks for nothing else before they are read.

        Args:
            connection: It.
        """
        raise NotImplementedError

    def rows(self, original: Function) -> Function:
        """A connection reads rows."""

        def begin(session: BaseSession | None, connection: Any, count: int | None = None, **_: Any) -> Any:
            held = held_by(connection)
            if not isinstance(held, MySQLHeld):
                return None
            if not held.stands_in:
                return _RowsNoted(self, held, connection, count) if held.open is not None else None
            if not connection.unread_result:
                return None
            try:
                return Done(self.taken(connection, count))
            except Exception as error:
                if not is_for_app(error.__traceback__):
                    raise
                self.forget(connection)
                return only(raising(error))

        def give_up(_: Exception, connection: Any, *__: Any) -> None:
            held = held_by(connection)
            if held is not None and held.stands_in:
                self.forget(connection)

        return self.guarded(original, begin, give_up)

    def recorded(
        self, held: MySQLHeld, session: BaseSession, connection: Any, call: CursorCall, live: AppStep
    ) -> Flow:
        def opened(told: dict[str, Any], fetches: Fetches) -> None:
            fetches.state = self.noted(told, connection)
            # Behind rows, more is known.
            held.has_result(call, "columns" in told or self.more(connection))
            if "columns" in told:
                held.open = None, fetches

        return flow(_Execution(held, connection, call, live, opened), session)


class _OverC(_Seams):
    """The seams of connections over a handle in C."""

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection = self._connection
        return [
            Staying(Patch(connection, "_open_connection", self.opening)),
            *(Patch(connection, name, self.querying) for name in ("cmd_query", "_execute_query")),
            Patch(connection, "info_query", self.asking),
            Patch(connection, "next_result", self.next_result),
            *(Patch(connection, name, self.command) for name in _TO_SERVER),
            *super().patches(),
        ]

    def more(self, connection: Any) -> bool:
        """As the handle says."""
        return bool(connection.more_results)

    def noted(self, told: dict[str, Any], connection: Any) -> Any:
        """The status of the server, how many warnings there are, whether results follow, and more of each column."""
        columns = told.get("columns")
        eof = told["eof"] if columns is not None else told
        status = eof["status_flag"] if columns is not None else eof["server_status"]
        further = [list(column[_COLUMN:]) for column in columns or ()]
        return [status, eof["warning_count"], int(connection.more_results), further]

    def behind(self, fetches: Fetches, eof: dict[str, Any], connection: Any) -> None:
        """The last row was read."""
        fetches.state[:3] = eof["status_flag"], eof["warning_count"], int(connection.more_results)

    def handle_for(self, target: ServerTarget, facts: Any) -> Handle:
        """What stands for the handle in C."""
        return Handle(target, facts)

    def taken(self, connection: Any, count: int | None) -> tuple[list[Any], Any]:
        """Rows of the handle."""
        rows, is_end = connection._cmysql.take(count)
        eof = {"status_flag": connection._server_status, "warning_count": connection.warning_count}
        return rows, eof if is_end else None

    def forget(self, connection: Any) -> None:
        """By the handle."""
        connection.free_result()

    def opening(self, original: Function) -> Function:
        """A connection gets its handle."""

        def begin(_: BaseSession | None, connection: Any) -> Done | None:
            return Done(None) if internals.set_handle(connection) else None

        return self.guarded(original, begin)

    def querying(self, original: Function) -> Function:
        """A connection sends a statement."""

        def begin(session: BaseSession | None, connection: Any, query: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection) or self._driver.keeps_rows(connection):
                return None
            held.let_go()
            call, live = held.call_of(query), AppStep(original, connection, query, *args, **kwargs)
            if held.replays(session):
                return self._replayed(held, session, connection, call)
            return None if session is None else self.recorded(held, session, connection, call, live)

        return self.guarded(original, begin)

    def next_result(self, original: Function) -> Function:
        """A connection goes to the next result of a statement, where there is one."""

        def begin(session: BaseSession | None, connection: Any) -> Any:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection) or self._driver.keeps_rows(connection):
                return None
            held.let_go()
            if held.replays(session):
                call = held.next_call() if connection.more_results else None
                return Done(False) if call is None else self._next_replayed(held, session, connection, call)
            call = held.next_call() if session is not None and connection.more_results else None
            if session is None or call is None:
                return None
            return self.recorded(held, session, connection, call, AppStep(original, connection))

        return self.guarded(original, begin)

    def asking(self, original: Function) -> Function:
        """A connection asks its server for one row."""

        def begin(session: BaseSession | None, connection: Any, query: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection) or self._driver.keeps_rows(connection):
                return None
            held.let_go()
            # It does so by itself, while the app asks for something else.
            call = CursorCall(query)
            if held.replays(session):
                return self.answered(held, session, connection, call, None, _value_of)
            if session is None:
                return None
            return flow(Execution(held, connection, call, AppStep(original, connection, query), refuse), session)

        return self.guarded(original, begin)

    def _replayed(self, held: MySQLHeld, session: BaseSession | None, connection: Any, call: CursorCall) -> Flow:
        if not held.stands_in:
            steps = refused("a statement on a connection that was opened before the replay", session, connection)
            return (yield from steps) if steps is not None else None
        # It raises where rows are left.
        yield AppStep(connection.handle_unread_result)
        connection._cmysql.now(None)
        yield from self.answered(
            held, session, connection, call, None, partial(self._rebuild, held, connection, call)
        )
        has_rows = connection.result_set_available
        return (yield AppStep(connection.fetch_eof_columns if has_rows else connection.fetch_eof_status))

    def _next_replayed(self, held: MySQLHeld, session: BaseSession | None, connection: Any, call: CursorCall) -> Flow:
        yield from self.answered(
            held, session, connection, call, None, partial(self._rebuild, held, connection, call)
        )
        return True

    @staticmethod
    def _rebuild(
        held: MySQLHeld,
        connection: Any,
        call: CursorCall,
        event: DependencyEvent,
        replay: ReplaySession,
        site: StatementSite,
    ) -> None:
        held.has_result(call, True)
        connection._cmysql.now(RecordedAnswer(event, replay, site))


def _value_of(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    return RecordedAnswer(event, session, site).value


class _InPython(_Seams):
    """The seams of connections that are written in Python."""

    def patches(self) -> list[Undoable]:
        """All of them. COMMIT and ROLLBACK are statements."""
        connection = self._connection
        ends = {"commit", "rollback"}
        return [
            Staying(Patch(connection, "_get_connection", self.opening)),
            Patch(connection, "cmd_query", self.querying),
            Patch(connection, "cmd_query_iter", self.iterating),
            Patch(connection, "_handle_result", self.result),
            Patch(connection, "_send_cmd", self.command),
            Patch(connection, "info_query", self.asking),
            *(patch for patch in super().patches() if getattr(patch, "name", "") not in ends),
        ]

    def asking(self, original: Function) -> Function:
        """A connection asks its server for one row by itself, by a cursor, while the app asks for something else."""

        def begin(_: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = held_by(connection)
            if not isinstance(held, MySQLHeld) or held.said is None:
                return None
            return lent(held, None, AppStep(original, connection, *args, **kwargs))

        return self.guarded(original, begin)

    def handle_for(self, target: ServerTarget, facts: Any) -> Wire:
        """What stands for the socket."""
        return Wire(LIB, facts)

    def taken(self, connection: Any, count: int | None) -> tuple[list[Any], Any]:
        """Rows of the result, whose end the connection notes."""
        held = held_by(connection)
        assert isinstance(held, MySQLHeld)
        answer = held.now
        rows = list(map(tuple, answer.take(count)))
        if count is not None and len(rows) >= count:
            return rows, None
        eof = answer.state[0]["eof"]
        connection._handle_server_status(eof["status_flag"])
        connection.unread_result = False
        return rows, eof

    def forget(self, connection: Any) -> None:
        """The connection notes whether there are any."""
        connection.unread_result = False

    def opening(self, original: Function) -> Function:
        """A connection gets its socket."""

        def begin(_: BaseSession | None, connection: Any) -> Flow | None:
            wire = internals.taken_over(connection)
            return None if wire is None else led(wire, AppStep(original, connection))

        def led(wire: Wire, live: AppStep) -> Flow:
            made = yield live
            internals.leads_to(made, wire)
            return made

        return self.guarded(original, begin)

    def querying(self, original: Function) -> Function:
        """A connection sends a statement, and reads what comes first of its result."""

        def begin(session: BaseSession | None, connection: Any, query: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection) or self._driver.keeps_rows(connection):
                return None
            live = AppStep(original, connection, query, *args, **kwargs)
            text = text_of(bytes(query) if isinstance(query, bytearray) else query).strip().upper()
            if text in _ENDS:
                return self._ended(text, held, session, connection, live)
            call = held.call_of(query)
            if held.replays(session):
                return sending(held, call, live)
            held.let_go()
            if session is None:
                return None
            return within(held, self.recorded(held, session, connection, call, live))

        def sending(held: MySQLHeld, call: CursorCall, live: AppStep) -> Flow:
            held.waiting = call
            try:
                return (yield live)
            finally:
                held.waiting = None

        def within(held: MySQLHeld, steps: Any) -> Flow:
            held.waiting = _NOTED_ABOVE
            try:
                return (yield from steps)
            finally:
                held.waiting = None

        return self.guarded(original, begin)

    def iterating(self, original: Function) -> Function:
        """A connection sends a statement, and gives one result after the other."""

        def begin(session: BaseSession | None, connection: Any, statements: Any, **_: Any) -> None:
            held = self.held(session, connection)
            if held is not None:
                held.let_go()
                held.waiting = held.call_of(statements)

        return self.guarded(original, begin)

    def result(self, original: Function) -> Function:
        """A connection has the first packet of a result."""

        def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or held.waiting is _NOTED_ABOVE:
                return None
            call = held.waiting if held.waiting is not None else held.next_call()
            held.waiting = None
            if call is None:
                return None
            if held.replays(session):
                return self._put(held, session, connection, call)
            held.let_go()
            if session is None:
                return None
            return self.recorded(held, session, connection, call, AppStep(original, connection, *args, **kwargs))

        return self.guarded(original, begin)

    def _put(self, held: MySQLHeld, session: BaseSession | None, connection: Any, call: CursorCall) -> Flow:
        def rebuild(event: DependencyEvent, replay: ReplaySession, site: StatementSite) -> Any:
            answer = RecordedAnswer(event, replay, site)
            told, further = answer.state
            held.has_result(call, True)
            held.now = answer
            status = told["status_flag"] if further is None else told["first"]["status_flag"]
            if held.wire is not None:
                held.wire.status = status & ~MORE_RESULTS
            if further is None:
                connection._handle_server_status(status)
                return dict(told)
            columns = [(*column, *more) for column, more in zip(answer.description or (), further, strict=True)]
            connection._columns_desc = columns
            connection._handle_server_status(status)
            connection.unread_result = True
            return {"columns": columns, "eof": told["first"]}

        return self.answered(held, session, connection, call, None, rebuild)

    def more(self, connection: Any) -> bool:
        """As the last packet has said."""
        return bool(connection._have_next_result)

    def noted(self, told: dict[str, Any], connection: Any) -> Any:
        """What the driver says of a result besides its rows; what it says behind them is added there."""
        columns = told.get("columns")
        if columns is None:
            return [dict(told), None]
        return [{"first": told["eof"], "eof": told["eof"]}, [list(column[_COLUMN:]) for column in columns]]

    def behind(self, fetches: Fetches, eof: dict[str, Any], connection: Any) -> None:
        """The last row was read."""
        fetches.state[0]["eof"] = eof

    def _ended(
        self, method: str, held: MySQLHeld, session: BaseSession | None, connection: Any, live: AppStep
    ) -> Flow | None:
        held.waiting = None

        def ended() -> Flow:
            held.waiting = _NOTED_ABOVE
            try:
                value = yield live
            finally:
                held.waiting = None
            if not isinstance(session, ReplaySession):
                if method == "COMMIT":
                    yield raising(unrecorded(held.target, "connection.commit"))
                return value
            site = KnownEnd(held.target, method, raise_made_already)
            yield from answered_or_passed(site, session) if method == "ROLLBACK" else flow(site, session)
            return value

        if held.replays(session):
            return ended()
        held.let_go()
        transaction = held.transactions.ended()
        if session is None:
            return None

        def recorded() -> Flow:
            held.waiting = _NOTED_ABOVE
            try:
                return (yield from flow(PlainSite(held.target, method, live, transaction=transaction), session))
            finally:
                held.waiting = None

        return recorded()
