"""What asyncpg tells the kit about a call: the database that a connection goes to, and one request to its server."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary, ref

from timetracer_otel.base import faults
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import FAULT, Recording, begun
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.constants import EventType
from timetracer_otel.libraries.asyncpg import internals, wire
from timetracer_otel.libraries.asyncpg.answer import Answer, LookedAt, answer_of
from timetracer_otel.libraries.asyncpg.cells import KnownTypes
from timetracer_otel.libraries.kits.dbapi.call import ConnectSite, DatabaseSite, raise_made_already
from timetracer_otel.libraries.kits.dbapi.direct import Held
from timetracer_otel.libraries.kits.dbapi.errors import record_error
from timetracer_otel.libraries.kits.dbapi.facts import untold_facts
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, arguments, verb_of
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = [
    "ANSWERED",
    "LIB",
    "PREPARE",
    "RECEIVED",
    "Database",
    "Exchange",
    "HeldConnection",
    "Opening",
    "Received",
    "heard_in",
]

LIB = "asyncpg"
PREPARE: Final = "PREPARE"
"""The method of an event that tells of a prepared statement: its columns and parameters, or the error."""
RECEIVED: Final = "RECEIVED"
"""The method of an event that tells what a server sent while nobody asked: a notification, or that it is gone."""
ANSWERED: Final = "timetracer_answered"
"""Attribute of a recorded error: what the server said besides."""

_MOST_COMPARED: Final = 64 * 1024
"""Data of a COPY that are kept to be read; of longer ones, a cassette has a hash."""

_UNIQUE = re.compile(r"__asyncpg_([a-z]+)_[0-9a-f]+__")
"""Names that asyncpg makes with a number which it counts up in each process."""


class _Server:
    """What is known of one database by all connections to it."""

    def __init__(self) -> None:
        self.types = KnownTypes()


_servers: WeakValueDictionary[tuple[str, str], _Server] = WeakValueDictionary()


class Database(Target):
    """A database of PostgreSQL, over one connection.

    Args:
        asyncpg: The module.
        addr: Host and port, or the path of a socket.
        database: Its name.
    """

    def __init__(self, asyncpg: Any, addr: Any, database: str | None) -> None:
        self._socket = isinstance(addr, str)
        # The folder of a socket differs from machine to machine.
        host = "" if self._socket else str(addr[0])
        super().__init__(LIB, f"postgresql://{host}/{database or ''}", asyncpg, database)
        self.driver = LIB
        self._address = f"unix://{addr}" if self._socket else f"postgresql://{addr[0]}:{addr[1]}"
        self._server = _servers.setdefault((self._address, database or ""), _Server())
        self._facts: dict[str, Any] | None = None

    @property
    def address(self) -> str | None:
        """Host and port, or the file of the socket."""
        return self._address

    @property
    def owner(self) -> Any:
        """What is known of the database is shared by its connections."""
        return self._server

    @property
    def types(self) -> KnownTypes:
        """What is known of its types."""
        return self._server.types

    @property
    def how_many_learned(self) -> int:
        """How many types are known."""
        return self.types.how_many

    def first_facts(self) -> dict[str, Any] | None:
        """What the connection was told when it was opened, and what was learned of types."""
        if self._facts is None:
            return None
        return {**self._facts, "types": dict(self.types.by_oid), "type_names": dict(self.types.by_name)}

    def connected(self, connection: Any) -> None:
        """Keep what the server said of itself."""
        protocol = internals.protocol_of(connection)
        self._facts = {"pid": protocol.get_server_pid(), "settings": internals.settings_of(protocol)}

    def is_gone(self, connection: Any) -> bool:
        """Whether a protocol is connected no more."""
        return connection is not None and not connection.is_connected()


class HeldConnection(Held):
    """What is noted of one connection.

    Args:
        target: The database.
        connection: Of asyncpg.
        server: What stands for the server in a replay; None for a real connection.
    """

    __slots__ = (
        *("chunks", "connection", "described", "has_codecs", "heard_by", "in_text", "portals", "rest", "server"),
    )

    def __init__(self, target: Database, connection: Any, server: Any = None) -> None:
        super().__init__(target, raise_made_already, stands_in=server is not None)
        self.connection: Callable[[], Any] = ref(connection)
        self.server = server
        self.chunks: list[bytes] | None = None
        """What the server sends to the recorded call that is under way."""
        self.portals: dict[str, Exchange] = {}
        """The recorded cursors that are open on the server, by their names."""
        self.heard_by: TraceSession | None = None
        """The recording that gets what the server sends while nobody asks."""
        self.rest = b""
        """The begin of a message whose end is still to come."""
        self.described: dict[str, tuple[list[list[Any]], list[int]]] = {}
        """By name of a prepared statement: its columns by name and type, and the types of its parameters."""
        self.in_text: set[int] = set()
        """The types that the app's own codecs get as text."""
        self.has_codecs = False
        """Whether the app has codecs of its own."""

    def came(self, protocol: Any, data: bytes) -> None:
        """The server sent something."""
        if self.chunks is not None:
            self.chunks.append(data)
        elif self.heard_by is not None:
            self._heard(protocol, data)

    def _heard(self, protocol: Any, data: bytes) -> None:
        session, told, at = self.heard_by, [], 0
        data = self.rest + data
        for kind, begin, at in wire.messages(data):
            if kind == b"A":
                told.append(wire.beside_of(data, kind, begin, at))
        self.rest = data[at:]
        if told and session is not None:
            Received(self.target, protocol, told).noted_in(session)

    def lost(self, protocol: Any) -> None:
        """The connection is gone, and nobody has closed it."""
        if self.chunks is None and self.heard_by is not None and not protocol.is_closed():
            Received(self.target, protocol, [], lost=True).noted_in(self.heard_by)

    def let_go(self) -> None:
        """The transaction of the recorded cursors has ended."""
        for site in list(self.portals.values()):
            site.end()
        self.portals.clear()


