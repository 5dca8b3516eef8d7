"""The class of the connections that an app opens: derived of sqlite3's own, or of the class that the app asks for.

sqlite3's is written in C, and its methods cannot be replaced. ``connect`` takes a class to make the connection of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final
from weakref import ref

from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, only
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.direct import (
    Held,
    begin_cursor,
    begin_end,
    begin_shortcut,
    held_by,
    refused,
)
from timetracer_otel.libraries.kits.dbapi.owners import HELD
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.sqlite3.answer import Twin, wrapped_cursor
from timetracer_otel.libraries.sqlite3.call import LIB, FileTarget
from timetracer_otel.libraries.sqlite3.internals import ENDS_BY_ITSELF
from timetracer_otel.session import BaseSession
from timetracer_otel.types import DependencyEvent

__all__ = ["NotedConnection", "class_of", "hold"]

_Connection: Final = sqlite3.Connection
_SETTINGS: Final = tuple(
    name
    for name in ("autocommit", "isolation_level", "row_factory", "text_factory")
    if hasattr(_Connection, name)  # `autocommit` came with Python 3.12
)
_TOLD: Final = ("in_transaction", "total_changes")
"""What a connection tells of itself, in the order of `FileTarget.state_of`."""
_REGISTERING: Final = (
    *("create_aggregate", "create_collation", "create_function", "create_window_function", "enable_load_extension"),
    *("set_progress_handler", "set_trace_callback"),
)
"""What an app gives its connection. A replay calls none of it, but may open a real connection later."""
_UNRECORDED: Final = ("backup", "blobopen", "deserialize", "iterdump", "load_extension", "serialize")
"""What reads or writes the database past its cursors."""


class _ExitSite(PlainSite):
    """The end of a transaction where a connection is left as a context manager; that gives False."""

    def returned(self, value: Any, recording: Recording) -> Any:
        super().returned(None, recording)
        return value

    def rebuild(self, event: DependencyEvent | None, session: Any) -> Any:
        super().rebuild(event, session)
        return False


def _end(method: str) -> Any:
    original = getattr(_Connection, method.lower())

    def begin(session: BaseSession | None, connection: Any) -> Flow | None:
        return begin_end(method, PlainSite, AppStep(original, connection), session, connection)

    return guarded(LIB, original, begin, outside=True)


def _leave(session: BaseSession | None, connection: Any, *error: Any) -> Flow | None:
    method = "COMMIT" if not any(error) else "ROLLBACK"
    return begin_end(method, _ExitSite, AppStep(_Connection.__exit__, connection, *error), session, connection)


def _shortcut(name: str) -> Any:
    return guarded(
        LIB,
        getattr(_Connection, name),
        partial(begin_shortcut, name, lambda own: NotedConnection.cursor(own)),
        outside=True,
    )


def _unrecorded(name: str) -> Any:
    def begin(session: BaseSession | None, connection: Any, *_: Any, **__: Any) -> Flow | None:
        return refused(f"connection.{name}", session, connection)

    return guarded(LIB, getattr(_Connection, name), begin, outside=True)


def _registering(name: str) -> Any:
    original = getattr(_Connection, name)

    def begin(_: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
        held = held_by(connection)
        if held is None or not held.stands_in:
            return None
        return both(
            AppStep(original, connection, *args, **kwargs), AppStep(getattr(held.twin, name), *args, **kwargs)
        )

    def both(shown: AppStep, behind: AppStep) -> Flow:
        yield shown
        yield behind

    return guarded(LIB, original, begin, outside=True)


def _authorize(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
    held = held_by(connection)
    if held is None or not held.stands_in:
        return None
    # The stand-in keeps its own.
    twin: Any = held.twin
    twin.set_authorizer(*args, **kwargs)
    return Done(None)


def _close(session: BaseSession | None, connection: Any) -> Flow | None:
    held = held_by(connection)
    twin = held.known_twin if held is not None and held.stands_in else None
    return None if twin is None else _both_closed(connection, twin)


def _both_closed(connection: Any, twin: Any) -> Flow:
    yield AppStep(_Connection.close, connection)
    yield AppStep(twin.close)


def _told(name: str, place: int) -> property:
    """What a connection tells of itself; in a replay, as the recorded one did behind the last statement."""
    own: Any = getattr(_Connection, name)

    def begin(session: BaseSession | None, connection: Any) -> Flow | None:
        held = held_by(connection)
        if held is None or not held.replays(session):
            return None
        real = held.twin.real.connection
        return recorded(connection, held.twin.state[place]) if real is None else only(AppStep(getattr, real, name))

    def recorded(connection: Any, value: Any) -> Flow:
        # It raises where the connection is closed, or is used in another thread.
        yield AppStep(own.__get__, connection)
        return value

    return property(guarded(LIB, own.__get__, begin, outside=True))


def _set(name: str) -> property:
    """What an app sets on its connection. The real one behind a connection of a replay gets it, too."""
    own: Any = getattr(_Connection, name)

    def begin(_: BaseSession | None, connection: Any, value: Any) -> Flow | None:
        held = held_by(connection)
        return both(held.twin, connection, value) if held is not None and held.stands_in else None

    def both(twin: Any, connection: Any, value: Any) -> Flow:
        yield AppStep(own.__set__, connection, value)
        yield AppStep(setattr, twin, name, value)

    return property(own.__get__, guarded(LIB, own.__set__, begin, outside=True))


class NotedConnection(sqlite3.Connection):
    """A connection whose statements are recorded, or answered in a replay. Its methods are guards."""

    __slots__ = (HELD, "__weakref__")


def _complete(cls: Any) -> None:
    made: dict[str, Any] = {
        "cursor": guarded(LIB, _Connection.cursor, partial(begin_cursor, _Connection.cursor), outside=True),
        "close": guarded(LIB, _Connection.close, _close, outside=True),
        "set_authorizer": guarded(LIB, _Connection.set_authorizer, _authorize, outside=True),
        **{name.lower(): _end(name) for name in ("COMMIT", "ROLLBACK")},
    }
    made |= {name: _shortcut(name) for name in ("execute", "executemany", "executescript")}
    made |= {name: _unrecorded(name) for name in _UNRECORDED if hasattr(_Connection, name)}
    made |= {name: _registering(name) for name in _REGISTERING if hasattr(_Connection, name)}
    if ENDS_BY_ITSELF:
        made["__exit__"] = guarded(LIB, _Connection.__exit__, _leave, outside=True)
    for place, name in enumerate(_TOLD):
        setattr(cls, name, _told(name, place))
    for name in _SETTINGS:
        setattr(cls, name, _set(name))
    for name, method in made.items():
        method.__name__ = name
        setattr(cls, name, method)


_complete(NotedConnection)


@lru_cache(maxsize=256)
def class_of(asked: type[Any]) -> type[Any] | None:
    """The class of connections to make where an app asks for one; None where none can be derived of it."""
    bases = (NotedConnection,) if asked is _Connection else (asked, NotedConnection)
    names = {"__module__": asked.__module__, "__qualname__": asked.__qualname__, "__slots__": ()}
    try:
        return type(asked.__name__, bases, names)
    except TypeError:
        # Its slots are in the way.
        return None


def hold(target: FileTarget, opens: Callable[[], Any], connection: Any, stands_in: bool) -> Held:
    """Note whose a new connection is.

    Args:
        target: The database.
        opens: Opens a real one.
        connection: The new one.
        stands_in: Whether it is one of a replay, with nothing behind it.
    """
    of = ref(connection)
    held = Held(target, lambda: Twin(target, _behind(of, opens, stands_in)), wrapped_cursor, stands_in=stands_in)
    setattr(connection, HELD, held)
    if stands_in:
        _Connection.set_authorizer(connection, _only_transactions)
    return held


def _behind(of: Any, opens: Callable[[], Any], stands_in: bool) -> RealConnection:
    """What stands behind a connection in a replay that makes new calls."""
    target = held_by(of()).target  # type: ignore[union-attr]
    if not stands_in:
        # Its own methods, beneath ours.
        return RealConnection(target, connection=super(NotedConnection, of()))
    return RealConnection(target, lambda: _with_settings(opens(), of()))


def _with_settings(connection: Any, shown: Any) -> Any:
    for name in _SETTINGS if shown is not None else ():
        setattr(connection, name, getattr(shown, name))
    return connection


def _only_transactions(action: int, *_: Any) -> int:
    """Nothing runs on a stand-in: a statement that reaches it went past its methods."""
    return sqlite3.SQLITE_OK if action == _TRANSACTION else sqlite3.SQLITE_DENY


_TRANSACTION: Final = 22
"""SQLITE_TRANSACTION: to set the isolation level may end a transaction, of which there is none."""
