"""The calls of drivers of MySQL whose connections are written in Python: opened, statements sent, results read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, only, raising
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.app_types import note_made, registers
from timetracer_otel.libraries.kits.dbapi.call import StatementSite
from timetracer_otel.libraries.kits.dbapi.direct import connected, refused
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall
from timetracer_otel.libraries.kits.dbapi.values import PLAIN
from timetracer_otel.libraries.kits.mysql.answer import (
    Field,
    RecordedRows,
    ResultFacts,
    described,
    state_of,
    tables_of,
)
from timetracer_otel.libraries.kits.mysql.call import Execution, MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.seams import Driver, Seams, refuse, saying_misses
from timetracer_otel.libraries.kits.mysql.wire import COM_QUERY, MORE_RESULTS, Wire
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["PythonDriver", "PythonSeams", "RowNoted"]

_NOTED: Final = "_timetracer_rows"
"""The attribute of a result whose rows are read one by one: in a recording what is noted of its connection, in a
replay the recorded rows."""
_CONVERTER: Final = "mysql.converter"
_MARK: Final = "_timetracer_converter"
_SHOW_WARNINGS: Final = CursorCall("SHOW WARNINGS")


@dataclass(frozen=True, kw_only=True)
class PythonDriver(Driver):
    """What such a driver is called, and how it does things."""

    connect_over: Callable[[Function, Any, Wire], AppStep]
    """Gives the step that opens a connection of a replay, by the driver's own function."""
    result_for: Callable[[Any], Any]
    """Gives an empty result of a connection."""
    connect: str = "connect"
    """The method of connections that opens one."""
    decoders: str = "decoders"
    """The attribute of a connection that has, by type, what makes values of texts."""
    usual_decoders: Collection[Any] = ()
    """The driver's own."""
    opened: Callable[[Any], object] = lambda _: None
    """Called with a connection of a replay, once it is open."""


