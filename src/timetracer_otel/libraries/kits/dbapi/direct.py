"""A driver that an app uses itself (PEP 249), with no library in between.

A connection is the driver's own object, of a class that is derived of the driver's (or of the app's own): C functions
check it, and it has the attributes of the driver. Its methods are guards, which do one thing each:

- `begin_cursor`: while a session records, a cursor is wrapped; in a replay it is one that answers from the cassette;
- `begin_end`: the end of a transaction is an event;
- `begin_shortcut`: what a connection executes by itself runs on a new cursor.

What is noted of a connection stands in its `Held`. In a replay, a connection that was opened there is a *stand-in*:
the driver's own object, which reaches no database of the app's. Behind it, and behind a real connection that was
opened before the replay, stands a `ReplayConnection`, the *twin*, which makes the cursors that answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, OurStep, only, raising
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed, end_of_transaction, opened_for_real
from timetracer_otel.libraries.kits.dbapi.call import ConnectSite, PlainSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor, is_used_directly, recording_cursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.session.transactions import Transactions

__all__ = ["Held", "begin_cursor", "begin_end", "begin_shortcut", "connected", "held_by", "refused"]


class Held:
    """What is noted of one connection.

    Args:
        target: The database.
        twin: Gives what answers in a replay; called once, when a replay asks for it.
        wrapped: Makes the cursor of a recording, of one of the driver's.
        stands_in: Whether it is a connection of a replay.
    """

    __slots__ = ("_make_twin", "_twin", "stands_in", "target", "transactions", "wrapped")

    def __init__(
        self,
        target: Target,
        twin: Callable[[], ReplayConnection],
        wrapped: Callable[[Any, Target], RecordingCursor] = recording_cursor,
        *,
        stands_in: bool,
    ) -> None:
        is_used_directly(target.driver)
        self.target = target
        self.wrapped = wrapped
        self.stands_in = stands_in
        self.transactions = Transactions()
        self._make_twin = twin
        self._twin: ReplayConnection | None = None

    @property
    def twin(self) -> ReplayConnection:
        """What answers in a replay."""
        if self._twin is None:
            self._twin = self._make_twin()
            self._twin.ready()
        return self._twin

    @property
    def known_twin(self) -> ReplayConnection | None:
        """The same; None where no replay has asked for it."""
        return self._twin

    def replays(self, session: BaseSession | None) -> bool:
        """Whether calls on the connection are answered from a cassette, or refused."""
        return self.stands_in or (
            self.target.takes_part(session) and replays(self.target.lib, session, lambda: self.target.address)
        )


def held_by(connection: Any) -> Held | None:
    """What is noted of a connection; None where it is another library's, or not opened to its end yet."""
    held: Held | None = getattr(connection, HELD, None)
    return held


class _KnownConnect(ConnectSite):
    """The opening of a connection by a driver that makes no new calls in a replay."""

    def again(self) -> bool:
        """False."""
        return False


def connected(
    target: Target,
    session: BaseSession | None,
    live: AppStep,
    stand_in: Callable[[], AppStep],
    hold: Callable[[Any, bool], Held],
    *,
    may_be_new: bool = True,
    given: Callable[[Any], Any] = lambda value: value,
    drop: Callable[[Any], Any] = lambda connection: None,
) -> Flow:
    """The app opens a connection.

    Args:
        target: The database.
        session: The current session.
        live: Opens it for real.
        stand_in: Gives what opens the one of a replay.
        hold: Makes what is noted of it, from the connection and whether it is the one of a replay.
        may_be_new: Whether a replay may open a real one behind it, for new calls.
        given: Makes an awaitable of a value, where steps are awaited.
        drop: Closes a connection of a replay that the app does not get.
    """
    if not target.takes_part(session):
        session = None
    if not replays(target.lib, session, lambda: target.address):
        site = ConnectSite(target, live, raise_made_already)
        site.sets_up = True
        connection = yield from only(live) if session is None else flow(site, session)
        hold(connection, False)
        return connection
    assert isinstance(session, ReplaySession)
    if recorded_facts(session, target) is not None:
        # The replay may open more connections than the recording did, where the app had some already.
        yield from answered_or_passed(ConnectSite(target, raise_made_already, _nothing), session)
        connection = yield stand_in()
        hold(connection, True)
        return connection
    if not may_be_new:
        # The cassette does not know the database: a miss.
        return (yield from flow(_KnownConnect(target, raise_made_already, _nothing), session))
    connection = yield stand_in()
    twin = hold(connection, True).twin
    try:
        yield from flow(ConnectSite(target, OurStep(_opened_behind, twin, given), _nothing), session)
    except BaseException:
        drop(connection)
        raise
    return connection


