"""What stands in a replay beneath psycopg's own connections and cursors, and what notes an answer in a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from timetracer_otel.calls.flow import Recording
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.noting import looked
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.exceptions import TimetracerError
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.errors import record_error
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.psycopg.call import LIB, statuses_of
from timetracer_otel.libraries.psycopg.internals import encoding_of, notification
from timetracer_otel.libraries.psycopg.results import RecordedResult, as_sent, kept_text, noted_result, size_of
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import RecordedError

__all__ = [
    "Heard",
    "NotedAnswer",
    "Rows",
    "StandIn",
    "kept_notification",
    "recorded_notification",
    "recorded_results",
]


class Heard:
    """What a connection was told beside its answers: notices, or notifications. It is put in the place of psycopg's
    own handler.

    Args:
        own: Psycopg's handler.
        kept: Makes plain data of what is told.
    """

    def __init__(self, own: Callable[[Any], Any], kept: Callable[[Any], Any]) -> None:
        self.own = own
        self.args = getattr(own, "args", ())
        self._kept = kept
        self._said: list[Any] = []
        self.listening = False
        """Whether a call is under way that notes what is heard."""

    def __call__(self, told: Any) -> Any:
        """The server told something."""
        if self.listening:
            looked(f"{LIB}.heard", self._note, told)
        return self.own(told)

    def _note(self, told: Any) -> None:
        self._said.append(self._kept(told))

    def listen(self) -> None:
        """A call begins."""
        self._said, self.listening = [], True

    def taken(self) -> list[Any]:
        """What was told while the call was under way, which is over."""
        said, self._said, self.listening = self._said, [], False
        return said


def kept_notification(told: Any) -> list[Any]:
    """A notification as plain data."""
    return [kept_text(told.relname), told.be_pid, kept_text(told.extra)]


def recorded_notification(kept: Sequence[Any]) -> Any:
    """The same as libpq gives it."""
    channel, pid, payload = kept
    return notification(as_sent(channel) or b"", pid, as_sent(payload) or b"")


class NotedAnswer:
    """What one call gives while a session records: results of libpq, and what its connection tells behind them."""

    rowcount: int | None = None
    message: bytes | None = None
    state: int | None = None
    error: RecordedError | None = None
    rows: Rows | None = None
    data: list[Any] | None = None
    """What a COPY gave, piece by piece."""
    all_copied = False
    prepared: dict[str, Any] | None = None
    """The result of preparing it in a pipeline, where that failed."""
    left = 0
    """How many results of a pipeline are not there yet."""
    sends = False
    """Whether more of them may be asked for."""
    _recording: Recording | None = None

    def __init__(self) -> None:
        self._results: list[dict[str, Any]] = []
        self._told: dict[str, Any] = {}
        self._notices: list[Any] = []
        self._notified: list[Any] = []

    def began(self, recording: Recording) -> None:
        """The call returned; what follows belongs to its event."""
        self._recording = recording

    def keep(self, results: Sequence[Any]) -> None:
        """Note results of libpq."""
        for result in results:
            made = noted_result(result)
            if "rows" in made and not self.take(size_of(made) + PIECE_BYTES * len(made["rows"])):
                made.pop("rows")
            self._results.append(made)

    def keep_head(self, result: dict[str, Any]) -> None:
        """Note what all results of a stream have in common, from the first one."""
        self._results = [result]

    def take(self, size_bytes: int) -> bool:
        """Whether the recording has room for so much more."""
        recording = self._recording
        if recording is None or recording.session.limits.take(size_bytes):
            return True
        limit_kb = recording.session.config.max_session_kb
        recording.not_replayable = f"its rows had no room left under TIMETRACER_MAX_SESSION_KB={limit_kb}"
        return False

    def not_kept(self, what: str) -> None:
        """The app did something with the cursor that is not recorded."""
        if self._recording is not None:
            self._recording.not_replayable = f"cursor.{what} is not recorded"

    def heard_on(self, pgconn: Any, statuses: dict[str, Any], notices: list[Any], notified: list[Any]) -> None:
        """Note what the connection tells of itself by now.

        Args:
            pgconn: Libpq's connection.
            statuses: What the server said of its parameters before; it gets what is new.
            notices: What the server told besides.
            notified: The notifications that came.
        """
        self.state = int(pgconn.transaction_status)
        now = statuses_of(pgconn)
        if now != statuses:
            self._told.update({name: value for name, value in now.items() if value != statuses.get(name)})
            statuses.update(now)
        self._notices += notices
        self._notified += notified

    def failed(self, error: BaseException) -> None:
        """Reading on raised."""
        self.error = record_error(error)
        self.ended()

    def ended(self) -> None:
        """The event ends."""
        # The recording has the call, which has this object. Python frees a circle only when it looks for circles.
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def results(self) -> list[RecordedResult]:
        """The results that were noted, as a replay gives them."""
        return list(map(RecordedResult, self._results))

    @property
    def is_open(self) -> bool:
        """Whether the event goes on."""
        return self._recording is not None

    def reply(self) -> dict[str, Any]:
        """The answer as the cassette holds it."""
        made: dict[str, Any] = {"rowcount": self.rowcount, "state": self.state}
        first, *others = self._results or [{}]
        made.update(first)
        if others:
            made["more"] = others
        if self.message is not None:
            made["statusmessage"] = self.message
        if self.rows is not None:
            made.update(self.rows.kept())
        if self.data is not None:
            made["copied"] = self.data
        if self.all_copied:
            made["all_copied"] = True
        if self._told:
            made["told"] = self._told
        if self._notices:
            made["notices"] = self._notices
        if self._notified:
            made["notified"] = self._notified
        if self.error is not None:
            made["fetch_error"] = self.error
        if self.prepared is not None:
            made["prepared"] = self.prepared
        if self.left:
            made["unanswered"] = self.left
        return made


class Rows:
    """Rows that come bit by bit: of a cursor on the server, or of a stream.

    A place is the number of a row, from 1 on. A cursor stands on the row that it gave last; 0 is before the first.
    """

    def __init__(self, reply: Mapping[str, Any] | None = None) -> None:
        kept = reply or {}
        rows = kept.get("rows", ())
        self._rows: dict[int, Any] = dict(zip(kept.get("places") or range(1, len(rows) + 1), rows, strict=True))
        self.end: int | None = kept.get("end")
        """The place of the last row, once it is known."""
        self.place = 0

    def kept(self) -> dict[str, Any]:
        """The rows as the cassette holds them."""
        places = sorted(self._rows)
        made: dict[str, Any] = {"rows": [self._rows[place] for place in places], "end": self.end}
        if places != list(range(1, len(places) + 1)):
            made["places"] = places
        return made

    def came(self, rows: Sequence[Any], asked: int | None) -> None:
        """Rows were fetched; ``asked`` is how many were asked for, None for all."""
        self._rows.update({self.place + index: row for index, row in enumerate(rows, 1)})
        self.place += len(rows)
        if (asked is None or len(rows) < asked) and (self.end is None or self.place <= self.end):
            self._is_behind(self.place)

    def moved(self, value: int, mode: str, count: int) -> None:
        """The cursor was moved, over so many rows."""
        if mode == "absolute":
            if value > 0 and not count:
                self.end = value - 1 if self.end is None else min(self.end, value - 1)
            self.place = value
        elif value > count >= 0:
            self._is_behind(self.place + count)
        else:
            self.place = max(self.place + value, 0)

    def _is_behind(self, last: int) -> None:
        self.end, self.place = last, last + 1

    def move(self, value: int, mode: str) -> None:
        """Move in a replay."""
        self.place = value if mode == "absolute" else max(self.place + value, 0)
        if self.end is not None:
            self.place = min(self.place, self.end + 1)

    def ahead(self, limit: int) -> int:
        """How many of the next rows are known, up to a limit."""
        return next((count for count in range(limit) if self.place + count + 1 not in self._rows), limit)

    def take(self, count: int | None) -> list[Any] | None:
        """The next rows in a replay; None where the recording does not know them all."""
        last = None if count is None else self.place + count
        if self.end is not None and (last is None or last > self.end):
            last = self.end
        elif last is None:
            return None
        places = range(self.place + 1, last + 1)
        if any(place not in self._rows for place in places):
            return None
        self.place = max(last, self.place)
        if self.end is not None and (count is None or len(places) < count):
            self.place = self.end + 1
        return [self._rows[place] for place in places]


def recorded_results(reply: Mapping[str, Any]) -> list[RecordedResult]:
    """The results of libpq that an answer holds."""
    return [RecordedResult(each) for each in (reply, *reply.get("more", ())) if "status" in each]


class _Nothing(ReplayObject):
    """Stands for libpq's request to cancel a call."""

    _lib = LIB

    def start(self) -> None:
        """Nothing: there is nobody to ask."""

    cancel = start


