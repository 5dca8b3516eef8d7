"""The engines of this process, and which of them are recorded and replayed."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakSet

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import replays
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.sqlalchemy.call import LIB, EngineTarget
from timetracer_otel.libraries.sqlalchemy.internals import has_identity

__all__ = ["engines"]

_TARGET = "_timetracer_target"
"""Key in a dialect's dictionary: its `EngineTarget`."""


class Engines:
    """The engines of this process, by their dialects: each engine has one, and pools know no more than that.

    An engine lives as long as the app wants it, across sessions: nothing here keeps it. So the sets are weak, and a
    dialect holds its `EngineTarget` itself: that refers to the dialect, so even a weak map would keep both for ever.
    Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._only: WeakSet[Any] = WeakSet()
        self.on_recorded_facts: WeakSet[Any] = WeakSet()
        """Dialects that were initialised from a cassette and not by a server."""

    def select(self, engine: Any | None) -> None:
        """Let an engine take part, and no others but those that were given before.

        None: let every engine take part.
        """
        with self._lock:
            if engine is None:
                self._only.clear()
            else:
                self._only.add(engine.dialect)

    def leave_out(self, engine: Any) -> bool:
        """Let an engine that was selected no longer take part.

        Returns:
            Whether any other one is selected.
        """
        with self._lock:
            self._only.discard(engine.dialect)
            return bool(self._only)

    def met(self, engine: Any) -> None:
        """An engine is asked for a connection: note its URL."""
        dialect = engine.dialect
        known = dialect.__dict__.get(_TARGET)
        if known is None or known.engine_url is not engine.url:
            found = self._made(dialect, engine.url)
            if found is not None:
                dialect.__dict__[_TARGET] = found

    def target(self, dialect: Any) -> EngineTarget | None:
        """The engine of a dialect, for the kit; None where it does not take part."""
        found: EngineTarget | None = dialect.__dict__.get(_TARGET)
        if found is None:
            if not has_identity(dialect):
                return None
            made = self._made(dialect, None)
            if made is None:
                return None
            found = dialect.__dict__.setdefault(_TARGET, made)
        return None if self._only and dialect not in self._only else found

    def _made(self, dialect: Any, url: Any) -> EngineTarget | None:
        """None for a dialect that lacks what those of SQLAlchemy have, outside a replay: it is used as without us."""
        try:
            return EngineTarget(dialect, url)
        except Exception as fault:
            if replays(LIB, get_current_session()):
                # Without it, the app's statements would go to the real database.
                raise
            faults.contain("sqlalchemy.engine", fault)
            return None


engines = Engines()
