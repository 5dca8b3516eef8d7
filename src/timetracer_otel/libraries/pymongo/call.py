"""Commands and choices of a server, as `flow` wants them stated."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

from pymongo.errors import ServerSelectionTimeoutError

from timetracer_otel.calls.flow import Recording, Site, begun, records
from timetracer_otel.calls.guarded import AppStep, Flow, Noted
from timetracer_otel.cassette import Unencodable, rebuild_error
from timetracer_otel.constants import CapturePolicy, EventType
from timetracer_otel.libraries.pymongo import internals
from timetracer_otel.libraries.pymongo.documents import plain_document, restored_document
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = [
    "LIB",
    "NEEDS_NO_ANSWER",
    "AnotherReply",
    "CommandSite",
    "Selection",
    "SelectionSite",
    "line_of",
]

LIB: Final = internals.LIB
NEEDS_NO_ANSWER: Final[Mapping[str, Mapping[str, Any]]] = {
    "abortTransaction": {},
    "endSessions": {},
    "killCursors": {"cursorsKilled": [], "cursorsNotFound": []},
}
"""What a replay lets pass where no recorded event is left for it, since there is nothing to clean up; and what stands
in the reply then."""
_MADE_ANEW: Final = ("lsid", "$clusterTime", "txnNumber", "$db")
"""Fields of commands that the driver makes by itself, and the database, which stands in the URL."""
_LINE: Final = "_timetracer"


@dataclass(slots=True)
class Line:
    """What is noted of a connection between the sending of a message and its reply."""

    waiting: CommandSite | None = None
    """The recorded command whose reply comes next."""
    replies: deque[Any] = field(default_factory=deque)
    """In a replay: what is read next."""
    last: CommandSite | None = None
    """The last command, where it has more than one reply."""


def line_of(connection: Any) -> Line:
    """What is noted of a connection."""
    kept: dict[str, Any] = vars(connection)
    line: Line | None = kept.get(_LINE)
    if line is None:
        line = kept[_LINE] = Line()
    return line


def mongo_url(address: tuple[str, int | None]) -> str:
    """A server's address as a URL."""
    host, port = address
    return f"mongodb://{host}" if port is None else f"mongodb://{host}:{port}"


def _done(name: str) -> Any:
    return internals.reply_of(restored_document({**NEEDS_NO_ANSWER[name], "ok": 1.0}))


@dataclass(slots=True)
class _Told:
    """What the plugin remembers of one recording: the servers whose greeting stands in it."""

    addresses: set[Any] = field(default_factory=set)


class CommandSite(Site, Noted):
    """A command that goes out, and the reply to it, of which it is the `Noted`."""

    lib = LIB
    as_called = True
    _recording: Recording | None = None
    _call: Call | None = None
    _reply: tuple[bytes, int] | None = None
    _hello: bytes | None = None
    _too_long = 0

    def __init__(self, connection: Any, sent: internals.Sent, live: AppStep, pause: Callable[[float], Any]) -> None:
        self._connection: Any = connection
        self._sent = sent
        self._address: tuple[str, int | None] = connection.address
        self.live: Any = live
        self.pause: Any = pause
        self.span = internals.span_of(connection, sent.request_id)
        self.marks_span = self.span is not None
        self.connects: Callable[[], Flow] | None = None
        """Opens the real socket of a connection of a replay."""

    # What flow asks

    @property
    def address(self) -> str:
        """Host and port, or the file of the socket."""
        return mongo_url(self._address)

    def observe(self, session: TraceSession) -> None:
        """Take the greeting of the server along, in the first event about it; leave out what has no room."""
        told = session.state(LIB, _Told).addresses
        if self._address not in told:
            told.add(self._address)
            self._hello = internals.hello_of(self._connection)
        sent = self._sent
        if not self._keeps(
            session, len(sent.body) + sum(len(each) for one in sent.sequences.values() for each in one)
        ):
            call = self.call()
            args: Any = call.args
            self._call = replace(call, args={sent.name: args.get(sent.name)})
            self._sent = sent._replace(body=b"", sequences={})

    def _keeps(self, session: TraceSession, size_bytes: int) -> bool:
        limits = session.limits
        if self._too_long or size_bytes > limits.body_bytes or not limits.take(size_bytes):
            self._too_long = self._too_long or size_bytes
        return not self._too_long

    def call(self) -> Call:
        """The command as a document, without what a driver makes by itself."""
        if self._call is None:
            name, body, sequences = self._sent.name, self._sent.body, self._sent.sequences
            database = ""
            try:
                args = plain_document(body)
                database = str(args.get("$db", ""))
                args = {key: value for key, value in args.items() if key not in _MADE_ANEW}
                args.update({key: list(map(plain_document, each)) for key, each in sequences.items()})
            except Unencodable:
                digest = hashlib.sha256(body)
                for document in chain.from_iterable(sequences.values()):
                    digest.update(document)
                args = {"sha256": digest.hexdigest()}
            # The collection of a ``getMore`` stands in a field of its own.
            of = args.get("collection" if name == "getMore" else name)
            # The folder of a socket differs from machine to machine.
            host = "" if self._address[1] is None else self._address[0]
            url = f"mongodb://{host}/{database}.{of}" if type(of) is str else f"mongodb://{host}/{database}"
            self._call = Call(LIB, EventType.DB_QUERY, name, url, args=args)
        return self._call

    def returned(self, value: Any, recording: Recording) -> Any:
        """The message is sent: its reply belongs here, where there will be one."""
        line = line_of(self._connection)
        # What was recorded keeps no connection alive.
        self._connection = self.live = None
        self._recording = recording
        line.last = self if self._sent.flags & internals.EXHAUST_ALLOWED else None
        if self._sent.flags & internals.MORE_TO_COME:
            recording.close()
        else:
            line.waiting = self
        return value

    def came(self, value: Any) -> Any:
        """The reply."""
        recording = self._recording
        assert recording is not None
        data = internals.reply_bytes(value)
        if self._keeps(recording.session, len(data[0])):
            self._reply = data
        recording.close()
        return value

    def raised(self, error: BaseException) -> None:
        """There is no reply."""
        assert self._recording is not None
        self._recording.raised(error)

    def result(self, recording: Recording) -> EventResult:
        """The reply as a document, with the greeting of its server where nobody has told that yet."""
        made: dict[str, Any] = {}
        config = recording.session.config
        policy = config.store_response_body
        failed = None
        try:
            if self._reply is not None:
                document, flags = self._reply
                made["reply"] = plain_document(document)
                failed = _error_in(made["reply"])
                made.update({"flags": flags} if flags else {})
            if self._hello is not None:
                made.update(hello=plain_document(self._hello), address=list(self._address))
        except Unencodable as reason:
            recording.not_replayable = str(reason)
        if _is_change_stream(self.call().args):
            recording.not_replayable = "a change stream tells of others' changes, at times of its own"
        if self._too_long:
            recording.not_replayable = f"its reply or command {config.why_too_long(self._too_long)}"
        elif policy is CapturePolicy.NEVER or (policy is CapturePolicy.ON_ERROR and failed is None):
            recording.not_replayable = f"its reply was not kept (TIMETRACER_STORE_RES_BODY={policy.value})"
            made.pop("reply", None)
        return EventResult(reply=made, error=failed)

    def again(self) -> bool:
        """True: where the connection is one of a replay, it is opened for real before."""
        return True

    def before_again(self) -> Flow:
        """Open the real socket, where there is none."""
        if self.connects is not None:
            yield from self.connects()

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """Put the recorded reply in line for who reads from the connection."""
        line = line_of(self._connection)
        line.last = self if self._sent.flags & internals.EXHAUST_ALLOWED else None
        if not self._sent.flags & internals.MORE_TO_COME:
            line.replies.append(_done(self._sent.name) if event is None else _reply_in(event))

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """What a socket raised, or pymongo."""
        return rebuild_error(error, {LIB})


