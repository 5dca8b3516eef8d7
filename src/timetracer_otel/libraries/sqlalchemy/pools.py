"""Which connection a record of a pool holds: the app's real one, or one of a replay.

An engine may be used before, during and after a replay. SQLAlchemy's record has room for one connection. While a
session replays, that is one of ours, and the real one is kept aside in the record's dictionary. Where a replay opened
a real connection for new calls, the pool gets it as soon as the session is over.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakSet

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import replays
from timetracer_otel.calls.guarded import AppStep, Flow, guarded
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.sqlalchemy.call import LIB
from timetracer_otel.libraries.sqlalchemy.engines import engines
from timetracer_otel.libraries.sqlalchemy.internals import MISSING, close_connection, pool_dialect, record_pool
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["RealConnectionsBack", "close", "get_connection", "holds_ours"]

_OTHER = "_timetracer_other"
"""Key in a record's dictionary: the connection that is kept aside, with its time of start and its ``info``."""
_NO_OTHER = (None, 0, MISSING)
_holding: WeakSet[Any] = WeakSet()
"""Records that were given a connection of a replay. Weak, since records belong to their pools."""


def holds_ours(record: Any) -> None:
    """Note that a record was given a connection of a replay."""
    _holding.add(record)


class RealConnectionsBack:
    """Stands among the patches: when they are undone, records with connections of ours get their real ones back."""

    @property
    def may_rest(self) -> bool:
        """Whether no app still uses a connection of ours: without the patches, its pool would hand it out again."""
        return not any(record.in_use and isinstance(record.dbapi_connection, ReplayConnection) for record in _holding)

    def apply(self) -> None:
        """Put the attribute in; harmless when repeated."""

    def undo(self) -> None:
        """Take the attribute out; harmless when repeated."""
        for record in list(_holding):
            held = record.dbapi_connection
            if isinstance(held, ReplayConnection) and not record.in_use:
                _keep_real(record, held)
                _swap(record)
                record.__dict__.pop(_OTHER, None)
        _holding.clear()


def get_connection(original: Function) -> Function:
    """A record hands out its connection: a real one, or one of ours while a session replays."""

    def begin(session: BaseSession | None, record: Any) -> None:
        held = record.dbapi_connection
        if held is not None:
            is_ours = isinstance(held, ReplayConnection)
            if is_ours and held.real.session is not session:
                _keep_real(record, held)
            target = engines.target(pool_dialect(record_pool(record))) if isinstance(session, ReplaySession) else None
            address = None if target is None else partial(getattr, target, "address")
            if (is_ours or target is not None) and is_ours != replays(LIB, session, address):
                _swap(record)

    return guarded(LIB, original, begin, outside=True)


def _swap(record: Any) -> None:
    """Exchange the connection that a record holds for the one that is kept aside, if there is one."""
    state = record.__dict__
    other = state.pop(_OTHER, None)
    state[_OTHER] = (record.dbapi_connection, record.starttime, state.get("info", MISSING))
    state.pop("info", None)
    record.dbapi_connection, record.starttime, info = other or _NO_OTHER
    if info is not MISSING:
        state["info"] = info


def _keep_real(record: Any, held: ReplayConnection) -> None:
    """The session that opened a real connection behind ours is over: that connection is the pool's from now on."""
    connection = held.real.taken()
    if connection is None:
        return
    if record.__dict__.get(_OTHER, _NO_OTHER)[0] is None:
        record.__dict__[_OTHER] = (connection, record.starttime, record.__dict__.get("info", MISSING))
    else:
        close_connection(record, connection)


def close(original: Function) -> Function:
    """A record closes its connection: close the one that is kept aside as well."""

    def begin(_: Any, record: Any) -> Flow:
        try:
            return (yield AppStep(original, record))
        finally:
            other = record.__dict__.pop(_OTHER, None)
            if other is not None and other[0] is not None:
                close_connection(record, other[0])

    return guarded(LIB, original, begin, outside=True)
