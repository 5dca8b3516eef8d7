"""The driver's own cursor while a session records: every call goes through, and what it says is noted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import wrapt

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Recording, flow, run
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.kits.dbapi import errors
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, Target
from timetracer_otel.libraries.kits.dbapi.rows import TUPLES, RowClass, UnknownRowsError, as_tuples
from timetracer_otel.libraries.kits.dbapi.statements import Given, given
from timetracer_otel.libraries.kits.dbapi.values import plain
from timetracer_otel.session import ReplaySession
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import DependencyEvent, RecordedError

__all__ = ["Fetches", "RecordingCursor"]

_COLUMN_LENGTH = 7
_SIZED = frozenset({bytes, str})
_RETURNED = frozenset({int, str, list, tuple})
"""What drivers return from ``execute`` and its like, where that is neither the cursor nor None."""
_VALUE_BYTES = 32
"""What a value that is neither text nor bytes takes, about."""


class Fetches:
    """What one execution gave: description, counts, and the rows as the app fetched them."""

    def __init__(self, cursor: Any = None) -> None:
        self.cursor = cursor
        """The driver's cursor, as long as it has something to say."""
        self._recording: Recording | None = None
        self._description: list[tuple[Any, ...]] | None = None
        self._rowcount: Any = None
        self._final_rowcount: Any = None
        self._lastrowid: Any = None
        self._value: Any = None
        self._returns_nothing = False
        self._rows: list[tuple[Any, ...]] = []
        self._row_class: RowClass | None = None
        self._batches: list[tuple[str, int, float]] = []
        self._ended = False
        self._error: RecordedError | None = None
        self._late = False
        self._not_kept = False

    def opened(self, value: Any, recording: Recording) -> bool:
        """The execution returned; True where there may be rows to come."""
        cursor = self.cursor
        self._recording = recording
        self._rowcount = _number(getattr(cursor, "rowcount", None))
        self._lastrowid = getattr(cursor, "lastrowid", None)
        self._value = plain(value) if type(value) in _RETURNED else None
        self._returns_nothing = value is None
        self._describe()
        if self._description is None:
            # psycopg2 knows the columns of a cursor on the server when the first rows have come.
            self._late = bool(getattr(cursor, "name", None))
            if not self._late:
                self.cursor = None
        return self.cursor is not None

    def took(self, how: str, rows: Any, asked: int | None) -> None:
        """The app fetched rows; ``asked`` is how many, None where it wanted all."""
        recording = self._recording
        if recording is None or recording.ended_s is not None:
            return
        if self._description is None:
            self._describe()
        if self._not_kept:
            return
        try:
            kept = self._as_tuples(rows) if rows else []
        except UnknownRowsError as reason:
            self._keep_none(recording, str(reason))
            return
        if not recording.session.limits.take(sum(map(_size_bytes, kept))):
            limit_kb = recording.session.config.max_session_kb
            self._keep_none(recording, f"its rows had no room left under TIMETRACER_MAX_SESSION_KB={limit_kb}")
            return
        self._rows += kept
        self._batches.append((how, len(rows), (time.perf_counter() - recording.started_s) * 1000))
        if asked is None or len(rows) < asked:
            self._ended = True

    def _as_tuples(self, rows: Any) -> list[tuple[Any, ...]]:
        row_class, kept = as_tuples(rows, [column[0] for column in self._description or ()])
        if self._row_class not in (None, row_class):
            raise UnknownRowsError(f"some of its rows are of {row_class.name}, and some are not")
        self._row_class = row_class
        return kept

    def _keep_none(self, recording: Recording, reason: str) -> None:
        self._not_kept = True
        self._rows, self._batches = [], []
        recording.not_replayable = reason

    def _describe(self) -> None:
        description = getattr(self.cursor, "description", None)
        if description is not None:
            self._description = [tuple(map(plain, tuple(column)[:_COLUMN_LENGTH])) for column in description]

    def failed(self, error: BaseException) -> None:
        """Fetching raised."""
        if self._recording is not None and self._recording.ended_s is None:
            self._error = errors.record_error(error)

    def not_kept(self, what: str) -> None:
        """The app did something with the cursor that is not recorded."""
        if self._recording is not None and self._recording.ended_s is None:
            self._recording.not_replayable = f"cursor.{what} is not recorded"

    def closed(self) -> None:
        """The cursor was closed, or ran another statement."""
        recording, cursor = self._recording, self.cursor
        if recording is None or recording.ended_s is not None:
            return
        if cursor is not None:
            self._final_rowcount = _number(getattr(cursor, "rowcount", None))
            self.cursor = None
        recording.close()

    def reply(self) -> dict[str, Any]:
        """All of it, for the cassette."""
        made: dict[str, Any] = {"rowcount": self._rowcount}
        if self._lastrowid is not None:
            made["lastrowid"] = plain(self._lastrowid)
        if self._value is not None:
            made["value"] = self._value
        elif self._returns_nothing:
            made["returns_nothing"] = True
        if self._late:
            made["late"] = True
        if self._description is not None or self._late:
            made["description"] = self._description
            made["rows"] = list(self._rows)
            made["fetches"] = list(self._batches)
            made["ended"] = self._ended
            if self._row_class is not None and self._row_class != TUPLES:
                made["row_class"] = list(self._row_class)
            if self._final_rowcount is not None and self._final_rowcount != self._rowcount:
                made["final_rowcount"] = self._final_rowcount
            if self._error is not None:
                made["fetch_error"] = self._error
        return made


