"""What stands for the server in a replay: it gets asyncpg's messages, and answers from the cassette.

asyncpg's own protocol runs for real, so values, records, errors and notices are made by asyncpg itself. The stand-in
answers when a request is complete: by then asyncpg has refused what it refuses by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from weakref import WeakValueDictionary

from timetracer_otel.base import faults
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import OurStep, Step, refusal
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.exceptions import TimetracerError
from timetracer_otel.libraries.asyncpg import internals, wire
from timetracer_otel.libraries.asyncpg.answer import Described, described_in, prepared, rows_of
from timetracer_otel.libraries.asyncpg.call import (
    ANSWERED,
    LIB,
    PREPARE,
    RECEIVED,
    Exchange,
    HeldConnection,
    Received,
    heard_in,
)
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.errors import DISCONNECTED
from timetracer_otel.libraries.kits.dbapi.secrets import is_statement
from timetracer_otel.libraries.kits.dbapi.statements import verb_of
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["Asked", "Server", "server_of"]

_EXECUTE, _SYNC, _QUERY, _FLUSH, _COPIED, _COPY_FAILED, _TERMINATE = b"E", b"S", b"Q", b"H", b"c", b"f", b"X"
_ENDS: Final = frozenset({_SYNC, _QUERY, _FLUSH, _COPIED, _COPY_FAILED})
"""The messages with which a request is complete."""
_NEEDS_NO_EVENT: Final = {"BEGIN": ("BEGIN", "T"), "ROLLBACK": ("ROLLBACK", "I"), "SAVEPOINT": ("SAVEPOINT", "T")}
"""By verb: status and state behind a statement that a replay answers without an event where none is left."""
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d[\w.-]*\b")
_CANCELLED: Final = {
    **dict.fromkeys("SV", "ERROR"),
    "C": "57014",
    "M": "canceling statement due to user request",
    "F": "postgres.c",
    "R": "ProcessInterrupts",
}
_ABORTED: Final = {
    **dict.fromkeys("SV", "ERROR"),
    "C": "25P02",
    "M": "current transaction is aborted, commands ignored until end of transaction block",
    "F": "postgres.c",
    "R": "exec_execute_message",
}
_NOT_ANSWERED: Final = wire.error({"S": "ERROR", "V": "ERROR", "C": "XX000", "M": "not replayed"})
"""Brings asyncpg's protocol to rest. The app gets another error."""
_SYNCED: Final = wire.message(_SYNC)
_COPY_DONE: Final = wire.message(_COPIED)
_END_BYTES: Final = len(_SYNCED)
_READY: Final = wire.ready("I")[:-1]
_READY_IN: Final = {state: wire.ready(state) for state in "ITE"}
_READY_BYTES: Final = len(_READY) + 1
_Pieces = Sequence["bytes | BaseException | None"]
"""What the client gets: messages, and an exception or None for the end of the connection."""
_keys = itertools.count(0x74_00_00_00)
_servers: WeakValueDictionary[int, Server] = WeakValueDictionary()


def server_of(key: Any) -> Server | None:
    """The stand-in that gave a client this key, by which it asks to cancel what runs."""
    return _servers.get(key)


@lru_cache(maxsize=2048)
def _outline(text: str) -> str:
    """A statement without its literals, which may be other ones in each run."""
    return _LITERAL.sub("?", text)


class _Statements:
    """What a cassette tells of statements, by their text, whatever values were bound to them."""

    def __init__(self, session: ReplaySession) -> None:
        self._session = session
        self._by_text: dict[str, list[DependencyEvent]] = {}
        for event in session.events:
            if event.signature.lib != LIB or event.call is None or not is_statement(event.call.args):
                continue
            text = event.call.args["statement"]
            for key in {text, _outline(text)}:
                self._by_text.setdefault(key, []).append(event)

    def upcoming(self, text: str) -> DependencyEvent | None:
        """The next event about a statement; None where none is left."""
        return next((event for event in self._found(text) if not self._session.is_taken(event)), None)

    def described(self, text: str) -> Described | None:
        """Columns and parameters of a statement: as the next event has them, or else the last one before."""
        found = self._found(text)
        left = [event for event in found if not self._session.is_taken(event)]
        for event in (*left, *reversed(found)):
            described = _described_by(event)
            if described is not None:
                return described
        return None

    def _found(self, text: str) -> Sequence[DependencyEvent]:
        return self._by_text.get(text) or self._by_text.get(_outline(text)) or ()


def _described_by(event: DependencyEvent) -> Described | None:
    error = event.result.exception
    return described_in(event.result.reply if error is None else error.attributes.get(ANSWERED))


