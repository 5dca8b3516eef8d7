"""Calls in a replay that need no answer: opening a connection, beginning and ending a transaction.

They pass where no recorded event is left for them. Of these, a COMMIT alone must have been recorded: it may fail.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Site, answer, flow
from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.connection_setup import claimed
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["answered_by", "answered_or_passed", "claimed", "end_of_transaction", "opened_for_real"]


def answered_or_passed(site: Site, session: ReplaySession) -> Flow:
    """Replay a call that needs no answer: by its recorded event, or without one where none is left."""
    return answered_by(site, session, claimed(site, session))


def answered_by(site: Site, session: ReplaySession, event: DependencyEvent | None) -> Flow:
    """Replay such a call by this event, or without one: its site makes an answer of None, too."""
    if event is not None:
        return (yield from answer(site, session, event, hooks.whereabouts(site.span).span))
    if site.beside is not None:
        yield site.beside
    passing: Any = site
    return passing.rebuild(None, session)


def end_of_transaction(
    target: Target, method: str, connection: Any, session: ReplaySession, *, is_upkeep: bool = False
) -> Flow:
    """The end of a transaction in a replay. One with new calls in it ends for real.

    Args:
        target: The database.
        method: COMMIT or ROLLBACK.
        connection: On which: one of a replay, or the driver's own.
        session: The replay.
        is_upkeep: Whether a library ends it by itself, which is no call of the app's.
    """
    end = AppStep(getattr(connection, method.lower()))
    ours = isinstance(connection, ReplayConnection)
    site = PlainSite(
        target,
        method,
        partial(_for_real, connection, end),
        connection,
        end if ours or session.adds_new_calls else None,
    )
    if is_upkeep:
        return answered_by(site, session, None)
    is_new = session.adds_new_calls and not (ours and connection.real.connection is None)
    if method == "ROLLBACK" and not is_new:
        # Nothing was done for real, so there is nothing to roll back.
        return answered_or_passed(site, session)
    return flow(site, session)


@guarded_method
def _for_real(connection: Any, call: Callable[[], Any]) -> Any:
    """Make a call on a connection. If it is one of ours, open the real one behind it first: the call goes there."""
    if isinstance(connection, ReplayConnection):
        connection.real.opened()
    return outside(call)


@guarded_method
def opened_for_real(connection: ReplayConnection) -> ReplayConnection:
    """Open the real connection behind one of a replay: that of a database which the cassette does not know."""
    connection.real.opened()
    return connection
