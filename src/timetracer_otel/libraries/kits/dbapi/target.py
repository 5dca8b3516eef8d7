"""What a library tells the kit: facts about the database that it calls, and about one statement that it runs.

The kit knows the cursors and connections of PEP 249. Everything else differs between libraries that stand on them: an
ORM knows the names of bound values, an asyncio adapter waits in its own way. A library states that in a subclass of
`Target`, and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from opentelemetry import trace

from timetracer_otel.libraries.kits.dbapi.driver import known
from timetracer_otel.session import BaseSession, TraceSession

__all__ = ["NO_FACTS", "StatementFacts", "Target"]


class StatementFacts(NamedTuple):
    """What only the library knows about one statement, besides the arguments of the cursor's method."""

    names: tuple[str, ...] = ()
    """Names of the bound values, where the driver gets them by position; empty where they are not known."""
    on_server: bool = False
    """Whether the rows stay on the server until they are fetched."""
    span: trace.Span | None = None
    """OpenTelemetry's span for the statement, where that is not the current one while the statement runs."""
    unordered: frozenset[str] = frozenset()
    """Names of bound values that are lists with commas between items of no order, made from a set of the app's."""


NO_FACTS = StatementFacts()


class Target:
    """The database that a call goes to. The defaults are those of a driver that blocks and is used directly.

    Args:
        lib: Name of the plugin, as in the mock and live lists.
        url: What events call the database: a call is matched by it.
        dbapi: The driver's module (PEP 249), or what stands for it; it has the classes of errors.
        database: Name of the database, where it is known.

    Attributes:
        driver: Top-level package of the driver.
    """

    undoes_settings = False
    """Whether a rollback undoes the settings that were made in its transaction, as it does in PostgreSQL."""
    stays_in_thread = True
    """Whether the driver makes its calls in the thread that asks for them. Those of asyncio may have threads."""
    told: tuple[Callable[[], object], int] | None = None
    """The recording that was told the facts last, weakly held, and how much was learned by then: most calls ask no
    further."""
    refuses_empty_fetch = True
    """Whether fetching is an error after a statement that gives no rows; otherwise the app gets none."""
    known_above: Callable[[TraceSession], Mapping[str, Any]] | None = None
    """Gives what a library above the driver asked the server once, before this recording, as plain data: a replay has
    no server to ask.
    """
    state_of: Callable[[Any], Any] | None = None
    """Gives what a connection tells of itself behind each statement, as plain data, where the app may ask for it."""
    process: int | None = None
    """The number of the server's process for this connection of a replay, where the recording has it."""

    def __init__(self, lib: str, url: str, dbapi: Any, database: str | None = None) -> None:
        self.lib = lib
        self.url = url
        self.dbapi = dbapi
        self.database = database
        module = getattr(getattr(dbapi, "Error", None), "__module__", None) or ""
        self.driver = module.partition(".")[0]

    @property
    def address(self) -> str | None:
        """A URL with the host and port that connections go to (``unix://`` and a path for a socket), for the setting
        ``live_hosts``; None where there is no host.
        """
        return self.url

    def takes_part(self, session: BaseSession | None) -> bool:
        """Whether a session notes or answers calls to it. False of what is no dependency: the process's own."""
        return True

    @property
    def owner(self) -> Any:
        """The object that learns from the server, which may have several targets in its life; needs a hash."""
        return self

    @property
    def error_packages(self) -> Collection[str]:
        """Top-level packages whose errors a call may raise, and which a replay may make again."""
        return (self.driver,)

    @property
    def server_version(self) -> tuple[int, ...] | None:
        """The server's version; None as long as the library has not learned it."""
        return None

    @property
    def character_set(self) -> str | None:
        """The character set of the connection to the server; None as long as the library has not learned it."""
        return None

    def first_facts(self) -> dict[str, Any] | None:
        """What the library learned about the server when its first recorded connection was opened; None before that.

        A replay needs it in the place of the server. Values are plain data.
        """
        return None

    def facts(self) -> dict[str, Any] | None:
        """The same; where nothing was recorded then, what the library knows by now."""
        return self.first_facts()

    @property
    def how_many_learned(self) -> int:
        """How much was learned besides, after the first connection. A recording holds it as soon as an event can."""
        return 0

    def statement_facts(self, context: Any) -> StatementFacts:
        """The facts about one statement.

        Args:
            context: What the library gave to `bind` of the cursor; None where it gave nothing.
        """
        return NO_FACTS

    def cursor_class(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> type[Any] | None:
        """The class of the cursor that a connection gives for these arguments; None where it is not known.

        A replay has no such cursor, and its own has the attributes of that class.
        """
        driver = known.by_package.get(self.driver)
        found = driver.cursor_class(self.dbapi, args, kwargs) if driver is not None else None
        return found if isinstance(found, type) else None

    @property
    def cursor_attributes(self) -> Mapping[str, bool]:
        """Attributes in which the driver's cursors differ from their class, and whether the cursors have them."""
        driver = known.by_package.get(self.driver)
        return driver.cursor_attributes if driver is not None else {}

    def process_of(self, connection: Any) -> int | None:
        """The number of the server's process for a connection, where apps name that process by it."""
        return None

    def connected(self, connection: Any) -> None:
        """A real connection was opened, which nobody has set up yet."""

    def connection_of(self, cursor: Any) -> Any:
        """The connection of one of the driver's cursors; None where the cursor does not tell."""
        return getattr(cursor, "connection", None)

    def is_gone(self, connection: Any) -> bool:
        """Whether a connection says of itself that it is closed. Nobody else is asked: an app may have something to
        say about which errors mean a lost connection, and is asked that once.
        """
        return bool(getattr(connection, "closed", False) or getattr(connection, "broken", False))

    def let_others_run(self) -> None:
        """Called when a call is answered from the cassette: beneath asyncio, let other tasks run once."""

    def pause(self, seconds: float) -> Any:
        """Wait in the way of the library's calls: block, or give an awaitable where they are awaited."""
        time.sleep(seconds)
