"""The calls of MySQL's drivers above their connections: cursors that are asked, and transactions that end.

The drivers have the same classes, since they have one origin. A driver that blocks and one that is awaited differ in
the guard, and in what gives the result of a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import (
    AppStep,
    Flow,
    GiveUp,
    OurStep,
    guarded,
    guarded_async,
    only,
    raising,
    refusal,
)
from timetracer_otel.exceptions import TimetracerError
from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.connection_setup import ran
from timetracer_otel.libraries.kits.dbapi.direct import begin_end, held_by
from timetracer_otel.libraries.kits.dbapi.facts import known_above
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.kits.dbapi.recording_cursor import is_used_directly
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.mysql.call import Execution, KnownEnd, MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.wire import Wire
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["Driver", "Seams", "lent", "refuse", "saying_misses"]

_KNOWN: Final = drivers.MYSQL
"""The kit must know the drivers' values and errors."""


@dataclass(frozen=True)
class Driver:
    """What one driver is called, and how it does things."""

    lib: str
    target_of: Callable[[Any], ServerTarget]
    """Gives the database of a connection that need not be open yet."""
    facts_of: Callable[[Any], dict[str, Any]]
    """Gives what an open connection knows of its server."""
    close: Callable[[Any], object]
    """Closes a connection that was lost, as the driver does."""
    is_async: bool = False
    connection_of: Callable[[Any], Any] = lambda cursor: cursor.connection
    """Gives the connection of a cursor; None where the cursor is closed."""
    keeps_rows: Callable[[Any], bool] = lambda _: False
    """Whether a connection refuses whatever it is asked, since rows of its last statement were not read."""

    @property
    def guard(self) -> Any:
        """The guard of its methods."""
        return guarded_async if self.is_async else guarded


