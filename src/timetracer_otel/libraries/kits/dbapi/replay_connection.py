"""The connection of a replay: opens nothing, and takes whatever drivers and dialects set on a connection.

What is set, and how transactions end, is told to the real connection behind it as well, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from timetracer_otel.libraries.kits.dbapi.call import Target
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor

__all__ = ["ReplayConnection"]


class ReplayConnection:
    """What every driver's connection has (PEP 249), without a server behind it.

    Attributes of any name can be set, and read again.
    """

    shows_itself = True
    """Whether cursors have it as ``connection``."""
    forgets = False
    """Whether a closed cursor says nothing more of its result."""
    isolation_level: Any
    autocommit: Any
    _is_made = False

    def __init__(self, target: Target, real: RealConnection) -> None:
        self.real = real
        """What stands behind it."""
        self.closed: Any = False
        self.broken = False
        self.notices: list[str] = []
        self.isolation_level = None
        self.autocommit = False
        self._target = target

    def cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor of the driver's user, not of SQLAlchemy's."""
        return ReplayCursor(self._target, self, raw=True)

    def cursor_of_engine(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor of SQLAlchemy's, asked for in the way of the driver: a name or a flag put it on the server."""
        cursor = ReplayCursor(self._target, self, asked=(args, kwargs))
        if args or "name" in kwargs:
            cursor.name = args[0] if args else kwargs["name"]
        return cursor

    def made(self) -> None:
        """What is done to it from now on is the app's doing, and done to the real one as well.

        What the pool's listeners did before, they do to the real one by themselves when that is opened.
        """
        self._is_made = True

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name not in _OWN and not name.startswith("_"):
            self.tell(name, lambda connection: setattr(connection, name, value))

    def tell(self, key: Hashable, action: Callable[[Any], Any]) -> None:
        """The app sets something: the real connection is to have it, too, as soon as it is there."""
        if self._is_made:
            self.real.set(key, action)

    def set_up(self, text: str, operation: Any, parameters: Any) -> None:
        """The app sets something by a statement, past SQLAlchemy."""
        if self._is_made:
            self.real.execute(text, operation, parameters, only_setup=True)

    def configure(self, name: str, *args: Any, **state: Any) -> None:
        """A method of the driver's that sets something: note the state that it leaves here."""
        for attribute, value in state.items():
            object.__setattr__(self, attribute, value)
        self.tell(name, lambda connection: getattr(connection, name)(*args))

    def answers_itself(self, text: str) -> bool:
        """Whether a statement on the connection itself is one whose empty answer is known."""
        return False

    def lose(self) -> None:
        """The recorded connection was gone: so is this."""
        self.closed = self.broken = True

    def begin(self) -> None:
        pass

    def commit(self) -> None:
        self.real.do("commit")
        self.real.ended(committed=True)

    def rollback(self) -> None:
        self.real.do("rollback")
        self.real.ended(committed=False)

    def close(self, *args: Any, **kwargs: Any) -> None:
        self.closed = True
        self.real.end("close", *args, **kwargs)

    def terminate(self) -> None:
        self.closed = True
        self.real.end("terminate")

    def ping(self, *args: Any, **kwargs: Any) -> None:
        self.real.do("ping", *args, **kwargs)

    def __enter__(self) -> ReplayConnection:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<connection of a replay: {self._target.url}>"


_OWN = frozenset({"broken", "closed", "notices", "real"})
"""Attributes that say something of this connection, not of the one behind it."""