class _Portal:
    """A recorded cursor on the server: its rows, and how many of them were fetched."""

    def __init__(self, site: Exchange, rows: list[bytes], event: DependencyEvent) -> None:
        self.site = site
        self.rows = rows
        self.reply: dict[str, Any] = event.result.reply
        self.event = event
        self.next = 0


class Asked:
    """One request of a protocol.

    Args:
        method: Of the protocol.
        session: The current session.
        site: The request, as it is matched; None where it is not.
        given: The arguments of the method, by name.
    """

    def __init__(
        self, method: str, session: BaseSession | None, site: Exchange | None, given: Mapping[str, Any]
    ) -> None:
        self.method = method
        self.session = session
        self.site = site
        self.given = given
        self.problem: BaseException | None = None
        """What the app gets in the place of asyncpg's error."""
        self.came = False
        """Whether the request was complete, and not given up."""
        self.executed = 0
        self.gave_up = False
        """Whether asyncpg itself failed before all was sent, or was told of an error by then."""
        self.is_open = method == "prepare"
        """Whether the client ends the request behind the answer to it."""


class Server(ReplayObject, asyncio.Transport):
    """Stands for the transport of a protocol, and for the server behind it.

    Args:
        protocol: Of asyncpg.
        loop: That it runs in.
        opened: What the recorded server said of itself.
    """

    _lib = LIB

    def __init__(self, protocol: Any, loop: Any, opened: Mapping[str, Any]) -> None:
        super().__init__()
        self.held: HeldConnection | None = None
        self.asked: Asked | None = None
        self._loop = loop
        self._protocol: Any = protocol
        self._settings = dict(opened.get("settings") or {})
        self._pid = opened.get("pid") or 0
        self._key = next(_keys)
        _servers[self._key] = self
        self._unread = b""
        self._is_in = self._closing = self._paused = self._busy = False
        self._state = "I"
        self._portals: dict[str, _Portal] = {}
        self._types: list[dict[str, Any]] = []
        self._outgoing: deque[bytes | BaseException | None] = deque()
        self._answering: asyncio.Task[Any] | None = None

    # As a transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing: there is neither a socket nor a peer."""
        return default

    def is_closing(self) -> bool:
        """Whether the connection was closed."""
        return self._closing

    def close(self) -> None:
        """The client goes."""
        if not self._closing:
            self._closing = True
            self._outgoing.clear()
            if self._answering is not None:
                self._answering.cancel()
            self._loop.call_soon(self._gone, None)

    def _gone(self, error: BaseException | None) -> None:
        # Nothing is kept alive by what stands for a connection that is closed.
        protocol, self._protocol, self.held = self._protocol, None, None
        if protocol is not None:
            protocol.connection_lost(error)

    def abort(self) -> None:
        """The client goes at once."""
        self.close()

    def get_write_buffer_size(self) -> int:
        """Nothing waits to be sent."""
        return 0

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        """Nothing waits to be sent."""

    def get_protocol(self) -> Any:
        """Of asyncpg."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Another one gets what is sent."""
        self._protocol = protocol

    # Behind an error from these, asyncpg could not go on. So they call nothing of ours, but what is guarded.

    def pause_reading(self) -> None:
        """The client wants nothing for now."""
        self._paused = True

    def resume_reading(self) -> None:
        """The client takes more."""
        self._paused = False
        if self._outgoing:
            self._loop.call_soon(self._turn)

    def writelines(self, list_of_data: Any) -> None:
        """The client sends several pieces."""
        self.write(b"".join(list_of_data))

    def write(self, data: Any) -> None:
        """The client sends something."""
        try:
            if data[:1] == _TERMINATE:
                self.close()
            else:
                self._take(bytes(data))
        except Exception as fault:
            self._failed_by(fault, data[-_END_BYTES:] in (_SYNCED, _COPY_DONE) or data[:1] == _QUERY)

    def _take(self, data: bytes) -> None:
        if self._closing or not self._is_in:
            # The first message has no kind.
            return
        self._unread += data
        read = 0
        for kind, _, end in wire.messages(self._unread):
            self._got(kind)
            read = end
        self._unread = self._unread[read:]
        asked = self.asked
        if asked is not None and asked.method == "bind_execute_many" and self._answering is None:
            self._look_ahead(asked)

    def _look_ahead(self, asked: Asked) -> None:
        """A server that fails at one of many rows says so while the client sends the next ones."""
        session, site = asked.session, asked.site
        if asked.gave_up or site is None or not isinstance(session, ReplaySession):
            return
        event = self._statements(session).upcoming(_redacted_text(session, site))
        error = event.result.exception if event is not None else None
        # Other errors are asyncpg's own, such as the end of its patience.
        if event is None or event.call is None or error is None or "severity" not in error.attributes:
            return
        if len(event.call.args.get("many") or ()) == len(site.many or ()):
            asked.is_open = True
            self._protocol.pause_writing()
            self._answering = self._loop.create_task(self._answer(asked, _EXECUTE))

    # As a server.

    def let_in(self) -> None:
        """Answer the client's first message."""
        self._is_in = True
        self._protocol.data_received(wire.started(self._settings, self._pid, self._key))

    def _got(self, kind: bytes) -> None:
        asked = self.asked
        if asked is None:
            return
        self._busy = True
        if kind == _EXECUTE:
            asked.executed += 1
        elif kind == b"P" and asked.method == "bind_execute_many" and asked.executed:
            asked.gave_up = True
        elif kind == _SYNC and asked.method == "prepare":
            # The client ends what failed, or what it gave up.
            if self._answering is not None:
                self._answering.cancel()
                self._answering = None
            self._send(wire.ready(self._state))
        elif kind in _ENDS:
            self._answering = self._loop.create_task(self._answer(asked, kind))

    def is_of(self, pid: int) -> bool:
        """Whether this is the number of the server's process."""
        return self._pid == pid

    def cancel(self) -> None:
        """The client asks to cancel what runs."""
        task, self._answering = self._answering, None
        if task is not None:
            task.cancel()
        if self._busy:
            self._send(wire.error(_CANCELLED) + wire.ready(self._failed()))

    def _failed(self) -> str:
        """The state behind an error."""
        self._state = "I" if self._state == "I" else "E"
        return self._state

    def _send(self, *messages: bytes | BaseException | None) -> None:
        """Let the client get some pieces; None and an exception for the end of the connection."""
        self._outgoing += messages
        if any(isinstance(piece, bytes) and _READY in piece[-_READY_BYTES:] for piece in messages):
            self._busy = False
        self._loop.call_soon(self._turn)

    def _turn(self, *messages: bytes | None) -> None:
        """The loop's call: the client gets what there is for it, and some more pieces."""
        try:
            self._outgoing += messages
            self._flush()
        except Exception as fault:
            self._failed_by(fault, any(isinstance(piece, bytes) and _READY in piece for piece in self._outgoing))

    def _flush(self) -> None:
        while self._outgoing and not self._paused and self._protocol is not None:
            piece = self._outgoing.popleft()
            if isinstance(piece, bytes):
                self._protocol.data_received(piece)
            else:
                self._closing = True
                self._outgoing.clear()
                self._gone(piece)

    async def _answer(self, asked: Asked, kind: bytes) -> None:
        try:
            try:
                self._came(asked, await self._answer_to(asked, kind))
            except TimetracerError as miss:
                self._refuse(asked, miss, not asked.is_open)
            except Exception as fault:
                self._failed_by(fault, not asked.is_open)
        except Exception as fault:
            # The client waits, and nothing else can be told to it.
            asked.problem = refusal(LIB, asked.session, fault)
            self._gone(None)
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as stop:
            # What the handler of a signal raised, such as a test's time being over. Nobody may be left waiting.
            self._refuse(asked, stop, not asked.is_open)

    def _came(self, asked: Asked, pieces: _Pieces) -> None:
        self._answering = None
        if asked.method == "prepare":
            self._busy = False
        if asked.method == "bind_execute_many" and asked.is_open:
            asked.is_open = False
            self._loop.call_soon(self._protocol.resume_writing)
        self._send(*pieces)
        self._answered(asked.session)

    def _failed_by(self, fault: Exception, is_end: bool) -> None:
        """A fault of ours: whoever asked gets a miss."""
        faults.contain(f"{LIB}.server", fault)
        asked = self.asked
        if asked is not None:
            self._refuse(asked, refusal(LIB, asked.session, fault), is_end)

    def _refuse(self, asked: Asked, problem: BaseException, is_end: bool) -> None:
        """Bring the client to rest: it gets an error, and a client that has ended its request, that it may ask again.

        A client that prepares asks by itself whether the server is ready.
        """
        self._answering = None
        self._outgoing.clear()
        told = b"" if asked.problem is not None else _NOT_ANSWERED
        asked.problem = problem
        if is_end:
            self._busy = False
            told += _READY_IN[self._state]
        asked.is_open = asked.method == "prepare"
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.data_received, told)
            # It may have been kept from sending more.
            self._loop.call_soon(self._protocol.resume_writing)

    @in_steps
    def _answer_to(self, asked: Asked, kind: bytes) -> Generator[Step, Any, _Pieces]:
        method, given, held = asked.method, asked.given, self.held
        assert held is not None
        if method == "close_statement":
            return [wire.message(b"3") + wire.ready(self._state)]
        if method == "close_portal":
            self._portals.pop(given["portal_name"], None)
            return [wire.message(b"3") + wire.ready(self._state)]
        if asked.gave_up:
            return [wire.ready(self._state)]
        if kind == _EXECUTE:
            asked.gave_up = True
        elif method == "bind_execute_many" and asked.executed < len(asked.site.many or ()):  # type: ignore[union-attr]
            return [wire.ready(self._state)]
        asked.came = True
        if kind == _COPY_FAILED:
            # The client asks to cancel as well.
            return []
        if method == "query" and internals.is_reset(self._connection(), given["query"]):
            return [self._reset()]
        session, site = asked.session, asked.site
        if not isinstance(session, ReplaySession) or not replays(LIB, session, lambda: held.target.address):
            if verb_of(given.get("query", "")) in ("ROLLBACK", "UNLISTEN"):
                self._state = "I"
                return [wire.command_complete(verb_of(given["query"])) + wire.ready("I")]
            raise unrecorded(held.target, f"{method} outside the replay")
        if method == "execute":
            return (yield from self._fetched(asked, session, given["portal_name"], given["limit"]))
        if site is None:
            raise unrecorded(held.target, method)
        if method == "prepare":
            return (yield from self._prepare(asked, session, site))
        if method == "copy_in" and kind == _QUERY:
            # What the server says to the statement, it says behind the data.
            return [wire.message(b"G", b"\0\0\0")]
        return (yield from self._exchange(asked, session, site))

    def _connection(self) -> Any:
        return self.held.connection() if self.held is not None else None

    def _reset(self) -> bytes:
        """A pool cleans up: no call of the app's."""
        self._portals.clear()
        now = internals.settings_of(self._protocol)
        changed = [["S", name, value] for name, value in self._settings.items() if now.get(name) != value]
        return wire.sent_beside(changed) + wire.command_complete("RESET") + wire.ready(self._state)

    def _statements(self, session: ReplaySession) -> _Statements:
        return session.state(f"{LIB}.statements", lambda: _Statements(session))

    def _prepare(self, asked: Asked, session: ReplaySession, site: Exchange) -> Generator[Step, Any, _Pieces]:
        text = _redacted_text(session, site)
        statements = self._statements(session)
        event = statements.upcoming(text)
        if event is not None and event.signature.method == PREPARE and event.result.exception is not None:
            # It failed at this point when it was recorded.
            error, _ = yield from self._event_of(session, site)
            if error is not None:
                return (yield from self._error(asked, site, error))
        described = statements.described(text)
        if described is None:
            # A miss.
            yield from self._event_of(session, site)
            raise unrecorded(site.target, "a statement whose columns are not known")
        self._types = described.types
        return [prepared(described)]

    def types_of(self, oids: Collection[int]) -> list[dict[str, Any]]:
        """What the recorded server told of types, as they were by then."""
        assert self.held is not None
        since = {str(kind["oid"]): kind for kind in self._types}
        return self.held.target.types.found(oids, since)  # type: ignore[attr-defined,no-any-return]

    def _event_of(
        self, session: ReplaySession, site: Exchange
    ) -> Generator[Step, Any, tuple[BaseException | None, DependencyEvent | None]]:
        """The error of a request, or its event."""
        error: BaseException | None = None
        event: DependencyEvent | None = None
        try:
            event = yield from flow(site, session)
        except TimetracerError:
            raise
        except Exception as recorded:
            if recorded is not site.rebuilt:
                raise
            error = recorded
        heard_in(session).begun += 1
        return error, event

    def _exchange(self, asked: Asked, session: ReplaySession, site: Exchange) -> Generator[Step, Any, _Pieces]:
        status, state = _NEEDS_NO_EVENT.get(site.verb, (None, None))
        if status is not None and state is not None and site.upcoming(session) is None:
            self._state = "T" if "TO" in site.call().args["statement"].upper().split() else state
            return [wire.command_complete(status) + wire.ready(self._state)]
        error, event = yield from self._event_of(session, site)
        if error is not None:
            return (yield from self._error(asked, site, error))
        assert event is not None
        reply = event.result.reply
        beside = wire.sent_beside(reply.get("beside") or ())
        self._state = reply.get("state") or self._state
        end = wire.command_complete(reply["status"]) if reply.get("status") is not None else wire.message(b"I")
        method, given, types = asked.method, asked.given, site.target.types  # type: ignore[attr-defined]
        if method == "copy_out":
            copied = [wire.message(b"d", piece) for piece in reply.get("copied") or ()]
            return [
                beside + wire.message(b"H", b"\0\0\0"),
                *copied,
                wire.message(b"c") + end + wire.ready(self._state),
            ]
        if site.portal:
            self._portals[site.portal] = _Portal(site, rows_of(reply, types), event)
            if method == "bind":
                return [beside + wire.message(b"2") + wire.ready(self._state)]
            return [beside, *(yield from self._fetched(asked, session, site.portal, given["limit"]))]
        if reply.get("suspended"):
            end = wire.message(b"s")
        rows = rows_of(reply, types) if method in ("bind_execute", "bind_execute_many") else ()
        return [beside + b"".join(rows) + end + wire.ready(self._state)]

    def _fetched(self, asked: Asked, session: ReplaySession, name: str, limit: int) -> Generator[Step, Any, _Pieces]:
        """The next rows of a cursor."""
        portal = self._portals.get(name)
        if portal is None:
            raise session.refuse_unrecorded("a cursor that is not open", "report it.")
        if self._state == "E":
            return [wire.error(_ABORTED) + wire.ready("E")]
        left = portal.rows[portal.next :]
        rows = left[:limit] if limit else left
        portal.next += len(rows)
        reply = portal.reply
        if limit and len(rows) == limit:
            return [b"".join(rows) + wire.message(b"s") + wire.ready(self._state)]
        if "fetch_error" in reply:
            error = portal.site.rebuild_error(reply["fetch_error"])
            return [b"".join(rows), *(yield from self._error(asked, portal.site, error))]
        if reply.get("suspended"):
            raise session.refuse(
                portal.event, f"fetching more than the {len(portal.rows)} rows that the recorded app fetched in all"
            )
        status = reply.get("status")
        end = wire.command_complete(status) if status is not None else b""
        return [b"".join(rows) + end + wire.ready(self._state)]

    def _error(self, asked: Asked, site: Exchange, error: BaseException) -> Generator[Step, Any, _Pieces]:
        """A recorded error: asyncpg makes it again of the server's message, or meets it by itself."""
        recorded = site.recorded_error
        assert recorded is not None
        said = recorded.attributes.get(ANSWERED) or {}
        beside = wire.sent_beside(said.get("beside") or ())
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)) and internals.has_timeout(
            self._protocol, asked.given.get("timeout")
        ):
            # asyncpg's own clock ends it.
            yield OurStep(asyncio.sleep, _LONG_S)
        fields = internals.field_of(error)
        if recorded.attributes.get(DISCONNECTED) or (fields or {}).get("C") == _CANCELLED["C"]:
            # Somebody else, or the app, ended it after that time; the app may do so again.
            yield OurStep(asyncio.sleep, said.get("after_s", 0.0))
        if fields is None:
            asked.problem = error
            if recorded.attributes.get(DISCONNECTED):
                return [beside, None]
            end = b"" if asked.is_open else wire.ready(self._state)
            return [beside, _NOT_ANSWERED + end]
        self._state = said.get("state") or self._failed()
        message = beside + wire.error(fields)
        if recorded.attributes.get(DISCONNECTED):
            return [message, None]
        # A client that prepares asks by itself whether the server is ready.
        return [message if asked.is_open else message + wire.ready(self._state)]

    def _answered(self, session: BaseSession | None) -> None:
        """Give what the recorded server sent by itself behind so many answers."""
        if not isinstance(session, ReplaySession):
            return
        if not session.holds_method(LIB, RECEIVED):
            return
        heard = heard_in(session)
        heard.servers.add(self)
        for server in list(heard.servers):
            if server._loop is self._loop and not server._closing:
                server._receive(session, heard.begun)

    def _receive(self, session: ReplaySession, begun: int) -> None:
        held = self.held
        if held is None:
            return
        while True:
            site = Received(held.target, self._protocol, [])
            event = session.upcoming(site.redacted(session), hooks.whereabouts(None).path())
            if event is None or event.result.reply["after"] > begun or not session.claim(event):
                return
            lost = [None] if event.result.reply.get("lost") else []
            # Whoever began to listen has the turn first.
            self._loop.call_later(_TURN_S, self._turn, wire.sent_beside(event.result.reply["beside"]), *lost)


_LONG_S: Final = 3600.0
_TURN_S: Final = 0.01


def _redacted_text(session: ReplaySession, site: Exchange) -> str:
    """The statement as it stands in the cassette."""
    return str(site.redacted(session, anew=True).args["statement"])
