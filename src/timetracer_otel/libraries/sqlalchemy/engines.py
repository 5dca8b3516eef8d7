"""The engines of this process, and which of them take part."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from timetracer_otel.libraries.kits.dbapi.call import Target
from timetracer_otel.libraries.sqlalchemy.internals import has_identity, target_of

__all__ = ["engines"]


class Engines:
    """The engines of this process, and which of them take part. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: WeakKeyDictionary[Any, Target] = WeakKeyDictionary()
        self._only: WeakSet[Any] = WeakSet()
        self.on_recorded_facts: WeakSet[Any] = WeakSet()
        """Dialects that were initialised from a cassette, not by a server."""

    def select(self, engine: Any | None) -> None:
        """Let one more engine take part, and no others; None: every engine."""
        with self._lock:
            if engine is None:
                self._only.clear()
            else:
                self._only.add(engine.dialect)

    def leave_out(self, engine: Any) -> bool:
        """Let an engine that was selected take part no more; gives whether any selected one is left."""
        with self._lock:
            self._only.discard(engine.dialect)
            return bool(self._only)

    def met(self, engine: Any) -> None:
        """Note an engine that is asked for a connection."""
        dialect = engine.dialect
        known = self._targets.get(dialect)
        if known is None or known.engine_url is not engine.url:
            with self._lock:
                self._targets[dialect] = Target(dialect, engine.url, target_of(dialect, engine.url))

    def target(self, dialect: Any) -> Target | None:
        """What a dialect's engine is called; None where it takes no part."""
        found = self._targets.get(dialect)
        if found is None:
            if not has_identity(dialect):
                return None
            with self._lock:
                found = self._targets.setdefault(dialect, Target(dialect, None, target_of(dialect, None)))
        return None if self._only and dialect not in self._only else found


engines = Engines()
