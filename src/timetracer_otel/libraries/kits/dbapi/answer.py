"""The answer of one execution: noted while a session records, and given to the app in a replay.

Both sides of the form that an answer has in a cassette (``reply`` of an event) stand here: `Fetches` writes it,
`RecordedAnswer` reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from timetracer_otel.calls.flow import Recording, Site, rebuilt
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.kits.dbapi.errors import record_error
from timetracer_otel.libraries.kits.dbapi.rows import TUPLES, RowClass, UnknownRowsError, as_tuples, maker_of
from timetracer_otel.libraries.kits.dbapi.values import PLAIN, plain, restored, restored_rows
from timetracer_otel.session import ReplaySession
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import DependencyEvent, RecordedError

__all__ = ["NO_ROWS", "Fetches", "KnownRows", "RecordedAnswer", "may_fail"]

_RETURNED = frozenset({int, str, list, tuple})
"""What drivers return from ``execute`` and its like, where they return neither the cursor nor None."""


_USUAL_FACTS = len(("rowcount", "description", "rows", "fetches", "ended"))
"""How many facts an answer with rows has at least."""


class Column(NamedTuple):
    """One column of a description (PEP 249)."""

    name: Any
    type_code: Any = None
    display_size: Any = None
    internal_size: Any = None
    precision: Any = None
    scale: Any = None
    null_ok: Any = None


_COLUMN_LENGTH = len(Column._fields)


_made_column: Callable[[Any], Column] = partial(tuple.__new__, Column)
"""Makes a `Column` of as many values. The class itself would call a function written in Python."""


def _described(columns: Any) -> list[Column]:
    """A description as a cassette holds it."""
    if PLAIN.issuperset(map(type, chain.from_iterable(columns))) and {*map(len, columns)} == {_COLUMN_LENGTH}:
        return list(map(_made_column, columns))
    return [Column(*map(restored, column)) for column in columns]


class Fetches:
    """What one execution gave while a session records: description, counts, and the rows as the app fetched them."""

    # The defaults stand in the class: an object is made for each statement, and most of them set few.
    _recording: Recording | None = None
    _columns: list[Any] | None = None
    """The columns as the driver describes them. To read one may call the driver for each item."""
    _rowcount: Any = None
    _final_rowcount: Any = None
    _lastrowid: Any = None
    _value: Any = None
    _returns_nothing = False
    _row_class: RowClass | None = None
    _ended = False
    _error: RecordedError | None = None
    _late = False
    _not_kept = False
    _moves: list[Any] | None = None
    """Each ``scroll``: how many rows were fetched before it, whether the last one was seen, its arguments, and what
    it raised."""
    state: Any = None
    """What the connection told of itself behind the statement (`Target.state_of`)."""
    refused_row: tuple[Any, ...] | None = None
    """The row at which fetching raised, where something of the app's made the rows, and may have raised."""
    unread: Any = None
    """The description as the driver gave it to us, until the library reads it."""

    def __init__(self, cursor: Any = None) -> None:
        self.cursor = cursor
        """The driver's cursor while it runs the statement; None from then on. A recording lives longer than the app
        wants the cursor, and an open cursor keeps its table from being dropped."""
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[tuple[str, int, float]] = []

    def opened(self, value: Any, recording: Recording) -> bool:
        """The execution returned; True where the app may fetch rows now."""
        cursor, self.cursor = self.cursor, None
        self._recording = recording
        self._rowcount = _int_or_none(getattr(cursor, "rowcount", None))
        self._lastrowid = getattr(cursor, "lastrowid", None)
        self._value = plain(value) if type(value) in _RETURNED else None
        self._returns_nothing = value is None
        self.unread = self._describe(cursor)
        if self._columns is None:
            # A cursor with a name stands on the server. Some drivers learn its columns only with the first rows.
            self._late = bool(getattr(cursor, "name", None))
            if not self._late:
                # It ends now. The recording has the call, which has this object: no circle is left behind.
                self._recording = None
                return False
        return True

    def took(self, cursor: Any, how: str, rows: Any, asked: int | None) -> None:
        """The app fetched rows; ``asked`` is how many it asked for, None where it asked for all."""
        recording = self._recording
        if recording is None or recording.ended_s is not None:
            return
        if self._columns is None:
            self._describe(cursor)
        if self._not_kept:
            return
        try:
            kept, size_bytes = self._as_tuples(rows) if rows else (rows, 0)
        except UnknownRowsError as reason:
            self._keep_none(recording, str(reason))
            return
        limits, size_bytes = recording.session.limits, size_bytes + PIECE_BYTES * len(kept)
        # The same as `BodyLimits.take`, without a function call.
        left_bytes = limits.left_bytes - size_bytes
        if left_bytes >= 0:
            limits.left_bytes = left_bytes
        elif not limits.take(size_bytes):
            limit_kb = recording.session.config.max_session_kb
            self._keep_none(recording, f"its rows had no room left under TIMETRACER_MAX_SESSION_KB={limit_kb}")
            return
        self._rows += kept
        recording.latest_s = now_s = time.perf_counter()
        self._batches.append((how, len(rows), (now_s - recording.started_s) * 1000))
        if asked is None or len(rows) < asked:
            self._ended = True

    def _as_tuples(self, rows: Any) -> tuple[list[tuple[Any, ...]], int]:
        row_class, kept, size_bytes = as_tuples(rows, self._columns or ())
        if self._row_class not in (None, row_class):
            raise UnknownRowsError(f"some of its rows are of {row_class.name}, and some are not")
        self._row_class = row_class
        return kept, size_bytes

    def _keep_none(self, recording: Recording, reason: str) -> None:
        self._not_kept = True
        self._rows, self._batches = [], []
        recording.not_replayable = reason

    def _describe(self, cursor: Any) -> Any:
        description = getattr(cursor, "description", None)
        if description is not None:
            self._columns = list(description)
        return description

    def _described(self) -> list[tuple[Any, ...]] | None:
        if self._columns is None:
            return None
        return [tuple(map(plain, _items_of(column))) for column in self._columns]

    def failed(self, error: BaseException) -> None:
        """Fetching raised."""
        if self._recording is not None and self._recording.ended_s is None:
            self._error = record_error(error)

    def moved(self, value: Any, mode: Any, error: BaseException | None) -> None:
        """The app moved in the set of rows, or tried to."""
        if self._recording is not None and self._recording.ended_s is None:
            if self._moves is None:
                self._moves = []
            raised = record_error(error) if error is not None else None
            self._moves.append([len(self._rows), self._ended, plain(value), plain(mode), raised])
            self._ended = False

    def not_kept(self, what: str) -> None:
        """The app did something with the cursor that is not recorded."""
        if self._recording is not None and self._recording.ended_s is None:
            self._recording.not_replayable = f"cursor.{what} is not recorded"

    def closed(self, cursor: Any) -> None:
        """The cursor was closed, ran another statement, or was let go by the app: the event ends."""
        recording = self._recording
        if recording is None or recording.ended_s is not None:
            return
        if self._columns is not None or self._late:
            self._final_rowcount = _int_or_none(getattr(cursor, "rowcount", None))
        # The recording has the call, which has this object. Python frees a circle only when it looks for circles.
        self._recording = None
        # An app may let a cursor go long after it has read the rows.
        recording.close(recording.latest_s)

    def reply(self) -> dict[str, Any]:
        """The answer as the cassette holds it."""
        made: dict[str, Any] = {"rowcount": self._rowcount}
        if self._lastrowid is not None:
            made["lastrowid"] = plain(self._lastrowid)
        if self._value is not None:
            made["value"] = self._value
        elif self._returns_nothing:
            made["returns_nothing"] = True
        if self._late:
            made["late"] = True
        if self.state is not None:
            made["state"] = self.state
        if self._columns is not None or self._late:
            made["description"] = self._described()
            # As lists: a tuple is an extension type of the format, and most of what is recorded may be rows.
            made["rows"] = list(map(list, self._rows))
            made["fetches"] = list(self._batches)
            made["ended"] = self._ended
            if self._row_class is not None and self._row_class != TUPLES:
                made["row_class"] = list(self._row_class)
            if self._final_rowcount is not None and self._final_rowcount != self._rowcount:
                made["final_rowcount"] = self._final_rowcount
            if self._error is not None:
                made["fetch_error"] = self._error
            if self.refused_row is not None:
                # Among the rows, where its secrets are found.
                made["rows"].append(list(self.refused_row))
                made["refused"] = True
            if self._moves is not None:
                made["moves"] = list(self._moves)
        return made


