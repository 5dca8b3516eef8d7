"""The calls of MySQL's drivers that are written in Python: opened connections, statements, results, transactions.

The drivers have the same classes, since they have one origin. A driver that blocks and one that is awaited differ in
the guard, and in what gives the result of a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, OurStep, guarded, guarded_async, only, raising
from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.direct import begin_end, connected, held_by
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.recording_cursor import is_used_directly
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.mysql.answer import (
    Field,
    RecordedRows,
    ResultFacts,
    described,
    state_of,
    tables_of,
)
from timetracer_otel.libraries.kits.mysql.call import Execution, KnownEnd, MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.wire import COM_QUERY, MORE_RESULTS, Wire
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["Driver", "Seams"]

_KNOWN: Final = drivers.MYSQL
"""The kit must know the drivers' values and errors."""
_NOTED: Final = "_timetracer_rows"
"""The attribute of a result whose rows are read one by one: in a recording what is noted of its connection, in a
replay the recorded rows."""
_SHOW_WARNINGS: Final = CursorCall("SHOW WARNINGS")


@dataclass(frozen=True)
class Driver:
    """What one driver calls things, and how it does them."""

    lib: str
    target_of: Callable[[Any], ServerTarget]
    """Gives the database of a connection that need not be open yet."""
    facts_of: Callable[[Any], dict[str, Any]]
    """Gives what an open connection knows of its server."""
    connect_over: Callable[[Function, Any, Wire], AppStep]
    """Gives the step that opens a connection of a replay, by the driver's own function."""
    result_for: Callable[[Any], Any]
    """Gives an empty result of a connection."""
    close: Callable[[Any], object]
    """Closes a connection that was lost, as the driver does."""
    is_async: bool = False
    connect: str = "connect"
    """The method of connections that opens one."""
    facts_to_restore: Sequence[str] = field(default=("host_info",))
    """Attributes of a connection that a replay sets as they were recorded, once it is open."""

    @property
    def guard(self) -> Any:
        """The guard of its methods."""
        return guarded_async if self.is_async else guarded