class RecordingCursor(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """Stands for a driver's cursor, with its class, attributes and methods.

    Args:
        wrapped: The cursor.
        target: The engine it belongs to.
        fetches: What is noted of the statement that it ran already.
    """

    def __init__(self, wrapped: Any, target: Target, fetches: Fetches | None = None) -> None:
        super().__init__(wrapped)
        self._self_target = target
        self._self_context: Any = None
        self._self_fetches = fetches

    def bind(self, context: Any) -> None:
        """Say which execution context the cursor was made for."""
        self._self_context = context

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_run(given(args, kwargs), self.__wrapped__.execute, args, kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_run(given(args, kwargs, many=True), self.__wrapped__.executemany, args, kwargs)

    def executemany_by(self, operation: Any, parameters: Any, through: Callable[[Any], Any]) -> Any:
        """An ``executemany`` that a dialect makes in its own way: ``through`` gets the driver's cursor."""
        call = Given(operation, parameters, many=True, args=(self.__wrapped__,))
        return self._self_run(call, through, call.args, {})

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        call = given(args, kwargs)
        named = call._replace(statement=f"CALL {call.statement}") if call is not None else None
        return self._self_run(named, self.__wrapped__.callproc, args, kwargs)

    def fetchone(self, *args: Any, **kwargs: Any) -> Any:
        row = self._self_fetch(self.__wrapped__.fetchone, *args, **kwargs)
        self._self_took("one", [] if row is None else [row], 1)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        rows = self._self_fetch(self.__wrapped__.fetchmany, *args, **kwargs)
        size = args[0] if args else kwargs.get("size")
        self._self_took("many", rows, size or getattr(self.__wrapped__, "arraysize", 1))
        return rows

    def fetchall(self, *args: Any, **kwargs: Any) -> Any:
        rows = self._self_fetch(self.__wrapped__.fetchall, *args, **kwargs)
        self._self_took("all", rows, None)
        return rows

    def __iter__(self) -> Iterator[Any]:
        rows = iter(self.__wrapped__)
        while True:
            try:
                row = self._self_fetch(next, rows)
            except StopIteration:
                self._self_took("one", [], 1)
                return
            self._self_took("one", [row], 1)
            yield row

    def __next__(self) -> Any:
        try:
            row = self._self_fetch(next, self.__wrapped__)
        except StopIteration:
            self._self_took("one", [], 1)
            raise
        self._self_took("one", [row], 1)
        return row

    def nextset(self, *args: Any, **kwargs: Any) -> Any:
        self._self_not_kept("nextset")
        return self.__wrapped__.nextset(*args, **kwargs)

    def scroll(self, *args: Any, **kwargs: Any) -> Any:
        self._self_not_kept("scroll")
        return self.__wrapped__.scroll(*args, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        self._self_end()
        return self.__wrapped__.close(*args, **kwargs)

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        self._self_end()
        return self.__wrapped__.__exit__(*error)

    def _self_run(
        self, call: Given | None, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        self._self_end()
        session = get_current_session()
        if call is not None:
            args, kwargs = call.args, call.kwargs
        if session is None or call is None:
            return self._self_same(method(*args, **kwargs))
        wrapped = self.__wrapped__
        fetches = Fetches(wrapped)
        site = StatementSite(
            self._self_target,
            call,
            self._self_context,
            getattr(wrapped, "connection", None) or getattr(wrapped, "_adapt_connection", None),
            partial(method, *args, **kwargs),
            fetches,
            _refuse,
            may_be_new=True,
        )
        self._self_fetches = fetches
        return self._self_same(run(flow(site, session)))

    def _self_same(self, value: Any) -> Any:
        """Drivers return the cursor from ``execute``: that is this one."""
        return self if value is self.__wrapped__ else value

    def _self_fetch(self, fetch: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return fetch(*args, **kwargs)
        except StopIteration:
            raise
        except BaseException as error:
            try:
                if self._self_fetches is not None:
                    self._self_fetches.failed(error)
            except Exception as fault:
                faults.contain("sqlalchemy.fetch", fault)
            raise

    def _self_took(self, how: str, rows: Any, asked: int | None) -> None:
        try:
            if self._self_fetches is not None:
                self._self_fetches.took(how, rows, asked)
        except Exception as fault:
            self._self_not_kept("fetch (a fault of the recorder; see its log)")
            faults.contain("sqlalchemy.fetch", fault)

    def _self_not_kept(self, what: str) -> None:
        if self._self_fetches is not None:
            self._self_fetches.not_kept(what)

    def _self_end(self) -> None:
        fetches, self._self_fetches = self._self_fetches, None
        try:
            if fetches is not None:
                fetches.closed()
        except Exception as fault:
            faults.contain("sqlalchemy.close", fault)


def _refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    raise session.refuse(event, "the cursor was made for a real connection, before this replay began")


def _size_bytes(row: tuple[Any, ...]) -> int:
    return PIECE_BYTES + sum(len(value) if type(value) in _SIZED else _VALUE_BYTES for value in row)


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