def _items_of(column: Any) -> Sequence[Any]:
    """What a description says of a column."""
    if type(column) is tuple:
        return column[:_COLUMN_LENGTH]
    try:
        # psycopg's column is asked for each of its items by several functions in Python, and once for a slice.
        return tuple(column[:_COLUMN_LENGTH])
    except (TypeError, LookupError):
        return tuple(column)[:_COLUMN_LENGTH]


def may_fail(event: DependencyEvent) -> bool:
    """Whether fetching from a recorded answer may raise what the driver raised, or the answer is no answer."""
    reply = event.result.reply
    return type(reply) is not dict or "fetch_error" in reply or "moves" in reply


class RecordedAnswer:
    """The recorded answer of one execution, from which the app fetches in a replay.

    Args:
        event: Holds the answer.
        session: The replay.
        site: The call that is answered; it makes errors again, and waits. It may be None where there is neither an
            error of a fetch (`may_fail`) nor a need to wait.
    """

    # The defaults stand in the class, since an object is made for each statement.
    lastrowid: Any = None
    value: Any = None
    state: Any = None
    returns_nothing = False
    _ended = gives_rows = False
    _columns: list[Column] | None = None
    _rows: Sequence[Any] = ()
    _batch = _position = _moved = 0
    _moves: Sequence[Any] = ()
    _started_s = 0.0
    _times: Sequence[float] = ()
    refused_row: tuple[Any, ...] | None = None
    """The row at which fetching raised, where something of the app's made the rows, and may have raised."""
    make: Callable[[tuple[Any, ...]], Any] = tuple
    """Makes a row as the app wants it, of the values of such a row."""

    def __init__(self, event: DependencyEvent, session: ReplaySession, site: Site | None) -> None:
        reply = event.result.reply
        if not isinstance(reply, dict):
            raise TypeError(f"a reply that is a {type(reply).__name__}")
        self.event = event
        self.session = session
        self._site = site
        if session.replay_timing:
            self._times = [at_ms for _, _, at_ms in reply.get("fetches") or ()]
            self._started_s = time.perf_counter()
        if "rows" in reply:
            self.gives_rows = True
            self._ended = bool(reply.get("ended"))
            columns, rows = reply.get("description"), reply["rows"]
            if columns is not None:
                self._columns = _described(columns)
            if rows:
                self._rows = restored_rows(rows)
                if "refused" in reply:
                    *self._rows, self.refused_row = self._rows
            if "row_class" in reply:
                name, fields = reply["row_class"]
                names = [column.name for column in self._columns or ()]
                self._rows = list(map(maker_of(RowClass(name, tuple(fields)), names), self._rows))
        self.description = None if reply.get("late") else self._columns
        rowcount = reply.get("rowcount")
        self.rowcount = rowcount = -1 if rowcount is None else rowcount
        self.final_rowcount = reply.get("final_rowcount", rowcount)
        if len(reply) > _USUAL_FACTS or not self.gives_rows:
            if "moves" in reply:
                self._moves = reply["moves"]
            if "lastrowid" in reply:
                self.lastrowid = restored(reply["lastrowid"])
            if "value" in reply:
                self.value = restored(reply["value"])
            if "state" in reply:
                self.state = reply["state"]
            if "returns_nothing" in reply:
                self.returns_nothing = bool(reply["returns_nothing"])

    @property
    def rows(self) -> Sequence[Any]:
        """All rows that the recorded app fetched."""
        return self._rows

    def take(self, size: int | None) -> list[Any]:
        """The next ``size`` rows, all of them where it is None. Fewer come only where the recording saw the last row.

        Raises:
            ReplayMismatchError: The recorded app did not fetch that many, and there may have been more.
        """
        first, rows, ended = self._position, self._rows, self._ended
        if self._moved < len(self._moves):
            # What follows the next `scroll` is not fetched before it.
            end, ended, *_ = self._moves[self._moved]
            rows = rows[:end]
        wanted = list(rows[first:] if size is None else rows[first : first + size])
        if self._times:
            self._wait()
        if (size is None or len(wanted) < size) and not ended:
            error: RecordedError | None = self.event.result.reply.get("fetch_error")
            if error is not None:
                assert self._site is not None
                if self.refused_row is not None:
                    self.make(self.refused_row)
                raise_for_app(rebuilt(self._site, self.event, self.session, error))
            asked = "all rows" if size is None else f"{size} more"
            raise self.session.refuse(
                self.event,
                f"fetching {asked} after {self._position} rows, where the recorded app fetched {len(self._rows)} in "
                "all and never saw the end",
            )
        self._position += len(wanted)
        self.rowcount, self.description = self.final_rowcount, self._columns
        return wanted

    def scroll(self, value: Any, mode: Any) -> None:
        """Move in the set of rows as the recorded app did.

        Raises:
            ReplayMismatchError: The recorded app did not move so, there.
        """
        move = self._moves[self._moved] if self._moved < len(self._moves) else None
        if move is None or [self._position, value, mode] != [move[0], restored(move[2]), restored(move[3])]:
            raise self.session.refuse(
                self.event,
                f"scroll({value!r}, {mode!r}) after {self._position} rows, where the recorded app did not do so",
            )
        self._moved += 1
        if move[4] is not None:
            assert self._site is not None
            raise_for_app(rebuilt(self._site, self.event, self.session, move[4]))

    def _wait(self) -> None:
        """Where answers are to take as long as they did: wait until the recorded app had this batch of rows."""
        if self._batch < len(self._times):
            at_ms = self._times[self._batch]
            self._batch += 1
            left_s = at_ms / 1000 - (time.perf_counter() - self._started_s)
            if left_s > 0:
                assert self._site is not None
                self._site.pause(left_s)


class KnownRows:
    """Stands for the answer of a statement whose rows are known without a recorded call.

    Args:
        rows: All of them.
    """

    description: Any = None
    lastrowid: Any = None
    gives_rows = True

    def __init__(self, rows: Sequence[Any] = ()) -> None:
        self.rowcount = len(rows)
        self._rows = list(rows)

    def take(self, size: int | None) -> list[Any]:
        """The next ``size`` rows, all that are left where it is None."""
        count = len(self._rows) if size is None else size
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken


NO_ROWS = KnownRows()
"""The answer of a statement that gives no rows, where fetching is no error."""


def _int_or_none(value: Any) -> int | None:
    return value if type(value) is int else None
