"""What answers in a replay for a connection of psycopg2 and its cursors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, KnownRows, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, raise_made_already
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2 import Psycopg2Connection
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2_types import recorded_rows
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, text_of
from timetracer_otel.libraries.psycopg2.copying import Copy, CopySite
from timetracer_otel.session import ReplaySession

__all__ = ["Answers", "Told", "Twin"]

extensions: Any = importlib.import_module("psycopg2.extensions")
_Connection: Final[Any] = extensions.connection
_NO_TABLE: Final = (None, None)


class Told(Fetches):
    """What one execution gave, with what cursors of psycopg2 tell besides."""

    _status: Any = None

    def opened(self, value: Any, recording: Recording) -> bool:
        """The execution returned."""
        cursor: Any = self.cursor
        self._status = cursor.statusmessage
        return super().opened(value, recording)

    def reply(self) -> dict[str, Any]:
        """The answer as the cassette holds it."""
        made = super().reply()
        made["statusmessage"] = self._status
        if self._columns is not None:
            made["tables"] = [[column.table_oid, column.table_column] for column in self._columns]
        return made


class Answers(ReplayCursor):
    """What a cursor of psycopg2's gets its answers from. The app has that cursor, and not this one."""

    _fetches_by = Told
    converting: Callable[[], object] | None = None
    """Of the statement that is being answered: see `StatementSite`."""

    def _site(self, call: CursorCall, live: Callable[[], Any], fetches: Fetches) -> StatementSite:
        site = super()._site(call, live, fetches)
        site.converting = self.converting
        return site

    def _run(self, call: CursorCall, live: Callable[[Any], Any]) -> Any:
        text, session = text_of(call.statement), get_current_session()
        rows = recorded_rows(self._target, text, call.values) if not call.many else None
        if rows is not None and isinstance(session, ReplaySession):
            # psycopg2 asks about a type. The recorded app may have registered it before the recording.
            site = self._site(call, raise_made_already, Fetches())
            if session.upcoming(site.redacted(session), hooks.whereabouts(None).path()) is None:
                self._answer = KnownRows(rows)
                return self
        return super()._run(call, live)

    def copy(self, copy: Copy) -> list[Any]:
        """Answer a ``COPY``: gives what came, as the app's file takes it."""
        self._statement = partial(CopySite, copy)
        try:
            self._run(CursorCall(copy.text), copy.with_file)
        finally:
            del self._statement
        answer = self._answer
        came = answer.event.result.reply.get("came", ()) if isinstance(answer, RecordedAnswer) else ()
        return list(map(copy.as_written, came))

    @property
    def columns(self) -> Any:
        """The description in psycopg2's own class."""
        answer, described = self._answer, super().description
        if described is None or isinstance(answer, RecordingCursor):
            return described
        tables = answer.event.result.reply.get("tables") or [_NO_TABLE] * len(described)  # type: ignore[union-attr]
        return tuple(extensions.Column(*column, *table) for column, table in zip(described, tables, strict=True))

    @property
    def status(self) -> Any:
        """What the server said of the statement, as ``statusmessage`` has it."""
        answer = self._answer
        if isinstance(answer, RecordingCursor):
            return answer.statusmessage
        return answer.event.result.reply.get("statusmessage") if answer is not None else None  # type: ignore[union-attr]

    @property
    def last_oid(self) -> int:
        """The number that the server gave the last row; 0 for none, which is what servers of today give."""
        return int(self.lastrowid or 0)

    @property
    def gives_rows(self) -> bool:
        """Whether there is something to fetch."""
        return isinstance(self._answer, RecordingCursor) or (self._answer is not None and self._answer.gives_rows)


class Twin(Psycopg2Connection):
    """What answers for a connection in a replay."""

    shows_itself = False

    def library_cursor(self, *args: Any, **kwargs: Any) -> Answers:
        """What answers for a cursor that the app asked for with these arguments."""
        return Answers(self._target, self, asked=(args, kwargs))

    @property
    def shown(self) -> Any:
        """The connection of the replay that the app has; None where the app's is a real one."""
        target: Any = self._target
        return target.shown() if target.peer is not None else None

    @property
    def state(self) -> Any:
        """As the recorded connection told it behind the last statement."""
        return None

    @state.setter
    def state(self, value: Any) -> None:
        shown, target = self.shown, self._target
        if shown is None:
            return
        status, transaction, notices, notified = value
        target.peer.follow(shown, status, transaction)  # type: ignore[attr-defined]
        for notice in notices if hasattr(shown.notices, "append") else ():
            outside(shown.notices.append, notice)
        for notify in notified if hasattr(shown.notifies, "append") else ():
            outside(shown.notifies.append, extensions.Notify(*notify))

    def as_real(self) -> None:
        """Where a statement was made for real, the shown connection has the state of the real one."""
        if self.real.connection is not None and self.shown is not None:
            self.state = self._target.state_of(self.real.connection)  # type: ignore[misc]

    def lose(self) -> None:
        """Be a connection that was lost, after an error that says so."""
        if self.shown is not None and not self.shown.closed:
            self._target.peer.hang_up(self.shown)  # type: ignore[attr-defined]

    def commit(self) -> None:
        """End the transaction."""
        self._ended(_Connection.commit)
        super().commit()

    def rollback(self) -> None:
        """End the transaction."""
        self._ended(_Connection.rollback)
        super().rollback()

    def _ended(self, end: Any) -> None:
        if self.shown is not None:
            self._target.peer.ready(self.shown)  # type: ignore[attr-defined]
            outside(end, self.shown)
