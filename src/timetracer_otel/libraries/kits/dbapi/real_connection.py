"""The real connection behind one of a replay: there only when a new call is made for real (``new_episodes``).

Until it is opened, what the app does to the connection of the replay is noted, so that the real one is set up in the
same way when it is there: its settings, and what the transaction under way consists of besides its statements
(savepoints). From then on it gets all of that at once, and the transaction's end as well.

What replayed statements did is not done: the real database does not have their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.kits.dbapi.statements import Effect, effect_of, two_phase_name
from timetracer_otel.session import BaseSession

__all__ = ["RealConnection"]

Action = Callable[[Any], Any]


class RealConnection:
    """What stands behind a connection of a replay. Like a connection, for one task or thread at a time.

    Args:
        dialect: Of the engine.
        opener: Opens it, with all that the pool's listeners do to a new connection.
        connection: The driver's own connection, where it was there before the replay began.
    """

    def __init__(self, dialect: Any, opener: Callable[[], Any] | None = None, connection: Any = None) -> None:
        self._opener = opener
        # PostgreSQL undoes settings with the transaction that they were made in, others keep them.
        self._keeps_settings = dialect.name != "postgresql"
        self._settings: dict[Hashable, Action] = {}
        self._transaction: list[tuple[Effect, str, Action]] = []
        self._prepared_nowhere: set[str | None] = set()
        """Names of transactions that a replay prepared while there was no real connection."""
        self.connection = connection
        """The driver's own connection; None as long as no call needed it."""
        self.session: BaseSession | None = None
        """The session in which it was opened."""

    def opened(self) -> Any:
        """The driver's own connection, opened if it is not there, and brought to where the app thinks it is.

        Raises:
            Exception: The driver's, where it cannot be opened.
        """
        if self.connection is None:
            assert self._opener is not None
            connection = self._opener()
            try:
                for action in (*self._settings.values(), *(action for _, _, action in self._transaction)):
                    action(connection)
            except BaseException:
                connection.close()
                raise
            self.connection, self.session = connection, get_current_session()
        return self.connection

    def set(self, key: Hashable, action: Action) -> None:
        """The app set something on its connection; the last action of a key counts."""
        self._settings.pop(key, None)
        self._settings[key] = action
        if self.connection is not None:
            action(self.connection)

    def execute(self, text: str, operation: Any, parameters: Any, *, only_setup: bool = False) -> None:
        """A statement was answered from the cassette, or (``only_setup``) needs no answer: do what it does to the
        connection itself, if it does that.
        """
        effect = effect_of(text)
        if effect is Effect.PREPARES and self.connection is None:
            self._prepared_nowhere.add(two_phase_name(text))
        if effect is Effect.FINISHES and two_phase_name(text) in self._prepared_nowhere:
            self._prepared_nowhere.discard(two_phase_name(text))
            return
        if effect is Effect.NONE:
            if only_setup and self.connection is not None:
                _run(operation, parameters, self.connection)
            return
        action = partial(_run, operation, parameters)
        if self.connection is not None:
            action(self.connection)
        if effect in (Effect.ENDS, Effect.PREPARES, Effect.FINISHES):
            self.ended(committed=text.lstrip()[:8].upper() != "ROLLBACK")
        else:
            self._transaction.append((effect, text, action))

    def begins(self, action: Action) -> None:
        """The app began a transaction by a method of its own (of two phases)."""
        self._transaction.append((Effect.TRANSACTION, "", action))
        if self.connection is not None:
            action(self.connection)

    def do(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the connection, if it is there."""
        if self.connection is not None:
            getattr(self.connection, name)(*args, **kwargs)

    def end(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Close the connection by a method of its own, if it is there."""
        connection = self.taken()
        if connection is not None:
            getattr(connection, name)(*args, **kwargs)

    def ended(self, *, committed: bool) -> None:
        """The transaction under way ended."""
        for effect, key, action in self._transaction:
            if effect is Effect.SETS and (committed or self._keeps_settings):
                self._settings.pop(key, None)
                self._settings[key] = action
        self._transaction.clear()

    def taken(self) -> Any:
        """Hand the connection over to the caller; the next new call opens another one."""
        connection, self.connection, self.session = self.connection, None, None
        return connection


def _run(operation: Any, parameters: Any, connection: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(operation) if parameters is None else cursor.execute(operation, parameters)
    finally:
        cursor.close()
