"""The real connection behind one of a replay: there only when a new call is made for real (``new_episodes``).

Before it is opened, what the app does to the connection of the replay is noted: its settings, and what belongs to the
open transaction besides statements (savepoints). When it is opened, all of that is done to it. From then on it gets
everything at once, the end of the transaction too.

The work of replayed statements is not done again: the real database does not have their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from timetracer_otel.calls import hooks
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.owners import opening
from timetracer_otel.libraries.kits.dbapi.statements import Effect, effect_of, two_phase_name
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession

__all__ = ["RealConnection"]

Action = Callable[[Any], Any]
"""Does something to the driver's own connection. What the driver does in it is called by `outside`."""


class RealConnection:
    """What stands behind a connection of a replay. Like a connection, it is for one task or thread at a time.

    Args:
        target: The database.
        opener: Opens the connection, with all that the library does to a new one. What is the app's there is called
            by `outside`.
        connection: The driver's own connection, where it was there before the replay began.
    """

    def __init__(self, target: Target, opener: Callable[[], Any] | None = None, connection: Any = None) -> None:
        self._lib = target.lib
        self._opener = opener
        self._undoes_settings = target.undoes_settings
        self._settings: dict[Hashable, Action] = {}
        self._transaction: list[tuple[Effect, str, Action]] = []
        self._prepared_nowhere: set[str | None] = set()
        """Names of the transactions that a replay prepared while there was no real connection."""
        self.connection = connection
        """The driver's own connection; None as long as no call needed it."""
        self.session: BaseSession | None = None
        """The session in which it was opened."""

    def opened(self) -> Any:
        """The driver's own connection, opened if it is not there, in the state that the app expects.

        Raises:
            Exception: The driver's, where it cannot be opened.
        """
        if self.connection is None:
            assert self._opener is not None
            with hooks.let_out(), opening.making(self._lib):
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
        self._run(action)

    def execute(self, text: str, operation: Any, parameters: Any, *, only_setup: bool = False) -> None:
        """Do what a statement does to the connection itself, if it does anything to it.

        Called for a statement that was answered from the cassette, or (``only_setup``) that needs no answer.
        """
        effect = effect_of(text)
        if effect is Effect.PREPARES and self.connection is None:
            self._prepared_nowhere.add(two_phase_name(text))
        if effect is Effect.FINISHES and two_phase_name(text) in self._prepared_nowhere:
            self._prepared_nowhere.discard(two_phase_name(text))
            return
        action = partial(_execute, operation, parameters)
        if effect is Effect.NONE:
            if only_setup:
                self._run(action)
            return
        self._run(action)
        if effect in (Effect.ENDS, Effect.PREPARES, Effect.FINISHES):
            self.ended(committed=text.lstrip()[:8].upper() != "ROLLBACK")
        else:
            self._transaction.append((effect, text, action))

    def begins(self, action: Action) -> None:
        """The app began a transaction by a method of its own (of the two-phase commit)."""
        self._transaction.append((Effect.TRANSACTION, "", action))
        self._run(action)

    def do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the connection, if the connection is there."""
        return self._run(lambda connection: outside(getattr(connection, name), *args, **kwargs))

    def end(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Close the connection by one of its methods, if the connection is there."""
        connection = self.taken()
        if connection is not None:
            with hooks.let_out():
                outside(getattr(connection, name), *args, **kwargs)

    def ended(self, *, committed: bool) -> None:
        """The open transaction ended."""
        for effect, key, action in self._transaction:
            if effect is Effect.SETS and (committed or not self._undoes_settings):
                self._settings.pop(key, None)
                self._settings[key] = action
        self._transaction.clear()

    def taken(self) -> Any:
        """Hand the connection over to the caller; the next new call opens another one."""
        connection, self.connection, self.session = self.connection, None, None
        return connection

    def _run(self, action: Action) -> Any:
        """Do something to the connection, if it is there: a real call of the plugin's own."""
        if self.connection is None:
            return None
        with hooks.let_out():
            return action(self.connection)


def _execute(operation: Any, parameters: Any, connection: Any) -> None:
    cursor = outside(connection.cursor)
    try:
        outside(cursor.execute, *([operation] if parameters is None else [operation, parameters]))
    finally:
        outside(cursor.close)
