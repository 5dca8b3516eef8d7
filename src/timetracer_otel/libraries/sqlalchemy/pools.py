"""Which connection a pool's record holds: the app's own, or one of a replay.

A record holds one. While a session replays it is one of ours, and the other is put aside; where a replay opened a
real connection for new calls, that is the pool's as soon as the session is over.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from timetracer_otel.base.patching import Function
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.kits.dbapi.call import is_replaying
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.sqlalchemy.engines import engines
from timetracer_otel.libraries.sqlalchemy.internals import MISSING, pool_dialect, record_pool
from timetracer_otel.session import ReplaySession

__all__ = ["RealConnectionsBack", "close", "get_connection", "holds_ours"]

_OTHER = "_timetracer_other"
_NO_OTHER = (None, 0, MISSING)
_holding: WeakSet[Any] = WeakSet()
"""Connection records that had a connection of ours."""


def holds_ours(record: Any) -> None:
    """Note that a record was given a connection of a replay."""
    _holding.add(record)


class RealConnectionsBack:
    """When the seams go: pools that hold connections of ours have their real ones again, or none."""

    def apply(self) -> None:
        pass

    def undo(self) -> None:
        for record in list(_holding):
            held = record.dbapi_connection
            if isinstance(held, ReplayConnection) and not record.in_use:
                _keep_real(record, held)
                _swap(record)
                record.__dict__.pop(_OTHER, None)
        _holding.clear()


def get_connection(original: Function) -> Function:
    def replacement(self: Any) -> Any:
        held = self.dbapi_connection
        if held is not None:
            is_ours = isinstance(held, ReplayConnection)
            session = get_current_session()
            if is_ours and held.real.session is not session:
                _keep_real(self, held)
            if (
                is_ours
                or (
                    isinstance(session, ReplaySession) and engines.target(pool_dialect(record_pool(self))) is not None
                )
            ) and is_ours != is_replaying(session):
                _swap(self)
        return original(self)

    return replacement


def _swap(record: Any) -> None:
    """Put the record's connection aside, and take out the other one where there is one: real or ours."""
    state = record.__dict__
    other = state.pop(_OTHER, None)
    state[_OTHER] = (record.dbapi_connection, record.starttime, state.get("info", MISSING))
    state.pop("info", None)
    record.dbapi_connection, record.starttime, info = other or _NO_OTHER
    if info is not MISSING:
        state["info"] = info


def _keep_real(record: Any, held: ReplayConnection) -> None:
    """The session that opened a real connection is over: it is the pool's from now on."""
    connection = held.real.taken()
    if connection is None:
        return
    if record.__dict__.get(_OTHER, _NO_OTHER)[0] is None:
        record.__dict__[_OTHER] = (connection, record.starttime, record.__dict__.get("info", MISSING))
    else:
        record_pool(record)._close_connection(connection)


def close(original: Function) -> Function:
    def replacement(self: Any) -> Any:
        try:
            return original(self)
        finally:
            other = self.__dict__.pop(_OTHER, None)
            if other is not None and other[0] is not None:
                record_pool(self)._close_connection(other[0])

    return replacement