def _opened_behind(twin: ReplayConnection, given: Callable[[Any], Any]) -> Any:
    return given(opened_for_real(twin))


def begin_cursor(
    original: Function, session: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any
) -> Flow | Noted | None:
    """The app asks a connection for a cursor.

    Args:
        original: The driver's method.
        session: The current session.
        connection: The app's.
        args: As the app gave them.
        kwargs: The same, by name.
    """
    held = held_by(connection)
    if held is None:
        return None
    if held.replays(session):
        return _replayed_cursor(held, session, AppStep(original, connection, *args, **kwargs))
    return _CursorTaken(held) if session is not None else None


def _replayed_cursor(held: Held, session: BaseSession | None, live: AppStep) -> Flow:
    # It raises where the connection is closed, where another thread asks, or where an argument is wrong.
    shown = yield live
    connection, *args = live.args
    twin = held.twin
    if isinstance(session, ReplaySession):
        twin.plain_in = session if session.recorder is None else None
    cursor = twin.cursor_like(shown, *args, **live.keywords)
    cursor.connection = connection
    return cursor


class _CursorTaken(Noted):
    """Lets a cursor of a recorded connection be noted."""

    __slots__ = ("_held",)

    def __init__(self, held: Held) -> None:
        self._held = held

    def came(self, value: Any) -> RecordingCursor:
        """The driver gave a cursor: give one that notes what it runs."""
        made = self._held.wrapped(value, self._held.target)
        made._self_notes.transactions = self._held.transactions
        return made

    def raised(self, error: BaseException) -> None:
        """The driver gave none. It asked no server."""


def begin_shortcut(
    name: str,
    cursor_of: Callable[[Any], Any],
    session: BaseSession | None,
    connection: Any,
    /,
    *args: Any,
    **kwargs: Any,
) -> Flow | None:
    """A connection executes something by itself: on a new cursor, which it gives.

    Args:
        name: Of the method, which the cursor has as well.
        cursor_of: Gives such a cursor, guarded as those that the app asks for.
        session: The current session.
        connection: The app's.
        args: As the app gave them.
        kwargs: The same, by name.
    """
    held = held_by(connection)
    if held is None or (session is None and not held.stands_in):
        return None
    return _on_new_cursor(AppStep(cursor_of, connection), name, args, kwargs)


def _on_new_cursor(cursor_of: AppStep, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Flow:
    cursor = yield cursor_of
    return (yield AppStep(getattr(cursor, name), *args, **kwargs))


def begin_end(
    method: str, kind: Callable[..., PlainSite], live: AppStep, session: BaseSession | None, connection: Any
) -> Flow | None:
    """The app ends the transaction of a connection.

    Args:
        method: COMMIT or ROLLBACK.
        kind: Makes its site.
        live: Ends it for real.
        session: The current session.
        connection: The app's.
    """
    held = held_by(connection)
    if held is None:
        return None
    if held.replays(session):
        if isinstance(session, ReplaySession):
            return end_of_transaction(held.target, method, held.twin, session)
        # The replay has ended. Apps clean up behind it, and there is nothing to roll back.
        return Done(None) if method == "ROLLBACK" else only(raising(unrecorded(held.target, "connection.commit")))
    transaction = held.transactions.ended()
    if session is None or not held.target.takes_part(session):
        return None
    site = kind(held.target, method, live, transaction=transaction)
    site.as_called = True
    return flow(site, session)


def refused(what: str, session: BaseSession | None, connection: Any, first: AppStep | None = None) -> Flow | None:
    """The app asks something of a connection that is not recorded. A replay refuses it; otherwise it is just made.

    Args:
        what: The app asks.
        session: The current session.
        connection: The app's.
        first: Raises what the driver raises where the connection is closed, or where another thread asks.
    """
    held = held_by(connection)
    return _refusing(held.target, what, first) if held is not None and held.replays(session) else None


def _refusing(target: Target, what: str, first: AppStep | None) -> Flow:
    if first is not None:
        yield first
    yield raising(unrecorded(target, what))


def _nothing() -> None:
    return None
