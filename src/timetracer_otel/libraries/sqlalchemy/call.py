"""What SQLAlchemy tells the kit about a call: the engine that it goes to, and facts about a statement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.driver import known
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import belongs_to, how_many_learned, with_types
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.target import NO_FACTS, StatementFacts, Target
from timetracer_otel.libraries.sqlalchemy.internals import (
    adapter_cursor_class,
    address_of_engine,
    character_set_of,
    cursor_connection,
    driver_name,
    facts_of,
    is_closed_beneath,
    is_server_side,
    let_others_run,
    names_of_values,
    otel_span,
    pause,
    unordered_values,
    url_in_events,
)
from timetracer_otel.session import ReplaySession

__all__ = ["LIB", "EngineTarget", "note_initialized"]

LIB = "sqlalchemy"
_ASK_ABOUT_TYPES = frozenset({"psycopg", "psycopg_async", "psycopg2"})
"""Names of drivers, as dialects have them, whose users ask the server about types through them."""

_NONE_UNORDERED: frozenset[str] = frozenset()
_facts: Callable[[tuple[Any, ...]], StatementFacts] = partial(tuple.__new__, StatementFacts)
"""Makes `StatementFacts` from a tuple. The class itself would call a function written in Python."""

_lock = threading.Lock()
_first_facts: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By dialect: what it had learned when a recording saw it initialised. Later it may learn more, from statements.

Keyed by dialect and not by session: a dialect is initialised once, by whichever session opens its first connection,
and later recordings need the same facts. Weak, so that engines can go.
"""


def note_initialized(dialect: Any) -> None:
    """A recorded connection was opened; if it was the first of its engine, the dialect has just been initialised.

    Any thread may call this, while others use the dialect.
    """
    if dialect in _first_facts:
        return
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
        self.stays_in_thread = not dialect.is_async
        self._has_sets = dialect.name in ("mysql", "mariadb")
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

    @property
    def character_set(self) -> str | None:
        """The character set as the dialect knows it, or else as the recorded one did: it is asked for early."""
        session = get_current_session()
        recorded = recorded_facts(session, self) if isinstance(session, ReplaySession) else None
        return character_set_of(vars(self.dialect)) or character_set_of(recorded or {})

    def first_facts(self) -> dict[str, Any] | None:
        """What the dialect learned when it was first connected, maybe before any session."""
        return with_types(_first_facts.get(self.dialect), self.dialect)

    def facts(self) -> dict[str, Any] | None:
        """What the dialect knows of its server by now."""
        return with_types(_first_facts.get(self.dialect) or facts_of(self.dialect), self.dialect)

    def connected(self, connection: Any) -> None:
        """Note whose connection it is, where apps ask its driver about types when they set it up."""
        if self.learns_types:
            belongs_to(self.dialect.get_driver_connection(connection), self.dialect)

    @property
    def learns_types(self) -> bool:
        """Whether the driver asks the server about types for the app: psycopg and psycopg2."""
        return driver_name(self.dialect) in _ASK_ABOUT_TYPES

    @property
    def how_many_learned(self) -> int:
        """How many types the driver was told about."""
        return how_many_learned(self.dialect)

    def statement_facts(self, context: Any) -> StatementFacts:
        """What SQLAlchemy's execution context, weakly held, says of a statement: its names, its span, its cursor."""
        context = context() if context is not None else None
        if context is None:
            return NO_FACTS
        unordered = unordered_values(context) if self._has_sets else _NONE_UNORDERED
        return _facts((names_of_values(context), is_server_side(context), otel_span(context), unordered))

    def cursor_class(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> type[Any] | None:
        """The class of a cursor: the driver's, or that of the adapter of an asyncio driver."""
        if self.dialect.is_async:
            return adapter_cursor_class(self.dialect, bool(kwargs.get("server_side", args and args[0])))
        return super().cursor_class(args, kwargs)

    @property
    def cursor_attributes(self) -> Mapping[str, bool]:
        """Those of the driver. Adapters of asyncio drivers have what they have, but ask the driver for its value."""
        if not self.dialect.is_async:
            return super().cursor_attributes
        driver = known.by_package.get(driver_name(self.dialect).removesuffix("_async"))
        return {name: has for name, has in driver.cursor_attributes.items() if not has} if driver is not None else {}

    def connection_of(self, cursor: Any) -> Any:
        """The connection that a cursor belongs to."""
        return cursor_connection(cursor)

    def is_gone(self, connection: Any) -> bool:
        """Whether a connection, or the one beneath its adapter, says that it is closed."""
        return super().is_gone(connection) or is_closed_beneath(connection)

    def let_others_run(self) -> None:
        """Give other tasks a turn, where the engine is an async one."""
        let_others_run(self.dialect)

    def pause(self, seconds: float) -> None:
        """Wait, in the way of the engine: async ones give other tasks a turn."""
        pause(self.dialect, seconds)
