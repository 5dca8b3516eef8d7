"""The cursor of a replay: answers from the cassette in the way of the drivers (PEP 249).

A new call (``new_episodes``) is made on a cursor of the real connection, which gives its rows from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

from timetracer_otel.calls.flow import flow, rebuilt, run
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, Target, is_replaying, unrecorded
from timetracer_otel.libraries.kits.dbapi.recording_cursor import Fetches, RecordingCursor
from timetracer_otel.libraries.kits.dbapi.rows import RowClass, maker_of
from timetracer_otel.libraries.kits.dbapi.statements import Given, given, is_connection_setup, text_of
from timetracer_otel.libraries.kits.dbapi.values import restored, restored_row
from timetracer_otel.libraries.sqlalchemy.internals import pause
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent, RecordedError

__all__ = ["ReplayCursor"]


_UNRECORDED: Final = frozenset({"query", "results", "rownumber", "statusmessage"})
_UNRECORDED_METHODS: Final = frozenset(
    {
        "cast",
        "copy",
        "copy_expert",
        "copy_from",
        "copy_to",
        "executescript",
        "mogrify",
        "scroll",
        "set_result",
        "stream",
    }
)
"""What cursors of the drivers have besides, and a connection or more of the server's answer is needed for."""


class Column(NamedTuple):
    """One column of a description (PEP 249)."""

    name: Any
    type_code: Any = None
    display_size: Any = None
    internal_size: Any = None
    precision: Any = None
    scale: Any = None
    null_ok: Any = None


class _Answer:
    """The recorded rows of one execution, on their way to the app."""

    def __init__(self, event: DependencyEvent, session: ReplaySession, site: StatementSite) -> None:
        reply = event.result.reply
        if not isinstance(reply, dict):
            raise TypeError(f"a reply that is a {type(reply).__name__}")
        self.event = event
        self.session = session
        self._site = site
        self._error: RecordedError | None = reply.get("fetch_error")
        self._ended = bool(reply.get("ended"))
        self._at = 0
        self._times = [at_ms for _, _, at_ms in reply.get("fetches") or ()] if session.replay_timing else []
        self._batch = 0
        self._started_s = time.perf_counter()
        columns = reply.get("description")
        self._columns = None if columns is None else [Column(*map(restored, column)) for column in columns]
        self._rows = [restored_row(row) for row in reply.get("rows") or ()]
        if "row_class" in reply:
            name, fields = reply["row_class"]
            names = [column.name for column in self._columns or ()]
            self._rows = list(map(maker_of(RowClass(name, tuple(fields)), names), self._rows))
        self.gives_rows = "rows" in reply
        self.description = None if reply.get("late") else self._columns
        self.rowcount = -1 if reply.get("rowcount") is None else reply["rowcount"]
        self.final_rowcount = reply.get("final_rowcount", self.rowcount)
        self.lastrowid = restored(reply.get("lastrowid"))
        self.value = restored(reply.get("value"))
        self.returns_nothing = bool(reply.get("returns_nothing"))

    def take(self, size: int | None) -> list[Any]:
        """The next rows: ``size`` of them, fewer only where the recording saw the end; all where it is None."""
        wanted = self._rows[self._at :] if size is None else self._rows[self._at : self._at + size]
        self._wait()
        if (size is None or len(wanted) < size) and not self._ended:
            if self._error is not None:
                raise rebuilt(self._site, self.event, self.session, self._error)
            asked = "all rows" if size is None else f"{size} more"
            raise self.session.refuse(
                self.event,
                f"fetching {asked} after {self._at} rows, where the recorded app fetched {len(self._rows)} in all "
                "and never saw the end",
            )
        self._at += len(wanted)
        self.rowcount, self.description = self.final_rowcount, self._columns
        return wanted

    def _wait(self) -> None:
        if self._batch < len(self._times):
            at_ms = self._times[self._batch]
            self._batch += 1
            left_s = at_ms / 1000 - (time.perf_counter() - self._started_s)
            if left_s > 0:
                pause(self._site.target.dialect, left_s)