class PythonSeams(Seams):
    """The seams of such a driver.

    Args:
        driver: What it is called.
        connection: Its class of connections.
        cursor: Its class of cursors.
        result: Its class of results; None where the class takes no patches.
    """

    _driver: PythonDriver

    def __init__(
        self, driver: PythonDriver, connection: type[Any], cursor: type[Any], result: type[Any] | None
    ) -> None:
        super().__init__(driver, connection, cursor)
        self._result = result

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection = self._connection
        made: list[Undoable] = [
            # A connection that is opened outside sessions may be used in one: whose it is must be known.
            Staying(Patch(connection, self._driver.connect, self.connecting)),
            Patch(connection, "query", self.querying),
            Patch(connection, "next_result", self.next_result),
            Patch(connection, "show_warnings", self.show_warnings),
            Patch(connection, "_execute_command", self.command),
            *super().patches(),
        ]
        if self._driver.is_async:
            # Those that block send a statement.
            made.append(Patch(connection, "kill", self.killing))
        if self._result is not None:
            made += [
                Patch(self._result, "_read_rowdata_packet_unbuffered", self.row),
                Patch(self._result, "_finish_unbuffered_query", self.finish),
            ]
        return made

    def hold(
        self, connection: Any, wire: Wire | None, target: ServerTarget | None = None, *, stands_in: bool = False
    ) -> MySQLHeld:
        """Note a connection, and the values that the app's own converters make of its rows."""
        name = self._driver.decoders
        decoders: Mapping[Any, Any] = getattr(connection, name)
        usual = self._driver.usual_decoders
        own = {kind: make for kind, make in decoders.items() if not any(make is known for known in usual)}
        if own:
            setattr(connection, name, {**decoders, **{kind: _noting(kind, make) for kind, make in own.items()}})
        return super().hold(connection, wire, target, stands_in=stands_in)

    def connecting(self, original: Function) -> Function:
        """A connection is opened, or opened again."""
        driver = self._driver

        def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            if opening.get() is not None:
                setattr(connection, HELD, None)
                return None
            target = driver.target_of(connection)
            wires: list[Wire] = []

            def stand_in() -> AppStep:
                assert isinstance(session, ReplaySession)
                # What the driver asks by itself is none of the app's calls.
                setattr(connection, HELD, None)
                wires.append(Wire(driver.lib, recorded_facts(session, target) or {}))
                return driver.connect_over(original, connection, wires[0])

            def hold(_: Any, stands_in: bool) -> MySQLHeld:
                made = self.hold(connection, wires[0] if stands_in else None, target, stands_in=stands_in)
                if stands_in and isinstance(session, ReplaySession):
                    driver.opened(connection)
                    facts = recorded_facts(session, target) or {}
                    connection.host_info = facts.get("host_info", connection.host_info)
                return made

            live = AppStep(original, connection, *args, **kwargs)
            steps = connected(target, session, _unheld(connection, live), stand_in, hold, may_be_new=False)
            return saying_misses(driver.lib, session, steps)

        return self.guarded(original, begin)

    def querying(self, original: Function) -> Function:
        """A connection sends a statement, and reads its first result."""

        def begin(session: BaseSession | None, connection: Any, sql: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None:
                return None
            held.let_go()
            live = AppStep(original, connection, sql, *args, **kwargs)
            unbuffered = bool(args[0] if args else kwargs.get("unbuffered"))
            call = held.call_of(sql)
            if held.replays(session):
                text = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
                sending = AppStep(connection._execute_command, COM_QUERY, text)
                return self._replayed(held, session, connection, call, unbuffered, sending)
            if session is None or held.target.is_gone(connection):
                # A closed connection asks no server.
                return None
            return self._recorded(held, session, connection, call, live)

        return self.guarded(original, begin)

    def next_result(self, original: Function) -> Function:
        """A connection reads the next result of a statement."""

        def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            call = held.next_call() if held is not None else None
            if held is None or call is None:
                return None
            if held.open is not None:
                _read_to_the_end(*held.open)
            held.let_go()
            if held.replays(session):
                unbuffered = bool(args[0] if args else kwargs.get("unbuffered"))
                return self._replayed(held, session, connection, call, unbuffered, None)
            live = AppStep(original, connection, *args, **kwargs)
            return None if session is None else self._recorded(held, session, connection, call, live)

        return self.guarded(original, begin)

    def show_warnings(self, original: Function) -> Function:
        """A connection asks for the warnings of its last statement."""

        def begin(session: BaseSession | None, connection: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None:
                return None
            held.let_go()
            if not held.replays(session):
                live = AppStep(original, connection)
                return flow(Execution(held, connection, _SHOW_WARNINGS, live, refuse), session) if session else None
            sending = AppStep(connection._execute_command, COM_QUERY, _SHOW_WARNINGS.statement)
            return self.answered(held, session, connection, _SHOW_WARNINGS, sending, _value_of)

        return self.guarded(original, begin)

    def killing(self, original: Function) -> Function:
        """A connection ends another one, by no statement."""

        def begin(session: BaseSession | None, connection: Any, *_: Any) -> Flow | None:
            return refused("connection.kill", session, connection)

        return self.guarded(original, begin)

    def row(self, original: Function) -> Function:
        """The next row of a result is read."""

        def begin(_: BaseSession | None, result: Any) -> Any:
            noted = getattr(result, _NOTED, None)
            if isinstance(noted, RecordedRows):
                return _recorded_row(result, noted)
            return RowNoted(noted, result) if noted is not None else None

        return self.guarded(original, begin)

    def finish(self, original: Function) -> Function:
        """The rows of a result that are left are skipped."""

        def begin(_: BaseSession | None, result: Any) -> Any:
            noted = getattr(result, _NOTED, None)
            if isinstance(noted, RecordedRows):
                ended(result, noted)
                return Done(None)
            return _Skipped(noted) if noted is not None else None

        return self.guarded(original, begin)

    def _recorded(
        self, held: MySQLHeld, session: BaseSession, connection: Any, call: CursorCall, live: AppStep
    ) -> Flow:
        def opened(fetches: Fetches) -> None:
            result = connection._result
            held.has_result(call, bool(result.has_next or result.unbuffered_active))
            fetches.state = [*state_of(connection, result), tables_of(result)]
            if result.unbuffered_active:
                held.open = result, fetches
                self.note_rows(held, result)
            elif result.description is not None:
                fetches.took(None, "all", result.rows, None)
                fetches.closed(None)

        def facts() -> ResultFacts:
            result = connection._result
            return ResultFacts(result.affected_rows, result.description, result.insert_id)

        site = Execution(held, connection, call, live, refuse, facts, opened)
        return flow(site, session)

    def note_rows(self, held: MySQLHeld, result: Any) -> None:
        """The rows of a result are read one by one, from now on."""
        setattr(result, _NOTED, held)

    def give_rows(self, result: Any, rows: RecordedRows) -> None:
        """The same in a replay."""
        setattr(result, _NOTED, rows)

    def _replayed(
        self,
        held: MySQLHeld,
        session: BaseSession | None,
        connection: Any,
        call: CursorCall,
        unbuffered: bool,
        sending: AppStep | None,
    ) -> Flow:
        def rebuild(event: DependencyEvent, replay: ReplaySession, site: StatementSite) -> Any:
            answer = RecordedAnswer(event, replay, site)
            status, warnings, has_next, message, tables = answer.state
            held.has_result(call, bool(has_next or unbuffered))
            connection.server_status = status
            if held.wire is not None:
                held.wire.status = status & ~MORE_RESULTS
            result = self._driver.result_for(connection)
            result.description = described(answer)
            result.affected_rows = answer.rowcount
            if answer.lastrowid is not None:
                result.insert_id = answer.lastrowid
            result.server_status, result.message = status, message
            result.has_next, result.warning_count = has_next, warnings
            if result.description is not None:
                result.field_count = len(tables)
                result.fields = [
                    Field(column[0], table) for column, table in zip(result.description, tables, strict=True)
                ]
                if unbuffered:
                    result.unbuffered_active = True
                    self.give_rows(result, RecordedRows(held.target.lib, answer))
                    result.has_next, result.warning_count = 0, 0
                else:
                    result.rows = tuple(answer.take(None))
            connection._result = result
            connection._affected_rows = result.affected_rows
            return answer.value

        if sending is None or not held.stands_in:
            # The last result is read. Where a statement is sent, the driver lets go of the result itself.
            connection._result = None
        return self.answered(held, session, connection, call, sending, rebuild)


def _unheld(connection: Any, live: AppStep) -> AppStep:
    setattr(connection, HELD, None)
    return live


def _noting(kind: Any, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A converter of the app's: a cassette holds what it makes a value of, where it has no form for the value."""
    if hasattr(make, _MARK):
        # The connection is noted again.
        return make
    registers(_CONVERTER, str(kind), lambda parts: make(*parts))

    def converting(text: Any) -> Any:
        made = make(text)
        if type(made) not in PLAIN:
            looked(_CONVERTER, note_made, made, _CONVERTER, str(kind), [text])
        return made

    setattr(converting, _MARK, make)
    return converting


def ended(result: Any, rows: RecordedRows) -> None:
    """The rows of a recorded result are read, or skipped: what the server says behind the last is known."""
    result.unbuffered_active, result.connection, result.rows = False, None, None
    result.warning_count, result.has_next = rows.behind


def _recorded_row(result: Any, rows: RecordedRows) -> Any:
    if not result.unbuffered_active:
        return Done(None)
    try:
        row = rows.next()
    except Exception as error:
        return only(raising(error))
    if row is None:
        ended(result, rows)
    else:
        result.affected_rows, result.rows = 1, (row,)
    return Done(row)


def _read_to_the_end(result: Any, fetches: Fetches) -> None:
    """Note what the server says behind the last row."""
    fetches.state[1:3] = result.warning_count, int(result.has_next or 0)


class RowNoted(Noted):
    """Notes one row that is read."""

    __slots__ = ("_held", "_of")

    def __init__(self, held: MySQLHeld, result: Any) -> None:
        self._held = held
        self._of = result

    def came(self, value: Any) -> Any:
        """A row, or None behind the last."""
        if self._held.open is not None and self._held.open[0] is self._of:
            fetches = self._held.open[1]
            row = tuple(value.values()) if isinstance(value, Mapping) else value
            fetches.took(None, "one", [] if row is None else [row], 1)
            if value is None:
                _read_to_the_end(self._of, fetches)
                self._held.let_go()
        return value

    def raised(self, error: BaseException) -> None:
        """The server, or the connection, failed."""
        if self._held.open is not None and self._held.open[0] is self._of:
            self._held.open[1].failed(error)
            self._held.let_go()


class _Skipped(Noted):
    """Notes that the rows that are left are skipped."""

    __slots__ = ("_held",)

    def __init__(self, held: MySQLHeld) -> None:
        self._held = held

    def came(self, value: Any) -> Any:
        """They are."""
        if self._held.open is not None:
            _read_to_the_end(*self._held.open)
            self._held.let_go()
        return value

    def raised(self, error: BaseException) -> None:
        """The connection failed."""
        self._held.let_go()


def _value_of(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    return RecordedAnswer(event, session, site).value