def _note(site: _AsyncSite, session: TraceSession) -> None:
    """Make an event of something that was no call of the app's."""
    recording = None if session.is_finalized else begun(site, session)
    if recording is not None:
        recording.came(None)


class Heard:
    """What a server sends by itself keeps its place among the requests of a session.

    Attributes:
        begun: How many requests were begun. In a replay: how many have found their events.
        servers: In a replay: the stand-ins that may get it.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.servers: WeakSet[Any] = WeakSet()


def heard_in(session: BaseSession) -> Heard:
    """The count of a session."""
    return session.state(f"{LIB}.heard", Heard)


class _AsyncSite(DatabaseSite):
    """A call that is awaited."""

    def pause(self, seconds: float) -> Any:
        return asyncio.sleep(seconds)


class Opening(ConnectSite, _AsyncSite):
    """The opening of a connection."""

    _opened: dict[str, Any] | None = None

    def again(self) -> bool:
        """False: there is nobody to connect to behind a stand-in."""
        return False

    def returned(self, value: Any, recording: Recording) -> Any:
        """Note which process of the server answers, and what that said of itself."""
        protocol = internals.protocol_of(value)
        self._opened = {"pid": protocol.get_server_pid(), "settings": internals.settings_of(protocol)}
        return super().returned(value, recording)

    def result(self, recording: Recording) -> EventResult:
        """The same, with the facts of the database."""
        made = super().result(recording)
        made.reply["opened"] = self._opened
        return made

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """What was noted; None where no event is left."""
        return (event.result.reply or {}).get("opened") if event is not None else None


class Received(_AsyncSite):
    """What a server sent while nobody asked.

    Args:
        target: The database.
        protocol: That got it.
        beside: The messages, as plain data.
        lost: Whether the connection was lost.
    """

    marks_span = False
    live: Any = raise_made_already

    def __init__(self, target: Any, protocol: Any, beside: list[Any], *, lost: bool = False) -> None:
        super().__init__(target)
        self._pid = protocol.get_server_pid()
        self._reply: dict[str, Any] = {"beside": beside, **({"lost": True} if lost else {})}

    def call(self) -> Call:
        """By the process of the server."""
        args = {"statement": RECEIVED, "options": {"pid": self._pid}}
        return Call(self.lib, EventType.DB_QUERY, RECEIVED, self.target.url, args=args)

    def noted_in(self, session: TraceSession) -> None:
        """Make it an event of a recording."""
        self._reply["after"] = heard_in(session).begun
        _note(self, session)

    def result(self, recording: Recording) -> EventResult:
        """What was sent, and behind how many requests."""
        return EventResult(reply=self._reply)

    def let_go(self) -> None:
        """Nothing is kept alive."""

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """What was sent."""
        return event.result.reply


_viewed: Callable[[Any], Any] = memoryview


class Supplied:
    """The data of a COPY from the app, noted while asyncpg takes them.

    Attributes:
        faulted: Whether a fault of ours kept some of them from being noted.
    """

    faulted = False

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size_bytes = 0
        self._hash = hashlib.sha256()

    def take(self, data: Any) -> None:
        """The next piece. This is a guard: asyncpg gets the piece from the app."""
        try:
            self._append(data)
        except Exception as fault:
            self.faulted = True
            faults.contain(f"{LIB}.copy", fault)

    def _append(self, data: Any) -> None:
        try:
            piece = bytes(outside(_viewed, data))
        except TypeError:
            # It is asyncpg's to refuse.
            return
        self._hash.update(piece)
        self._size_bytes += len(piece)
        if self._size_bytes <= _MOST_COMPARED:
            self._kept += piece

    def compared(self) -> dict[str, Any]:
        """What the data are compared by."""
        if self._size_bytes > _MOST_COMPARED:
            return {"size_bytes": self._size_bytes, "sha256": self._hash.digest()}
        try:
            return {"data": self._kept.decode()}
        except UnicodeDecodeError:
            return {"data": bytes(self._kept)}


def _as_data(value: Any) -> Any:
    """A bound value, with tuples in the place of asyncpg's records, which stand for composite types."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(map(_as_data, value))
    return tuple(map(_as_data, value)) if internals.is_record(value) else value


