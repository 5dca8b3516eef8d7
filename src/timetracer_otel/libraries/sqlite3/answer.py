"""Cursors of sqlite3: those that are recorded, and those that answer in a replay."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.libraries.kits.dbapi.answer import NO_ROWS
from timetracer_otel.libraries.kits.dbapi.cursor_shape import shaped
from timetracer_otel.libraries.kits.dbapi.drivers.sqlite import SqliteConnection
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor, recorded_method, recorded_run
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor, replay_cursor
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, cursor_call
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession

__all__ = ["Twin", "wrapped_cursor"]


def _script(args: tuple[Any, ...], kwargs: dict[str, Any]) -> CursorCall | None:
    """A script, which is another call than a statement of the same text."""
    call = cursor_call(args, {"statement" if name == "sql_script" else name: kwargs[name] for name in kwargs})
    return call._replace(options={"script": True}, args=args, kwargs=kwargs) if call is not None else None


def _executescript(session: BaseSession, cursor: Any, *args: Any, **kwargs: Any) -> Flow | None:
    return recorded_run(session, cursor, "executescript", _script(args, kwargs))


class _RecordingCursor(RecordingCursor):
    """A cursor of sqlite3 while a session records."""

    executescript = recorded_method(
        "executescript", "Run a script of several statements, and record it.", _executescript
    )


def wrapped_cursor(wrapped: Any, target: Target) -> RecordingCursor:
    """One of sqlite3's cursors, or of a class of the app's, whose statements are recorded."""
    own: Any = type(wrapped)
    made: RecordingCursor = _class_for(own)(wrapped, target)
    return made


@lru_cache(maxsize=256)
def _class_for(own: Any) -> Any:
    return shaped(_RecordingCursor, own)


class _ReplayCursor(ReplayCursor):
    """A cursor of sqlite3 in a replay."""

    row_factory: Any = None

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """The class of cursors that it stands for: ``isinstance`` says so."""
        return self._own or type(self)

    def executescript(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a script from the cassette."""
        return self._call("executescript", _script(args, kwargs))

    def _rows(self) -> Any:
        # A statement on a closed cursor fails by its recorded event. Fetching is no call.
        self._self_check()
        # Fetching from a cursor that ran nothing is no error.
        return NO_ROWS if self._answer is None and self._setup is None else super()._rows()

    def _self_check(self) -> None:
        # Raises what sqlite3 raises where the connection is closed, or used in another thread.
        outside(getattr, self.connection, "total_changes")
        if self._closed:
            raise_for_app(self._target.dbapi.ProgrammingError("Cannot operate on a closed cursor."))


class Twin(SqliteConnection):
    """What answers for a connection in a replay."""

    cursor_class = _ReplayCursor
    shows_itself = False

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.state: Any = [False, 0]

    def library_cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor; the first argument is its class."""
        return replay_cursor(self.cursor_class, self._target, self, asked=(args, kwargs))

    def commit(self) -> None:
        """End the transaction."""
        super().commit()
        self.state = [False, self.state[1]]

    def rollback(self) -> None:
        """End the transaction."""
        super().rollback()
        self.state = [False, self.state[1]]
