"""What SQLAlchemy tells the kit about a call: the engine that it goes to, and facts about a statement."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel.libraries.kits.dbapi.target import NO_FACTS, StatementFacts, Target
from timetracer_otel.libraries.sqlalchemy.internals import (
    address_of_engine,
    cursor_connection,
    facts_of,
    is_server_side,
    let_others_run,
    names_of_values,
    otel_span,
    pause,
    url_in_events,
)

__all__ = ["LIB", "EngineTarget", "note_initialized"]

LIB = "sqlalchemy"

_lock = threading.Lock()
_first_facts: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By dialect: what it had learned when a recording saw it initialised. Later it may learn more, from statements.

Keyed by dialect and not by session: a dialect is initialised once, by whichever session opens its first connection,
and later recordings need the same facts. Weak, so that engines can go.
"""


def note_initialized(dialect: Any) -> None:
    """A recorded connection was opened; if it was the first of its engine, the dialect has just been initialised."""
    facts = facts_of(dialect)
    if facts is not None:
        with _lock:
            _first_facts.setdefault(dialect, facts)


class EngineTarget(Target):
    """An engine.

    Args:
        dialect: Of the engine.
        engine_url: Of the engine; None where only the dialect is known.
    """

    def __init__(self, dialect: Any, engine_url: Any) -> None:
        database = engine_url.database if engine_url is not None else None
        super().__init__(LIB, url_in_events(dialect, engine_url), dialect.dbapi, database)
        self.dialect = dialect
        self.engine_url = engine_url
        self.undoes_settings = dialect.name == "postgresql"
        # SQLAlchemy's asyncio adapters give no rows; so does sqlite3.
        self.refuses_empty_fetch = not (dialect.name == "sqlite" or dialect.is_async)

    @property
    def address(self) -> str | None:
        """The engine's host and port."""
        return None if self.engine_url is None else address_of_engine(self.dialect, self.engine_url)

    @property
    def owner(self) -> Any:
        """The dialect: what is remembered of an engine lives as long as it."""
        return self.dialect

    @property
    def error_packages(self) -> Collection[str]:
        """Packages whose errors the dialect may raise: the driver's."""
        return (self.driver, "sqlalchemy")

    @property
    def server_version(self) -> tuple[int, ...] | None:
        """The version of the server, as the dialect knows it."""
        return getattr(self.dialect, "server_version_info", None)

    def first_facts(self) -> dict[str, Any] | None:
        """What the dialect learned when it was first connected, maybe before any session."""
        return _first_facts.get(self.dialect)

    def facts(self) -> dict[str, Any] | None:
        """What the dialect knows of its server by now."""
        return _first_facts.get(self.dialect) or facts_of(self.dialect)

    def statement_facts(self, context: Any) -> StatementFacts:
        """What SQLAlchemy's execution context says of a statement: its names, its span, its cursor."""
        if context is None:
            return NO_FACTS
        return StatementFacts(names_of_values(context), is_server_side(context), otel_span(context))

    def connection_of(self, cursor: Any) -> Any:
        """The connection that a cursor belongs to."""
        return cursor_connection(cursor)

    def is_disconnect(self, error: Exception, connection: Any) -> bool:
        """Whether the dialect takes an error for a lost connection."""
        base = getattr(self.dbapi, "Error", ())
        return isinstance(error, base) and bool(self.dialect.is_disconnect(error, connection, None))

    def let_others_run(self) -> None:
        """Give other tasks a turn, where the engine is an async one."""
        let_others_run(self.dialect)

    def pause(self, seconds: float) -> None:
        """Wait, in the way of the engine: async ones give other tasks a turn."""
        pause(self.dialect, seconds)