class AnotherReply(CommandSite):
    """One more reply to a command, which the server sends without being asked for it: of an exhaust cursor."""

    @classmethod
    def to(cls, site: CommandSite, connection: Any, live: AppStep) -> AnotherReply:
        """The next reply to the command of a site."""
        return cls(connection, site._sent, live, site.pause)

    def returned(self, value: Any, recording: Recording) -> Any:
        """The reply."""
        self._recording, self._connection, self.live = recording, None, None
        return self.came(value)

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """The recorded reply."""
        assert event is not None
        return _reply_in(event)


def _reply_in(event: DependencyEvent) -> Any:
    reply = event.result.reply
    return internals.reply_of(restored_document(reply["reply"]), reply.get("flags", 0))


def _is_change_stream(args: Any) -> bool:
    pipeline = args.get("pipeline")
    return bool(pipeline) and type(pipeline[0]) is dict and "$changeStream" in pipeline[0]


def _error_in(reply: Mapping[str, Any]) -> str | None:
    """What a server says of a command that it did not do."""
    if reply.get("ok"):
        return None
    return str(reply.get("errmsg", ""))


class Selection(Noted):
    """A choice of a server while an app is recorded: noted only where none could be chosen."""

    __slots__ = ("_began_s", "_session", "_topology")

    def __init__(self, session: BaseSession, topology: Any) -> None:
        self._session = session
        self._topology = topology
        self._began_s = time.perf_counter()

    def came(self, value: Any) -> Any:
        """What is sent to the server is recorded, with what the client knows of it."""
        internals.note_servers(value)
        return value

    def raised(self, error: BaseException) -> None:
        """No server could be chosen in time; or a client was closed, which a replay finds out by itself."""
        if not isinstance(error, ServerSelectionTimeoutError) or not records(LIB, self._session):
            return
        assert isinstance(self._session, TraceSession)
        recording = begun(SelectionSite(self._topology, None), self._session)
        if recording is not None:
            recording.started_s = self._began_s
            recording.raised(error)


class SelectionSite(Site):
    """A choice of a server that failed."""

    lib = LIB
    marks_span = False
    may_disown = True

    def __init__(self, topology: Any, live: AppStep | None) -> None:
        self._topology = topology
        self._seeds = internals.seeds_of(topology)
        self.live: Any = live

    @property
    def address(self) -> str:
        """That of the first server."""
        return mongo_url(self._seeds[0])

    def call(self) -> Call:
        """``SELECT`` among the servers that the client was given."""
        url = f"mongodb://{','.join(host for host, _ in self._seeds)}/"
        return Call(LIB, EventType.DB_QUERY, "SELECT", url, args={"select": "a server"})

    def disowns(self, outcome: Any) -> bool:
        """Whether no server was chosen since the client's monitor met a miss, which tells nothing of the servers."""
        return isinstance(outcome, Exception) and internals.miss_of(self._topology) is not None

    def returned(self, value: Any, recording: Recording) -> Any:
        """A server was chosen, which is no event."""
        recording.withdraw()
        return value

    def result(self, recording: Recording) -> EventResult:
        """Nothing."""
        return EventResult()

    def again(self) -> bool:
        """True: the client looks for its servers."""
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """There is no answer but an error."""
        raise ValueError("a choice of a server that is an event has failed")

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """Pymongo's error, with its text."""
        return rebuild_error(error, {LIB})