class Seams:
    """The seams of one driver.

    Args:
        driver: What it calls things.
        connection: Its class of connections.
        cursor: Its class of cursors.
        result: Its class of results; None where the class takes no patches.
    """

    def __init__(self, driver: Driver, connection: type[Any], cursor: type[Any], result: type[Any] | None) -> None:
        self._driver = driver
        self._connection = connection
        self._cursor = cursor
        self._result = result
        # An ORM may hold connections that were opened before.
        is_used_directly(connection.__module__.partition(".")[0])

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection, cursor = self._connection, self._cursor
        made: list[Undoable] = [
            # A connection that is opened outside sessions may be used in one: whose it is must be known.
            Staying(Patch(connection, self._driver.connect, self.connecting)),
            Patch(connection, "query", self.querying),
            Patch(connection, "next_result", self.next_result),
            Patch(connection, "show_warnings", self.show_warnings),
            Patch(connection, "commit", partial(self.end, "COMMIT")),
            Patch(connection, "rollback", partial(self.end, "ROLLBACK")),
            Patch(connection, "_execute_command", self.command),
            Patch(cursor, "execute", partial(self.asked, False)),
            Patch(cursor, "executemany", partial(self.asked, True)),
        ]
        if self._result is not None:
            made += [
                Patch(self._result, "_read_rowdata_packet_unbuffered", self.row),
                Patch(self._result, "_finish_unbuffered_query", self.finish),
            ]
        return made

    def _guard(self, original: Function, begin: Any) -> Function:
        made: Function = self._driver.guard(self._driver.lib, original, begin, outside=True)
        return made

    def held(self, session: BaseSession | None, connection: Any) -> MySQLHeld | None:
        """What is noted of a connection; None where it is another library's.

        One that was opened before the plugin was there is noted now.
        """
        found = held_by(connection)
        if found is None and session is not None and HELD not in vars(connection):
            return self.hold(connection, None)
        return found if isinstance(found, MySQLHeld) else None

    def hold(self, connection: Any, wire: Wire | None) -> MySQLHeld:
        """Note a connection.

        Args:
            connection: It.
            wire: What stands for its socket in a replay; None for a connection to a server.
        """
        target = self._driver.target_of(connection)
        if wire is None and not target.is_gone(connection):
            target.learned(self._driver.facts_of(connection))
        made = MySQLHeld(target, wire, stands_in=wire is not None)
        setattr(connection, HELD, made)
        return made

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
                made = self.hold(connection, wires[0] if stands_in else None)
                if not stands_in:
                    target.learned(driver.facts_of(connection))
                elif isinstance(session, ReplaySession):
                    for name in driver.facts_to_restore:
                        if name in (facts := recorded_facts(session, target) or {}):
                            setattr(connection, name, facts[name])
                return made

            live = AppStep(original, connection, *args, **kwargs)
            return connected(target, session, _unheld(connection, live), stand_in, hold, may_be_new=False)

        return self._guard(original, begin)

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

        return self._guard(original, begin)

    def next_result(self, original: Function) -> Function:
        """A connection reads the next result of a statement."""

        def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            held = self.held(session, connection)
            call = held.next_call() if held is not None else None
            if held is None or call is None:
                return None
            held.let_go()
            if held.replays(session):
                unbuffered = bool(args[0] if args else kwargs.get("unbuffered"))
                return self._replayed(held, session, connection, call, unbuffered, None)
            live = AppStep(original, connection, *args, **kwargs)
            return None if session is None else self._recorded(held, session, connection, call, live)

        return self._guard(original, begin)

    def show_warnings(self, original: Function) -> Function:
        """A connection asks for the warnings of its last statement."""

        def begin(session: BaseSession | None, connection: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None:
                return None
            held.let_go()
            if not held.replays(session):
                live = AppStep(original, connection)
                return flow(Execution(held, connection, _SHOW_WARNINGS, live, _refuse), session) if session else None
            sending = AppStep(connection._execute_command, COM_QUERY, _SHOW_WARNINGS.statement)
            return self._answered(held, session, connection, _SHOW_WARNINGS, sending, _value_of)

        return self._guard(original, begin)

    def end(self, method: str, original: Function) -> Function:
        """The app ends a transaction."""

        def begin(session: BaseSession | None, connection: Any) -> Any:
            held = self.held(session, connection)
            if held is None:
                return None
            held.let_go()
            live = AppStep(original, connection)
            if held.target.is_gone(connection) and not held.replays(session):
                return None
            if not held.replays(session):
                return begin_end(method, PlainSite, live, session, connection)
            return replayed(held, session, connection, live)

        def replayed(held: MySQLHeld, session: BaseSession | None, connection: Any, live: AppStep) -> Flow:
            if held.stands_in:
                # It raises where the connection is closed.
                yield live
            if not isinstance(session, ReplaySession):
                # The replay has ended. Apps clean up behind it, and there is nothing to roll back.
                return None if method == "ROLLBACK" else (yield raising(unrecorded(held.target, "connection.commit")))
            site = KnownEnd(held.target, method, raise_made_already)
            yield from answered_or_passed(site, session) if method == "ROLLBACK" else flow(site, session)
            if not held.stands_in:
                connection.server_status &= ~1
            return None

        return self._guard(original, begin)

    def command(self, original: Function) -> Function:
        """A connection sends a command. One to a server that was there before a replay must not go out in it."""

        def begin(session: BaseSession | None, connection: Any, *_: Any, **__: Any) -> Flow | None:
            held = self.held(session, connection) if isinstance(session, ReplaySession) else None
            if held is None or held.stands_in or not held.replays(session):
                return None
            what = "a setting of a connection that was opened before the replay"
            return only(raising(unrecorded(held.target, what)))

        return self._guard(original, begin)

    def asked(self, many: bool, original: Function) -> Function:
        """A cursor is asked for a statement: it puts one text together of the statement and its values."""

        def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
            connection = cursor.connection
            held = self.held(session, connection) if connection is not None else None
            if held is None or (session is None and not held.stands_in):
                return None
            values = args[1] if len(args) > 1 else kwargs.get("args")
            if not many and values is None and held.said is not None:
                # What it was asked is a bulk INSERT, and this is a part of it.
                return None
            if many and not isinstance(values, (list, tuple)):
                # The driver reads it once, and it is noted as it does.
                seen: list[Any] = []
                call = CursorCall(args[0] if args else kwargs.get("query"), seen, many=True)
                args, kwargs = (call.statement, _teed(values, seen)) if values else args, {} if values else kwargs
            else:
                found = cursor_call(args, kwargs, many=many)
                if found is None:
                    return None
                call = found
            return lent(held, call, AppStep(original, cursor, *args, **kwargs))

        def lent(held: MySQLHeld, call: CursorCall, step: AppStep) -> Flow:
            before = held.said, held.part
            held.said, held.part = call, 0
            try:
                return (yield step)
            finally:
                held.said, held.part = before

        return self._guard(original, begin)

    def row(self, original: Function) -> Function:
        """The next row of a result is read."""

        def begin(_: BaseSession | None, result: Any) -> Any:
            noted = getattr(result, _NOTED, None)
            if isinstance(noted, RecordedRows):
                return _recorded_row(result, noted)
            return _RowNoted(noted, result) if noted is not None else None

        return self._guard(original, begin)

    def finish(self, original: Function) -> Function:
        """The rows of a result that are left are skipped."""

        def begin(_: BaseSession | None, result: Any) -> Any:
            noted = getattr(result, _NOTED, None)
            if isinstance(noted, RecordedRows):
                ended(result, noted)
                return Done(None)
            return _Skipped(noted) if noted is not None else None

        return self._guard(original, begin)

    def _recorded(
        self, held: MySQLHeld, session: BaseSession, connection: Any, call: CursorCall, live: AppStep
    ) -> Flow:
        def opened(fetches: Fetches) -> None:
            held.has_result(call)
            result = connection._result
            fetches.state = [*state_of(connection, result), tables_of(result)]
            if result.unbuffered_active:
                held.open = result, fetches
                self.note_rows(held, result)
            elif result.description is not None:
                fetches.took(None, "all", result.rows, None)
                fetches.closed(ResultFacts(result))

        site = Execution(held, connection, call, live, _refuse, lambda: ResultFacts(connection._result), opened)
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
            held.has_result(call)
            status, warnings, has_next, message, tables = answer.state
            connection.server_status = status
            if held.wire is not None:
                held.wire.status = status & ~MORE_RESULTS
            result = self._driver.result_for(connection)
            result.description = described(answer)
            result.affected_rows, result.insert_id = answer.rowcount, answer.lastrowid
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

        return self._answered(held, session, connection, call, sending, rebuild)

    def _answered(
        self,
        held: MySQLHeld,
        session: BaseSession | None,
        connection: Any,
        call: CursorCall,
        sending: AppStep | None,
        rebuild: Any,
    ) -> Flow:
        if held.wire is not None and sending is not None:
            # It raises where the connection is closed, and skips what is left of the last statement.
            yield sending
            held.wire.forget()
        connection._result = None
        if not isinstance(session, ReplaySession):
            text = str(call.statement)[:200]
            yield raising(unrecorded(held.target, f"{text!r} on a connection of a replay that has ended"))
        assert session is not None
        if self._driver.is_async:
            # Other tasks run, as they do while a driver waits.
            yield OurStep(asyncio.sleep, 0)
        lost = _MayBeLost(self._driver, connection)
        return (yield from flow(Execution(held, lost, call, raise_made_already, rebuild), session))


class _MayBeLost:
    """Stands for a connection while a recorded error is raised, behind which it may be closed."""

    def __init__(self, driver: Driver, connection: Any) -> None:
        self._driver = driver
        self._of = connection

    def lose(self) -> None:
        """The recorded one was gone."""
        self._driver.close(self._of)


def _unheld(connection: Any, live: AppStep) -> AppStep:
    setattr(connection, HELD, None)
    return live


def _teed(values: Any, seen: list[Any]) -> Any:
    for value in values:
        seen.append(value)
        yield value


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


class _RowNoted(Noted):
    """Notes one row that is read."""

    __slots__ = ("_held", "_of")

    def __init__(self, held: MySQLHeld, result: Any) -> None:
        self._held = held
        self._of = result

    def came(self, value: Any) -> Any:
        """A row, or None behind the last."""
        if self._held.open is not None and self._held.open[0] is self._of:
            fetches = self._held.open[1]
            fetches.took(None, "one", [] if value is None else [value], 1)
            if value is None:
                fetches.state[1:3] = self._of.warning_count, int(self._of.has_next or 0)
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
            result, fetches = self._held.open
            fetches.state[1:3] = result.warning_count, int(result.has_next or 0)
            self._held.let_go()
        return value

    def raised(self, error: BaseException) -> None:
        """The connection failed."""
        self._held.let_go()


def _value_of(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    return RecordedAnswer(event, session, site).value


def _refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    raise session.refuse(event, "the call was made for real")