class Seams:
    """The seams of one driver.

    Args:
        driver: What it is called.
        connection: Its class of connections.
        cursor: Its class of cursors.
    """

    def __init__(self, driver: Driver, connection: type[Any], cursor: type[Any]) -> None:
        self._driver = driver
        self._connection = connection
        self._cursor = cursor
        # An ORM may hold connections that were opened before.
        is_used_directly(connection.__module__.partition(".")[0])

    def patches(self) -> list[Undoable]:
        """All of them; a subclass adds those of the connection."""
        return [
            Patch(self._connection, "commit", partial(self.end, "COMMIT")),
            Patch(self._connection, "rollback", partial(self.end, "ROLLBACK")),
            Patch(self._cursor, "execute", partial(self.asked, False)),
            Patch(self._cursor, "executemany", partial(self.asked, True)),
        ]

    def guarded(self, original: Function, begin: Any, give_up: GiveUp | None = None) -> Function:
        """The replacement of one of the driver's functions."""
        made: Function = self._driver.guard(self._driver.lib, original, begin, outside=True, give_up=give_up)
        return made

    def held(self, session: BaseSession | None, connection: Any) -> MySQLHeld | None:
        """What is noted of a connection; None where it is another library's.

        One that was opened before the plugin was there is noted now.
        """
        found = held_by(connection)
        if found is None and session is not None and HELD not in vars(connection):
            return self.hold(connection, None)
        return found if isinstance(found, MySQLHeld) else None

    def hold(
        self, connection: Any, wire: Wire | None, target: ServerTarget | None = None, *, stands_in: bool = False
    ) -> MySQLHeld:
        """Note a connection.

        Args:
            connection: It.
            wire: What stands for its socket in a replay, where the driver has one.
            target: Its database; None where the connection tells.
            stands_in: Whether it is a connection of a replay.
        """
        target = self._driver.target_of(connection) if target is None else target
        if not stands_in and not target.is_gone(connection):
            target.learned(self._driver.facts_of(connection))
        target.known_above = known_above(connection)
        made = MySQLHeld(target, wire, stands_in=stands_in)
        setattr(connection, HELD, made)
        return made

    def end(self, method: str, original: Function) -> Function:
        """The app ends a transaction."""

        def begin(session: BaseSession | None, connection: Any) -> Any:
            held = self.held(session, connection)
            if held is None or self._driver.keeps_rows(connection):
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
            return None

        return self.guarded(original, begin)

    def command(self, original: Function) -> Function:
        """A connection sends a command. One to a server that was there before a replay must not go out in it."""

        def begin(session: BaseSession | None, connection: Any, *_: Any, **__: Any) -> Flow | None:
            held = self.held(session, connection) if isinstance(session, ReplaySession) else None
            if held is None or held.stands_in or not held.replays(session):
                return None
            what = "what is asked on a connection that was opened before the replay"
            return only(raising(unrecorded(held.target, what)))

        return self.guarded(original, begin)

    def asked(self, many: bool, original: Function) -> Function:
        """A cursor is asked for a statement: it puts one text together of the statement and its values."""

        def begin(session: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
            connection = self._driver.connection_of(cursor)
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
            steps = lent(held, call, AppStep(original, cursor, *args, **kwargs))
            return saying_misses(self._driver.lib, session, steps)

        return self.guarded(original, begin)

    def answered(
        self,
        held: MySQLHeld,
        session: BaseSession | None,
        connection: Any,
        call: CursorCall,
        sending: AppStep | None,
        rebuild: Any,
    ) -> Flow:
        """Answer a call from the cassette.

        Args:
            held: What is noted of the connection.
            session: The current session.
            connection: The app's.
            call: What the call is matched by.
            sending: Makes the driver do all but reading the answer, on a connection of a replay.
            rebuild: Puts a recorded result in place.
        """
        if held.stands_in and sending is not None:
            # It raises where the connection is closed, and skips what is left of the last statement.
            yield sending
            if held.wire is not None:
                held.wire.forget()
        if not isinstance(session, ReplaySession):
            text = str(call.statement)[:200]
            yield raising(unrecorded(held.target, f"{text!r} on a connection of a replay that has ended"))
        assert session is not None
        if self._driver.is_async:
            # Other tasks run, as they do while a driver waits.
            yield OurStep(asyncio.sleep, 0)
        lost = _MayBeLost(self._driver, connection)
        site = Execution(held, lost, call, raise_made_already, rebuild)
        return (yield from ran(site, session, lambda: None))


class _MayBeLost:
    """Stands for a connection while a recorded error is raised, behind which it may be closed."""

    def __init__(self, driver: Driver, connection: Any) -> None:
        self._driver = driver
        self._of = connection

    def lose(self) -> None:
        """The recorded one was gone."""
        self._driver.close(self._of)


def lent(held: MySQLHeld, call: CursorCall | None, step: AppStep) -> Flow:
    """The steps of what sends statements.

    Args:
        held: What is noted of the connection.
        call: What the app asked for by them; None where the driver asks something by itself.
        step: Sends them.
    """
    before = held.said, held.part
    held.said, held.part = call, 0
    try:
        return (yield step)
    finally:
        held.said, held.part = before


def saying_misses(lib: str, session: BaseSession | None, steps: Flow) -> Flow:
    """The steps of a call, but for an error that the driver raises for a miss: the app gets the miss itself."""
    try:
        return (yield from steps)
    except Exception as error:
        try:
            miss = _miss_behind(error)
        except Exception as fault:
            if isinstance(session, ReplaySession):
                # The driver's error may be one for a miss, which the app must not take for an answer.
                raise refusal(lib, session, fault) from fault
            raise
        if miss is None:
            raise
        raise miss from None


def _miss_behind(error: BaseException) -> TimetracerError | None:
    """The miss for which a driver has raised an error of its own; None where it was another one.

    What the app handles while it makes the call is no reason: the driver says for what it raises (``from``).
    """
    while error.__suppress_context__ and error.__context__ is not None:
        error = error.__context__
        if isinstance(error, TimetracerError):
            return error
    return None


def _teed(values: Any, seen: list[Any]) -> Any:
    for value in values:
        seen.append(value)
        yield value


def refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    """In the place of what rebuilds an answer, for a call that is made for real."""
    raise session.refuse(event, "the call was made for real")