class Exchange(_AsyncSite):
    """One request to the server, with all that it answers.

    Args:
        held: Of the connection.
        protocol: That makes it.
        statement: Its text.
        values: The bound values.
        many: Lists of bound values, noted while asyncpg takes them.
        supplied: The data of a COPY from the app, noted while asyncpg takes it.
        options: What else it is matched by.
        state: The prepared statement; None where there is none.
        portal: The name of the cursor on the server; empty where all rows are fetched at once.
        live: Makes it for real.
        method: Where that is not the statement's verb.
        keeps_rows: Whether the app gets rows.
        only_errors: Whether it is an event only where it fails.
        is_late: Whether its time is over already, so that asyncpg does not ask the server.
        listens: Whether the server is asked by this call itself, and not by one beneath it.
    """

    as_called = True
    may_disown = True
    copied: list[bytes] | None = None
    """The data of a COPY to the app, as that gets it."""
    _args: dict[str, Any] | None = None
    _chunks: list[bytes] | None = None
    _looked_at: LookedAt | None = None
    """What may hold a secret in the rows; None where they cannot be kept as they were sent."""
    _error: RecordedError | None = None
    _recording: Recording | None = None
    _began_s = 0.0
    recorded_error: RecordedError | None = None
    """In a replay: the error with which the request was answered."""
    rebuilt: BaseException | None = None
    """The same, as it is raised."""
    _described: tuple[list[list[Any]], list[int]] | None = None
    _changed: Sequence[Mapping[str, Any]] = ()

    def __init__(
        self,
        held: HeldConnection,
        protocol: Any,
        statement: str,
        values: Sequence[Any] | None = None,
        *,
        many: list[Any] | None = None,
        supplied: Supplied | None = None,
        options: Mapping[str, Any] | None = None,
        state: Any = None,
        portal: str = "",
        live: Callable[[], Any] = raise_made_already,
        method: str | None = None,
        keeps_rows: bool = False,
        only_errors: bool = False,
        listens: bool = True,
        is_late: bool = False,
    ) -> None:
        super().__init__(held.target, protocol)
        self.live: Any = live
        self.many = many
        self.supplied = supplied
        self.portal = portal
        self._held: HeldConnection | None = held
        self._statement = _UNIQUE.sub(r"__asyncpg_\1__", statement)
        self._values = values
        self._options = options or {}
        self._state = state
        self._method = method
        self._keeps_rows = keeps_rows
        self._only_errors = only_errors
        self._listens = listens
        self._is_late = is_late
        self._noted: list[bytes] = []
        self._in_text: Collection[int] = ()

    def _arguments(self) -> dict[str, Any]:
        """The arguments, as far as they are known by now."""
        if self._args is not None:
            return self._args
        is_many = self.many is not None
        given = _as_data(self.many if is_many else self._values)
        made = arguments(CursorCall(self._statement, given, is_many, self._options), ())
        if self.supplied is not None:
            made["parameters"] = self.supplied.compared()
        if self.portal:
            made["server_side"] = True
        return made

    @property
    def verb(self) -> str:
        """The event's method."""
        return self._method or verb_of(self._statement)

    def call(self) -> Call:
        """The statement with its values."""
        return Call(self.lib, EventType.DB_QUERY, self.verb, self.target.url, args=self._arguments())

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The statement with its values."""
        return self.verb, self.target.url, self._arguments(), None

    def observe(self, session: TraceSession) -> None:
        """Keep the values as they are now, and let what the server sends be noted."""
        held = self._held
        assert held is not None
        if self.many is None and self.supplied is None:
            self._args = self._arguments()
        held.heard_by = session
        heard_in(session).begun += 1
        self._in_text = frozenset(held.in_text)
        if self._listens:
            self.listen(held)

    def listen(self, held: HeldConnection) -> None:
        """Note what the server sends from now on, unless another call waits for it."""
        self._began_s = time.perf_counter()
        if held.chunks is None:
            self._chunks = held.chunks = []
            if held.rest:
                held.chunks.append(held.rest)
                held.rest = b""

    def disowns(self, outcome: Any) -> bool:
        """Whether asyncpg refused the call before it asked the server, or the app's own data failed."""
        if isinstance(outcome, BaseException):
            is_ours = self._chunks is not None and internals.is_in_doubt(outcome) and not self._is_late
        else:
            # Without values, nothing is sent.
            is_ours = not self._only_errors and self._chunks != []
        if is_ours:
            return False
        held, state = self._held, self._state
        if held is not None:
            self._stop(held)
            session = held.heard_by
            if session is not None:
                heard_in(session).begun -= 1
            if session is None or not isinstance(outcome, BaseException):
                return True
            if self._chunks and self.many is None and self.supplied is None:
                # asyncpg could make nothing of what the server answered.
                again = copy(self)
                again._listens, again.may_disown, again._noted, again._chunks = False, False, self._chunks, []
                _note(again, session)
            elif state is not None:
                # asyncpg refused the values, for which the statement was prepared.
                _note(self.preparation(held, self.connection, state), session)
        return True

    @staticmethod
    def preparation(held: HeldConnection, protocol: Any, state: Any) -> Exchange:
        """The call that prepared a statement."""
        made = Exchange(held, protocol, state.query, method=PREPARE, listens=False)
        made._describe(held, state)
        return made

    def _describe(self, held: HeldConnection, state: Any) -> None:
        # asyncpg may have forgotten the types by now, and a name stays that of one statement.
        known = held.described.get(state.name) if state.name else None
        self._described = columns, parameters = known or internals.described(state)
        if state.name:
            held.described[state.name] = self._described
        oids = {*parameters, *(oid for _, oid in columns)}
        self._changed = self.target.types.changed(oids)  # type: ignore[attr-defined]

    def _types(self) -> list[int]:
        """Those of the columns."""
        return [oid for _, oid in self._described[0]] if self._described is not None else []

    def _stop(self, held: HeldConnection) -> None:
        if self._chunks is not None and held.chunks is self._chunks:
            held.chunks = None

    def returned(self, value: Any, recording: Recording) -> Any:
        """Keep what the server sent. A cursor's event goes on while rows of it are fetched."""
        held, protocol = self._held, self.connection
        assert held is not None
        self._facts = untold_facts(recording.session, self.target)
        state = self._state if self._listens or value is None else internals.state_of(value)
        if state is not None:
            self._describe(held, state)
        if self.portal:
            self._recording = recording
            recording.goes_on = True
            held.portals[self.portal] = self
        elif self._keeps_rows and self.many is None and not held.has_codecs:
            rows = internals.rows_in(value)
            self._looked_at = LookedAt.of(self._types(), rows) if rows else None
        self.fetched(held, recording, bool(self.portal) and internals.is_last(value))
        if held.portals and not protocol.is_in_transaction():
            held.let_go()
        self.let_go()
        return value

    def fetched(self, held: HeldConnection, recording: Recording, is_last: bool) -> None:
        """Keep what the server sent."""
        self._stop(held)
        chunks, self._chunks = self._chunks, None
        sizes = [len(chunk) + PIECE_BYTES for chunk in (*(chunks or ()), *(self.copied or ()))]
        if self._looked_at is not None:
            sizes += map(len, self._looked_at.texts)
        if recording.session.limits.take(sum(sizes)):
            self._noted += chunks or ()
        else:
            limit_kb = recording.session.config.max_session_kb
            recording.not_replayable = f"its rows had no room left under TIMETRACER_MAX_SESSION_KB={limit_kb}"
            self._noted, self.copied, self._looked_at = [], None, None
        if is_last or not self.portal:
            self.end()
            recording.close()

    def fetch_failed(self, held: HeldConnection, error: BaseException) -> None:
        """Fetching more rows of a cursor raised."""
        recording = self._recording
        self._stop(held)
        if recording is not None and recording.ended_s is None:
            self._error = record_error(error)
            said = {"state": Answer(self._chunks or (), False).state, "after_s": time.perf_counter() - self._began_s}
            self._error.attributes[ANSWERED] = said
            self.end()

    @property
    def is_open(self) -> bool:
        """Whether rows of a cursor may still be fetched."""
        return self._recording is not None

    @property
    def recording(self) -> Recording | None:
        """The call as it is recorded, while rows of a cursor may be fetched."""
        return self._recording

    def end(self) -> None:
        """No more rows are fetched."""
        # The recording has the call, which has this object. Python frees a circle only when it looks for circles.
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def let_go(self) -> None:
        """Keep neither the connection nor the prepared statement alive."""
        super().let_go()
        self._held = self._state = self._values = None
        self.live = raise_made_already

    def record_error(self, error: BaseException) -> RecordedError:
        """An error, with what the server said besides."""
        held, state = self._held, self._state
        if held is not None:
            self._stop(held)
        made = super().record_error(error)
        found = Answer(self._chunks or (), False)
        if state is not None and held is not None:
            self._describe(held, state)
        types = self.target.types  # type: ignore[attr-defined]
        said = answer_of(found, self._described, types, (), False, self._changed)
        made.attributes[ANSWERED] = {**said, "after_s": time.perf_counter() - self._began_s}
        return made

    def result(self, recording: Recording) -> EventResult:
        """What the server answered."""
        found = Answer(self._noted, self._keeps_rows, self._types(), self._looked_at)
        types = self.target.types  # type: ignore[attr-defined]
        reply = answer_of(found, self._described, types, self._in_text, self._keeps_rows, self._changed)
        if self.supplied is not None and self.supplied.faulted:
            recording.not_replayable = FAULT
        if self.copied is not None:
            reply["copied"] = self.copied
        if self._error is not None:
            reply["fetch_error"] = self._error
        if self._facts:
            reply["engine"] = self._facts
        return EventResult(reply=reply)

    def upcoming(self, session: ReplaySession) -> DependencyEvent | None:
        """The event that would answer it now."""
        return session.upcoming(self.redacted(session), hooks.whereabouts(None).path())

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The event: what stands for the server makes messages of it."""
        return event

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The error, without what the server said besides."""
        attributes = {name: value for name, value in error.attributes.items() if name != ANSWERED}
        made = super().rebuild_error(replace(error, attributes=attributes))
        if internals.field_of(made) is None:
            # asyncpg raised it by itself: its class has the code.
            vars(made).pop("sqlstate", None)
        self.recorded_error, self.rebuilt = error, made
        return made