class ReplayCursor:
    """A cursor without a server.

    Args:
        target: The engine it belongs to.
        connection: The connection of ours that it came from, where there is one.
        raw: Whether it was asked from that connection itself, past SQLAlchemy: such calls are not recorded.
        asked: The arguments with which it was asked for.
    """

    name: Any
    server_side: bool

    def __init__(
        self, target: Target, connection: Any, raw: bool = False, asked: tuple[Any, dict[str, Any]] = ((), {})
    ) -> None:
        self.arraysize = 1
        self._target = target
        self._connection = connection
        self._raw = raw
        self._asked = asked
        self._context: Any = None
        self._answer: _Answer | RecordingCursor | None = None
        self._input_sizes: tuple[Any, ...] | None = None
        self._setup: str | None = None
        if connection is not None and connection.shows_itself:
            self.connection = connection

    def bind(self, context: Any) -> None:
        """Say which execution context the cursor was made for."""
        self._context = context

    @property
    def description(self) -> Any:
        """As recorded; None where the statement gives no rows."""
        return self._answer.description if self._answer is not None else None

    @property
    def rowcount(self) -> int:
        """As recorded."""
        return self._answer.rowcount if self._answer is not None else -1

    @property
    def lastrowid(self) -> Any:
        """As recorded."""
        return self._answer.lastrowid if self._answer is not None else None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("execute", given(args, kwargs))

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("executemany", given(args, kwargs, many=True))

    def executemany_by(self, operation: Any, parameters: Any, through: Callable[[Any], Any]) -> Any:
        """An ``executemany`` that a dialect makes in its own way: ``through`` gets the driver's cursor."""
        return self._run(Given(operation, parameters, many=True), through)

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        call = given(args, kwargs)
        return self._call("callproc", call._replace(statement=f"CALL {call.statement}") if call is not None else None)

    def fetchone(self) -> Any:
        answer = self._rows()
        if isinstance(answer, RecordingCursor):
            return answer.fetchone()
        rows = answer.take(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> Any:
        answer, size = self._rows(), size or self.arraysize
        return answer.fetchmany(size) if isinstance(answer, RecordingCursor) else answer.take(size)

    def fetchall(self) -> Any:
        answer = self._rows()
        return answer.fetchall() if isinstance(answer, RecordingCursor) else answer.take(None)

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def nextset(self) -> Any:
        return self._answer.nextset() if isinstance(self._answer, RecordingCursor) else None

    def setinputsizes(self, *args: Any, **kwargs: Any) -> None:
        self._input_sizes = (args, kwargs)

    def setoutputsize(self, *args: Any, **kwargs: Any) -> None:
        pass

    def close(self) -> None:
        if isinstance(self._answer, RecordingCursor):
            self._answer.close()
        elif self._connection is not None and self._connection.forgets:
            self._answer = None

    async def _async_soft_close(self) -> None:
        if isinstance(self._answer, RecordingCursor):
            await self._answer._async_soft_close()

    def __enter__(self) -> ReplayCursor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        answer = self.__dict__.get("_answer")
        if isinstance(answer, RecordingCursor):
            return getattr(answer, name)
        if name in _UNRECORDED_METHODS:
            return lambda *_args, **_kwargs: self._refuse(name)
        if name in _UNRECORDED:
            self._refuse(name)
        raise AttributeError(f"{name!r}: the cursor of a replay has no such attribute; it is not recorded")

    def _refuse(self, name: str) -> NoReturn:
        raise unrecorded(self._target, f"cursor.{name}")

    def _call(self, method: str, call: Given | None) -> Any:
        if call is None:
            raise TypeError(f"{method}() was given no statement, or no values for it")
        return self._run(call, lambda real: getattr(real, method)(*call.args, **call.kwargs))

    def _run(self, call: Given, live: Callable[[Any], Any]) -> Any:
        if isinstance(self._answer, RecordingCursor):
            self._answer.close()
        self._answer = self._setup = None
        text = text_of(call.statement)
        if self._raw:
            if self._connection.answers_itself(text):
                self._setup = ""
                return self
            if is_connection_setup(text):
                self._setup = text
                self._connection.set_up(text, call.statement, call.values)
                return self
        session = get_current_session()
        if not is_replaying(session):
            raise ReplayMismatchError(
                f"No replay answers this connection: {self._target.url} {text[:200]}",
                hint="the connection was opened in a replay that has ended (or is live now): open a new one.",
            )
        fetches = Fetches()
        site = StatementSite(
            self._target,
            call,
            self._context,
            self._connection,
            lambda: self._run_for_real(site, live, fetches),
            fetches,
            partial(self._rebuild, call),
            may_be_new=not self._raw,
        )
        return run(flow(site, session))

    def _rebuild(self, call: Given, event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
        answer = _Answer(event, session, site)
        if session.adds_new_calls and not self._raw:
            self._connection.real.execute(text_of(call.statement), call.statement, call.values)
        self._answer = answer
        return self if answer.value is None and not answer.returns_nothing else answer.value

    def _run_for_real(self, site: StatementSite, live: Callable[[Any], Any], fetches: Fetches) -> Any:
        args, kwargs = self._asked
        site.connection = connection = self._connection.real.opened()
        real = connection.cursor(*args, **kwargs)
        fetches.cursor = real
        if self._input_sizes is not None:
            real.setinputsizes(*self._input_sizes[0], **self._input_sizes[1])
        try:
            value = live(real)
        except Exception as error:
            if site.is_disconnect(error):
                self._connection.lose()
            real.close()
            raise
        self._answer = RecordingCursor(real, self._target, fetches)
        return self if value is real else value

    def _rows(self) -> _Answer | RecordingCursor:
        answer = self._answer
        if answer is None:
            if self._setup == "":
                return _EMPTY  # type: ignore[no-any-return]
            if self._setup is not None:
                raise ReplayMismatchError(
                    f"Nothing recorded answers this: {self._target.url} {self._setup[:200]}",
                    hint="it ran on the driver's own connection, past SQLAlchemy. Run it through a Connection.",
                )
            raise ReplayMismatchError(f"fetch before execute: {self._target.url}")
        if isinstance(answer, RecordingCursor):
            return answer
        if not answer.gives_rows:
            # sqlite3 and SQLAlchemy's adapters give no rows, the others say that there are none to give.
            if self._target.dialect.name == "sqlite" or self._target.dialect.is_async:
                return _EMPTY  # type: ignore[no-any-return]
            raise self._target.dialect.dbapi.ProgrammingError("the last operation didn't produce a result")
        return answer


class _Empty:
    description = None

    def take(self, size: int | None) -> list[Any]:
        return []


_EMPTY: Any = _Empty()
