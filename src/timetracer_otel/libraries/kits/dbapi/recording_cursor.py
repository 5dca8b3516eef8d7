"""The driver's own cursor while a session records: every call reaches it, and what it answers is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import wrapt

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import flow, run
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.answer import Fetches
from timetracer_otel.libraries.kits.dbapi.call import StatementSite
from timetracer_otel.libraries.kits.dbapi.cursor_shape import shaped
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["RecordingCursor", "recording_cursor"]


class RecordingCursor(wrapt.ObjectProxy):  # type: ignore[misc,type-arg,unused-ignore]
    """Stands for a driver's cursor, with its class, attributes and methods.

    Connections stay the driver's own objects. Cursors are wrapped, since drivers written in C insist on their own
    class of connections in more places than on their own class of cursors.

    Args:
        wrapped: The cursor.
        target: The database.
        fetches: Notes the answer of the statement that the cursor ran already; None where it ran none.
    """

    def __init__(self, wrapped: Any, target: Target, fetches: Fetches | None = None) -> None:
        super().__init__(wrapped)
        # A name that begins with `_self_` is the proxy's own; every other one is the cursor's.
        self._self_target = target
        self._self_context: Any = None
        self._self_fetches = fetches

    def _self_bind(self, context: Any) -> None:
        """Say what the cursor was made for; `Target.statement_facts` gets it."""
        self._self_context = context

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run one statement (PEP 249), and record it."""
        return self._self_run(cursor_call(args, kwargs), self.__wrapped__.execute, args, kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """Run one statement with many sets of values (PEP 249), and record it."""
        return self._self_run(cursor_call(args, kwargs, many=True), self.__wrapped__.executemany, args, kwargs)

    def _self_executemany_by(self, operation: Any, parameters: Any, through: Callable[[Any], Any]) -> Any:
        """An ``executemany`` that the library makes in its own way: ``through`` gets the driver's cursor."""
        call = CursorCall(operation, parameters, many=True, args=(self.__wrapped__,))
        return self._self_run(call, through, call.args, {})

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        """Call a stored procedure (PEP 249), and record it."""
        call = cursor_call(args, kwargs)
        named = call._replace(statement=f"CALL {call.statement}") if call is not None else None
        return self._self_run(named, self.__wrapped__.callproc, args, kwargs)

    def fetchone(self, *args: Any, **kwargs: Any) -> Any:
        """The next row, or None (PEP 249); it is noted."""
        row = self._self_fetch(self.__wrapped__.fetchone, *args, **kwargs)
        self._self_took("one", [] if row is None else [row], 1)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """The next rows (PEP 249); they are noted."""
        rows = self._self_fetch(self.__wrapped__.fetchmany, *args, **kwargs)
        size = args[0] if args else kwargs.get("size")
        self._self_took("many", rows, size or getattr(self.__wrapped__, "arraysize", 1))
        return rows

    def fetchall(self, *args: Any, **kwargs: Any) -> Any:
        """All rows that are left (PEP 249); they are noted."""
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
        """Go to the next set of rows (PEP 249), which is noted for itself."""
        self._self_not_kept("nextset")
        return self.__wrapped__.nextset(*args, **kwargs)

    def scroll(self, *args: Any, **kwargs: Any) -> Any:
        """Move in the set of rows; what is fetched from then on is noted as out of order."""
        self._self_not_kept("scroll")
        return self.__wrapped__.scroll(*args, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the driver's cursor; nothing more is noted."""
        self._self_end()
        return self.__wrapped__.close(*args, **kwargs)

    def __del__(self) -> None:
        # Half-read, and let go by the app: nothing more will be fetched.
        if getattr(self, "_self_fetches", None) is not None:
            self._self_end()

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        self._self_end()
        return self.__wrapped__.__exit__(*error)

    def _self_run(
        self, call: CursorCall | None, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        self._self_end()
        session = get_current_session()
        if call is not None:
            args, kwargs = call.args, call.kwargs
        if session is None or call is None:
            return self._self_same(method(*args, **kwargs))
        wrapped, target = self.__wrapped__, self._self_target
        fetches = Fetches(wrapped)
        site = StatementSite(
            target,
            call,
            self._self_context,
            target.connection_of(wrapped),
            partial(method, *args, **kwargs),
            fetches,
            _refuse,
            may_be_new=True,
        )
        self._self_fetches = fetches
        return self._self_same(run(flow(site, session)))

    def _self_same(self, value: Any) -> Any:
        """A driver that returns its cursor from ``execute``: the app gets this one instead."""
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
                faults.contain(f"{self._self_target.lib}.fetch", fault)
            raise

    def _self_took(self, how: str, rows: Any, asked: int | None) -> None:
        try:
            if self._self_fetches is not None:
                self._self_fetches.took(self.__wrapped__, how, rows, asked)
        except Exception as fault:
            self._self_not_kept("fetch (a fault of the recorder; see its log)")
            faults.contain(f"{self._self_target.lib}.fetch", fault)

    def _self_not_kept(self, what: str) -> None:
        if self._self_fetches is not None:
            self._self_fetches.not_kept(what)

    def _self_end(self) -> None:
        fetches, self._self_fetches = self._self_fetches, None
        try:
            if fetches is not None:
                fetches.closed(self.__wrapped__)
        except Exception as fault:
            faults.contain(f"{self._self_target.lib}.close", fault)


def recording_cursor(wrapped: Any, target: Target, fetches: Fetches | None = None) -> RecordingCursor:
    """A `RecordingCursor` that has no method which the driver's cursor has not."""
    own: Any = type(wrapped)
    made: RecordingCursor = _class_for(own)(wrapped, target, fetches)
    return made


# Asked for each statement: one argument is looked up faster than those of `shaped`.
@lru_cache(maxsize=256)
def _class_for(own: Any) -> Any:
    return shaped(RecordingCursor, own)


def _refuse(event: DependencyEvent, session: ReplaySession, site: StatementSite) -> Any:
    raise session.refuse(event, "the cursor was made for a real connection, before this replay began")
