"""The connection of a replay: it opens nothing, and takes whatever drivers, libraries and apps set on a connection.

Settings and the ends of transactions also go to the real connection behind it, where there is one. Each driver's file
(``drivers``) adds what users of that driver ask of a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor, cursor_shape, replay_cursor
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession

__all__ = ["ExecutingConnection", "ReplayConnection", "TwoPhaseConnection", "passed_on"]


class ReplayConnection(ReplayObject):
    """What the connections of all drivers have (PEP 249), without a server behind it.

    An app can set attributes of any name, and read them again.
    """

    shows_itself = True
    """Whether its cursors have it as ``connection``."""
    forgets = False
    """Whether a closed cursor says nothing more of its result."""
    is_awaited = False
    """Whether it also stands for a connection whose methods are awaited."""
    cursor_class: type[ReplayCursor] = ReplayCursor
    """The class of its cursors."""
    isolation_level: Any
    autocommit: Any
    state: Any = None
    """What the recorded connection told of itself behind the last statement (`Target.state_of`)."""
    plain_in: ReplaySession | None = None
    """The replay that is known to answer whatever the library executes on it: no call of it is live or new."""
    _is_ready = False
    _usual_cursor: type[ReplayCursor] | None = None
    """The class of a cursor that is asked for without arguments, once there was one."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        self.real = real
        """What stands behind it."""
        self.closed: Any = False
        self.broken = False
        self.notices: list[str] = []
        self.isolation_level = None
        self.autocommit = False
        self._target = target
        self._lib = target.lib

    @property
    def target(self) -> Target:
        """The database that it would be connected to."""
        return self._target

    def cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor for whoever holds the driver's connection, past the library: its statements are not recorded."""
        return replay_cursor(self.cursor_class, self._target, self, raw=True, asked=(args, kwargs))

    def library_cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor for the library, whose statements are recorded.

        Args:
            args: As the library gives them to ``cursor`` of the driver: a name puts the cursor on the server.
            kwargs: The same, by name.
        """
        if not args and not kwargs:
            return self._self_usual_cursor()
        cursor = replay_cursor(self.cursor_class, self._target, self, asked=(args, kwargs))
        if args or "name" in kwargs:
            cursor.name = args[0] if args else kwargs["name"]
        return cursor

    def cursor_like(self, shown: Any, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor for an app that uses the driver itself.

        Args:
            shown: The one that the driver's connection gives. Nothing runs on it.
            args: As for `library_cursor`.
            kwargs: The same.
        """
        return self.library_cursor(*args, **kwargs)

    def _self_usual_cursor(self) -> ReplayCursor:
        """`library_cursor` without arguments."""
        usual = self._usual_cursor
        if usual is None:
            self._usual_cursor = usual = cursor_shape(self.cursor_class, self._target, ((), {}))
        return usual(self._target, self)

    def ready(self) -> None:
        """The library has set up the new connection. What is set from now on is set on the real one as well.

        What was set before, the library sets on the real one by itself when that is opened.
        """
        self._is_ready = True

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name not in _OWN and not name.startswith("_"):
            self.tell(name, lambda connection: setattr(connection, name, value))

    def tell(self, key: Hashable, action: Callable[[Any], Any]) -> None:
        """The app sets something: the real connection gets it too, as soon as it is there."""
        if self._is_ready:
            self.real.set(key, action)

    def set_up(self, text: str, operation: Any, parameters: Any) -> None:
        """The app sets something by a statement, past the library."""
        if self._is_ready:
            self.real.execute(text, operation, parameters, only_setup=True)

    def configure(self, name: str, *args: Any, **state: Any) -> None:
        """The app calls a method of the driver's that sets something.

        Args:
            name: Of the method.
            args: Of the call.
            state: The attributes of the connection as the call leaves them.
        """
        for attribute, value in state.items():
            object.__setattr__(self, attribute, value)
        self.tell(name, lambda connection: getattr(connection, name)(*args))

    def known_rows(self, text: str, values: Any) -> Sequence[Any] | None:
        """The rows of a statement past the library that needs no recorded call; None where it needs one."""
        return None

    def lose(self) -> None:
        """The recorded connection was gone by now: so is this one."""
        self.closed = self.broken = True

    def begin(self) -> None:
        """Begin a transaction: there is nothing to begin."""

    def commit(self) -> None:
        """End the transaction; whoever answers it did so above this connection."""
        self.real.do("commit")
        self.real.ended(committed=True)

    def rollback(self) -> None:
        """End the transaction; whoever answers it did so above this connection."""
        self.real.do("rollback")
        self.real.ended(committed=False)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection, and the real one behind it if there is one."""
        self.closed = True
        self.real.end("close", *args, **kwargs)

    def terminate(self) -> None:
        """Close the connection at once, as asyncio drivers call it."""
        self.closed = True
        self.real.end("terminate")

    def ping(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a connection of a replay is always there."""
        self.real.do("ping", *args, **kwargs)

    def __enter__(self) -> ReplayConnection:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<connection of a replay: {self._target.url}>"


