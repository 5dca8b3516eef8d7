"""What MySQL's drivers tell the kit about a call: the server that a connection goes to, and one statement."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from timetracer_otel.calls.flow import Recording
from timetracer_otel.libraries.kits.dbapi.answer import Fetches
from timetracer_otel.libraries.kits.dbapi.call import PlainSite, StatementSite
from timetracer_otel.libraries.kits.dbapi.direct import Held
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, text_of
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.kits.mysql.answer import ResultFacts
from timetracer_otel.libraries.kits.mysql.wire import Wire

__all__ = ["Execution", "KnownEnd", "MySQLHeld", "ServerTarget"]

_LOADS_FILE: Final = re.compile(r"\s*LOAD\s+(?:DATA|XML)\s+(?:\w+\s+)?LOCAL\b", re.IGNORECASE)
_RESULT: Final = "result"
"""The option of a call that reads a further result of a statement: its number."""


class ServerTarget(Target):
    """A database of MySQL or MariaDB, over one connection.

    Args:
        lib: The plugin.
        dbapi: The driver.
        host: Of the server; None or ``localhost`` where it is a socket.
        port: The same.
        socket: The file of the socket; None where there is none.
        database: Its name; None where the app chose none.
        is_open: Whether a connection is open.
        is_async: Whether the driver waits as asyncio does.
    """

    def __init__(
        self,
        lib: str,
        dbapi: Any,
        host: Any,
        port: Any,
        socket: Any,
        database: Any,
        is_open: Callable[[Any], bool],
        *,
        is_async: bool = False,
    ) -> None:
        name = database.decode() if isinstance(database, bytes) else str(database or "")
        # A file of a socket, and a port of a test's server, differ from run to run.
        super().__init__(lib, f"mysql://{host or 'localhost'}/{name}", dbapi, name)
        self._address = f"unix://{socket}" if socket else f"mysql://{host or 'localhost'}:{port}"
        self._is_open = is_open
        self._is_async = is_async
        self._facts: dict[str, Any] | None = None

    @property
    def address(self) -> str | None:
        """Host and port, or the file of the socket."""
        return self._address

    def first_facts(self) -> dict[str, Any] | None:
        """What the connection was told when it was opened."""
        return self._facts

    def learned(self, facts: dict[str, Any]) -> None:
        """Keep what the driver knows of the server by now."""
        self._facts = facts

    def is_gone(self, connection: Any) -> bool:
        """Whether a connection says of itself that it is closed."""
        return connection is not None and not self._is_open(connection)

    def pause(self, seconds: float) -> Any:
        """Wait in the way of the driver's calls."""
        if self._is_async:
            return asyncio.sleep(seconds)
        super().pause(seconds)
        return None


class MySQLHeld(Held):
    """What is noted of one connection.

    Args:
        target: The database.
        wire: What stands for its socket in a replay; None for a connection to a server.
        stands_in: Whether it is a connection of a replay.
    """

    __slots__ = ("last", "lost", "now", "open", "part", "results", "said", "told", "waiting", "wire")

    def __init__(self, target: ServerTarget, wire: Wire | None, *, stands_in: bool) -> None:
        super().__init__(target, lambda: ReplayConnection(target, RealConnection(target)), stands_in=stands_in)
        self.wire = wire
        self.said: CursorCall | None = None
        """What the app has asked a cursor, as long as that lasts: the connection gets it as one text."""
        self.part = 0
        """How many statements a cursor has made of what it was asked."""
        self.last: CursorCall | None = None
        """The last statement."""
        self.results = 0
        """How many results of it were read."""
        self.open: tuple[Any, Fetches] | None = None
        """The result whose rows are read one by one, and what notes them."""
        self.now: Any = None
        """The recorded result that a replay has put in place, where the driver keeps none itself."""
        self.lost = False
        """Whether a recorded error said that the server is gone, where the driver leaves the connection open."""
        self.told: list[Any] | None = None
        """What is noted of the last result besides its rows."""
        self.waiting: Any = None
        """Notes the result of a statement that was sent, once the driver asks for it."""

    def call_of(self, sql: Any) -> CursorCall:
        """The call that a statement is: of the cursor's arguments, or of the text where no cursor was asked."""
        said, text = self.said, bytes(sql) if isinstance(sql, bytearray) else sql
        if said is None:
            return CursorCall(text)
        self.part += 1
        # A bulk INSERT that is too long is sent in parts.
        return said if self.part == 1 else CursorCall(said.statement, options={"part": self.part})

    def has_result(self, call: CursorCall, may_follow: bool) -> None:
        """A result of a call is there. Until then, results of the statement before it may be read.

        Args:
            call: The call.
            may_follow: Whether further results may follow. Otherwise its values, which may be many, are let go.
        """
        if _RESULT not in call.options:
            self.last, self.results = (call, 1) if may_follow else (None, 0)

    def next_call(self) -> CursorCall | None:
        """The same for the next result of that statement; None where that was not seen."""
        if self.last is None:
            return None
        self.results += 1
        return self.last._replace(options={**self.last.options, _RESULT: self.results})

    def let_go(self) -> None:
        """The event of the rows that are read one by one ends."""
        if self.open is not None:
            fetches = self.open[1]
            self.open = None
            fetches.closed(None)


class KnownEnd(PlainSite):
    """The end of a transaction in a replay, which makes no new one."""

    def again(self) -> bool:
        """False."""
        return False


class Execution(StatementSite):
    """One statement that a connection sends.

    Args:
        held: What is noted of the connection.
        connection: The app's; in a replay, what closes it where the recorded one was lost.
        call: What it is matched by.
        live: Sends it for real, and reads its first result.
        rebuild: Puts a recorded result in place.
        result: Gives the result, once it was read; None for a call that leaves none.
        opened: Notes the rows of the result, in the event's `Fetches`.
    """

    def __init__(
        self,
        held: MySQLHeld,
        connection: Any,
        call: CursorCall,
        live: Any,
        rebuild: Any,
        result: Callable[[], ResultFacts | None] | None = None,
        opened: Callable[[Fetches], object] | None = None,
    ) -> None:
        super().__init__(
            held.target,
            call,
            None,
            connection,
            live,
            Fetches(),
            rebuild,
            may_be_new=False,
            transaction=held.transactions.current,
        )
        self._result, self._opened = result, opened
        self._sends_file = _LOADS_FILE.match(text_of(call.statement)) is not None

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note the result."""
        fetches, opened = self.fetches, self._opened
        fetches.cursor = self._result() if self._result is not None else None
        if self._sends_file:
            recording.not_replayable = "LOAD DATA LOCAL sends a file, which is not recorded"
        super().returned(value, recording)
        if opened is not None:
            opened(fetches)
        return value

    def let_go(self) -> None:
        """Forget the connection."""
        super().let_go()
        self._result = self._opened = None