_ADDRESS = ("user", "db", "host", "hostaddr", "port")
_TOLD = (*_ADDRESS, "password", "options", "server_version", "backend_pid")
"""What a closed connection says no more."""


class StandIn(ReplayObject, called=("_encoding",)):
    """Stands for libpq's connection. It sends nothing; psycopg asks it for its state.

    Args:
        target: The database.
        facts: What the recorded connection was told by its server.
        pq: The module ``psycopg.pq``.
        own: The real one in whose place it stands; None where there is none.
        conninfo: What the app connects by.
    """

    _lib = LIB
    is_stand_in = True
    pipeline_status = 0
    protocol_version = 3
    nonblocking = 1
    error_message = b""
    used_gssapi = ssl_in_use = needs_password = used_password = False
    notice_handler: Any = None
    notify_handler: Any = None
    on_finish: Callable[[], Any] | None = None

    def __init__(
        self, target: Target, facts: Mapping[str, Any], pq: Any, own: Any = None, conninfo: str = ""
    ) -> None:
        self._target = target
        self._own = own
        self._conninfo, self._options = conninfo, pq.Conninfo
        self._active: Any = pq.TransactionStatus.ACTIVE
        self._sync, self._failing = pq.ExecStatus.PIPELINE_SYNC, pq.ExecStatus.FATAL_ERROR
        self._statuses = dict(facts.get("statuses", {}))
        self.pending: deque[tuple[list[RecordedResult] | Callable[[], TimetracerError], Any]] = deque()
        """Answers of a pipeline that psycopg has not fetched, or what makes the refusal of one, each with what the
        connection told with it.
        """
        self.status, self._closed = pq.ConnStatus.OK, pq.ConnStatus.BAD
        self._transaction_status: Any = pq.TransactionStatus.IDLE
        self.server_version = facts.get("server_version", 0)
        self.backend_pid = facts.get("backend_pid", 0) if target.process is None else target.process
        self.user, self.db, self.host, self.hostaddr, self.port = (facts.get(name, b"") for name in _ADDRESS)
        self.password = self.options = b""
        if own is not None:
            self.notice_handler, self.notify_handler = own.notice_handler, own.notify_handler

    @property
    def transaction_status(self) -> Any:
        """Of the transaction. While answers of a pipeline are outstanding, libpq says that a call is under way."""
        return self._active if self.pending else self._transaction_status

    @transaction_status.setter
    def transaction_status(self, value: Any) -> None:
        self._transaction_status = value

    @property
    def state(self) -> Any:
        """The status of the transaction, as the kit sets it behind a statement."""
        return self._transaction_status

    @state.setter
    def state(self, value: Any) -> None:
        if value is not None:
            self._transaction_status = type(self._active)(value)

    @property
    def info(self) -> list[Any]:
        """The parameters that it was opened by: those of the app, and libpq's own for the others."""
        if self.closed:
            self._refuse_closed()
        if self._own is not None:
            return list(self._own.info)
        given = {each.keyword: each.val for each in self._options.parse(self._conninfo.encode())}
        return [
            each if given.get(each.keyword) is None else each._replace(val=given[each.keyword])
            for each in self._options.get_defaults()
        ]

    @property
    def socket(self) -> int:
        """None that anybody could wait for."""
        if self.closed:
            self._refuse_closed()
        return -1

    def _refuse_closed(self) -> NoReturn:
        raise_for_app(self._target.dbapi.OperationalError("the connection is closed"))

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self.status == self._closed)

    broken = closed

    def knows(self, pgconn: Any) -> None:
        """The real connection behind it was opened, of a server that the cassette did not know."""
        self.server_version, self.backend_pid = pgconn.server_version, pgconn.backend_pid
        for name in _ADDRESS:
            setattr(self, name, getattr(pgconn, name))
        self._statuses.update(statuses_of(pgconn))

    def lose(self) -> None:
        """The recorded connection was gone by now: so is this one."""
        self.status = self._closed

    def told(self, reply: Mapping[str, Any]) -> None:
        """The answer that is given to the app: what the connection told behind it."""
        self.state = reply.get("state")
        self._statuses.update(reply.get("told", {}))
        for notice in reply.get("notices", ()):
            if self.notice_handler is not None:
                outside(self.notice_handler, RecordedResult({"status": 6, "error": notice}))
        for each in reply.get("notified", ()):
            if self.notify_handler is not None:
                outside(self.notify_handler, recorded_notification(each))

    def like(self, pgconn: Any) -> None:
        """A call was made for real: tell of the connection what that tells."""
        self.transaction_status = type(self.transaction_status)(pgconn.transaction_status)
        self._statuses.update(statuses_of(pgconn))
        self.status = pgconn.status

    def parameter_status(self, name: bytes) -> bytes | None:
        """What the server said of a parameter."""
        found: bytes | None = self._statuses.get(name.decode())
        return found

    @property
    def _encoding(self) -> str:
        return encoding_of(self._statuses.get("client_encoding"))

    def enter_pipeline_mode(self) -> None:
        """Begin to send calls before answers are there."""
        self.pipeline_status = 1

    def exit_pipeline_mode(self) -> None:
        """End that."""
        self.pipeline_status = 0

    def pipeline_sync(self) -> None:
        """An answer that tells that all before it was answered."""
        if self.closed:
            self._refuse_closed()
        self.pending.append(([RecordedResult({"status": int(self._sync)})], None))

    def send_flush_request(self) -> None:
        """Nothing: answers are there at once."""
        if self.closed:
            self._refuse_closed()

    def fetch_many(self) -> list[RecordedResult]:
        """The next answer of the pipeline; nothing where there is none."""
        if not self.pending:
            return []
        results, reply = self.pending.popleft()
        if callable(results):
            raise results()
        if reply is not None:
            before = self._transaction_status
            self.told(reply)
            # While answers were outstanding, libpq said that a call was under way.
            self._transaction_status = before
        if any(result.status == self._failing for result in results):
            self.fails()
        return results

    def fails(self) -> None:
        """A call failed: so does the transaction, if there is one."""
        status = type(self._active)
        if self._transaction_status != status.IDLE:
            self._transaction_status = status.INERROR

    def get_cancel(self) -> Any:
        """What cancels a call: nothing runs."""
        return _Nothing()

    cancel_conn = get_cancel

    def finish(self) -> None:
        """Close it."""
        self.status = self._closed
        self.pending.clear()
        self.transaction_status = type(self.transaction_status).UNKNOWN
        for name in _TOLD:
            vars(self).pop(name, None)
        if self._own is not None:
            outside(self._own.finish)
        if self.on_finish is not None:
            self.on_finish()

    def __getattr__(self, name: str) -> Any:
        if name in _TOLD:
            self._refuse_closed()
        raise unrecorded(self._target, f"connection.pgconn.{name}")