_OWN = frozenset({"broken", "closed", "cursor_class", "notices", "plain_in", "real", "state"})
"""Attributes about this connection itself. They are not set on the real one."""


class ExecutingConnection(ReplayConnection):
    """A connection with a method ``execute`` (no part of PEP 249), as several drivers have it."""

    def execute(self, operation: Any, parameters: Any = None, **options: Any) -> Any:
        """Run a statement on a new cursor, and give the cursor."""
        cursor = self.cursor()
        cursor.execute(operation, parameters)
        return cursor


class TwoPhaseConnection(ReplayConnection):
    """A connection with the methods of the two-phase commit (an optional extension of PEP 249)."""

    def xid(self, *parts: Any) -> tuple[Any, ...]:
        """The name of a transaction of two phases (PEP 249), from its parts."""
        return parts

    def tpc_begin(self, xid: Any) -> None:
        """Begin a transaction of two phases (PEP 249)."""
        self.real.begins(lambda connection: connection.tpc_begin(_xid(connection, xid)))

    def tpc_prepare(self) -> None:
        """Prepare the transaction of two phases (PEP 249)."""
        self.real.do("tpc_prepare")

    def tpc_commit(self, xid: Any = None) -> None:
        """Commit the transaction of two phases (PEP 249)."""
        self._end("tpc_commit", xid)

    def tpc_rollback(self, xid: Any = None) -> None:
        """Roll the transaction of two phases back (PEP 249)."""
        self._end("tpc_rollback", xid)

    def tpc_recover(self) -> Any:
        """The transactions that the server has prepared (PEP 249): asked of the real connection, or a miss."""
        if self.real.connection is None:
            raise unrecorded(self._target, "connection.tpc_recover")
        return self.real.do("tpc_recover")

    def _end(self, name: str, xid: Any) -> None:
        connection = self.real.connection
        if connection is not None:
            self.real.do(name, *(() if xid is None else (_xid(connection, xid),)))
        self.real.ended(committed=name == "tpc_commit")


def _xid(connection: Any, xid: Any) -> Any:
    """A transaction's name as the driver has it; our ``xid`` gave its parts."""
    return connection.xid(*xid) if isinstance(xid, tuple) and hasattr(connection, "xid") else xid


def passed_on(name: str) -> Callable[..., None]:
    """A method that does nothing here, and is called on the real connection as soon as that is there.

    For methods that register something: of several calls with the same name as first argument, the last one counts.
    Example: ``create_function("upper", 1, function)``, by which an app gives a database in its process a function.
    """

    def method(self: ReplayConnection, *args: Any, **kwargs: Any) -> None:
        key = (name, args[0] if args and isinstance(args[0], str) else None)
        self.tell(key, lambda connection: getattr(connection, name)(*args, **kwargs))

    method.__name__ = name
    return method
