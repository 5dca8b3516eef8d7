"""What stands in a replay beneath psycopg's own connections and cursors, and what notes rows in a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["NotedRows", "RecordedResult", "RecordedRows", "StandIn", "UnknownRows"]


class StandIn(ReplayObject):
    """Stands for libpq's connection. It sends nothing; psycopg asks it for its state.

    Args:
        target: The database.
        facts: What the recorded connection was told by its server.
        pq: The module ``psycopg.pq``.
    """

    _lib = LIB
    is_stand_in = True
    socket = -1
    pipeline_status = 0
    protocol_version = 3
    error_message = b""
    used_gssapi = ssl_in_use = needs_password = used_password = False
    password = options = b""
    notice_handler: Any = None
    notify_handler: Any = None
    _encoding = "utf-8"

    def __init__(self, target: Target, facts: Mapping[str, Any], pq: Any) -> None:
        self._target = target
        self._facts = facts
        self.status, self._closed = pq.ConnStatus.OK, pq.ConnStatus.BAD
        self.transaction_status: Any = pq.TransactionStatus.IDLE
        self.server_version = facts.get("server_version", 0)
        self.backend_pid = facts.get("backend_pid", 0)
        self.user, self.db, self.host, self.hostaddr, self.port = (
            facts.get(name, b"") for name in ("user", "db", "host", "hostaddr", "port")
        )

    @property
    def state(self) -> Any:
        """The status of the transaction, as the kit sets it behind a statement."""
        return self.transaction_status

    @state.setter
    def state(self, value: Any) -> None:
        # A statement of several results has more to tell.
        self.transaction_status = type(self.transaction_status)(value)

    def parameter_status(self, name: bytes) -> bytes | None:
        """What the server said of a parameter when the connection was opened."""
        found: bytes | None = self._facts.get("statuses", {}).get(name.decode())
        return found

    def finish(self) -> None:
        """Close it."""
        self.status = self._closed
        self.transaction_status = type(self.transaction_status).UNKNOWN

    def __getattr__(self, name: str) -> Any:
        raise unrecorded(self._target, f"connection.pgconn.{name}")


class RecordedResult:
    """Stands for a result of libpq."""

    def __init__(self, status: Any, command: bytes | None, changed: int | None, columns: Any, ntuples: int) -> None:
        self.status = status
        self.command_status = command
        self.command_tuples = changed
        self._columns = columns
        self.nfields = len(columns)
        self.ntuples = ntuples

    def fname(self, index: int) -> bytes:
        """Name of a column."""
        return self._columns[index][0]  # type: ignore[no-any-return]

    def ftype(self, index: int) -> int:
        """Its type."""
        return self._columns[index][1]  # type: ignore[no-any-return]

    def fmod(self, index: int) -> int:
        """The modifier of its type."""
        return self._columns[index][2]  # type: ignore[no-any-return]

    def fsize(self, index: int) -> int:
        """The size of its values."""
        return self._columns[index][3]  # type: ignore[no-any-return]


class RecordedRows(ReplayObject):
    """Makes rows of a recorded answer, in the place of psycopg's transformer."""

    _lib = LIB

    def __init__(self, answer: RecordedAnswer, event: DependencyEvent, session: ReplaySession) -> None:
        self._answer = answer
        self._event = event
        self._session = session

    def set_pgresult(self, *_: Any, **__: Any) -> None:
        """Nothing: the answer is known."""

    def take(self, count: int | None) -> list[Any]:
        """The next rows of a cursor on the server; all that are left where the count is None."""
        return self._answer.take(count)

    def load_row(self, position: int, make_row: Callable[[Any], Any]) -> Any:
        """One row."""
        return self.load_rows(position, position + 1, make_row)[0]

    def load_rows(self, first: int, end: int, make_row: Callable[[Any], Any]) -> list[Any]:
        """Some rows."""
        rows = self._answer.rows
        if end > len(rows):
            raise self._session.refuse(
                self._event,
                f"fetching row {len(rows) + 1}, where the recorded app fetched {len(rows)} in all",
            )
        return [outside(make_row, row) for row in rows[first:end]]


class UnknownRows(ReplayObject):
    """Stands for rows of a statement that set up a connection, and that the cassette does not have.

    Args:
        target: The database.
        text: The statement.
    """

    _lib = LIB

    def __init__(self, target: Target, text: str) -> None:
        self._target = target
        self._text = text

    def set_pgresult(self, *_: Any, **__: Any) -> None:
        """Nothing: there is none."""

    def load_row(self, *_: Any) -> NoReturn:
        """Refused."""
        raise unrecorded(self._target, f"the rows of {self._text[:200]!r}, asked when a connection was set up,")

    load_rows = load_row


class NotedRows:
    """Psycopg's transformer while a session records: what rows it makes is noted, before the app's row factory.

    Its methods are guards. The event ends when the cursor lets go of it.

    Args:
        own: The transformer.
        fetches: Notes the rows.
        on_server: Whether each result is a part of the rows.
    """

    def __init__(self, own: Any, fetches: Fetches, on_server: bool) -> None:
        self.own = own
        self._fetches = fetches
        self._on_server = on_server
        self._next = 0
        self.asked: int | None = None
        """How many rows the server is asked for; None for all."""

    def load_row(self, position: int, make_row: Callable[[Any], Any]) -> Any:
        """One row, noted."""
        rows: list[Any] = []
        made = self.own.load_row(position, _noting(rows, make_row))
        self._took("one", position, rows)
        return made

    def load_rows(self, first: int, end: int, make_row: Callable[[Any], Any]) -> Any:
        """Some rows, noted."""
        rows: list[Any] = []
        made = self.own.load_rows(first, end, _noting(rows, make_row))
        self._took("many", first, rows)
        return made

    def _took(self, how: str, position: int, rows: list[Any]) -> None:
        try:
            if not self._on_server and position != self._next:
                self._fetches.not_kept("scroll")
            self._next = position + len(rows)
            # Whether there are more, psycopg knows from the result, where that holds all of them.
            self._fetches.took(None, how, rows, self.asked if self._on_server else len(rows))
        except Exception as fault:
            self._fetches.not_kept("fetch (a fault of the recorder; see its log)")
            faults.contain(f"{LIB}.fetch", fault)

    def not_kept(self, what: str) -> None:
        """The app did something with the cursor that is not recorded."""
        self._fetches.not_kept(what)

    def end(self) -> None:
        """The cursor runs another statement, or was closed."""
        try:
            self._fetches.closed(None)
        except Exception as fault:
            faults.contain(f"{LIB}.close", fault)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def __del__(self) -> None:
        self.end()


def _noting(rows: list[Any], make_row: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def made(values: Any) -> Any:
        rows.append(tuple(values))
        return make_row(values)

    return made
