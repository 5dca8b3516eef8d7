"""The values that all rooms pass around: events, bodies, cassettes. Imports nothing of ours but the constants.

The names and the leading fields are those of the PyPI package ``timetracer`` 1.6. Fields that this
project adds come after them and have defaults, so that code written for that package runs unchanged.
All classes are plain values: they are compared by content, and none is safe to change from two
threads at once.
"""

# pyright: reportUnknownVariableType=false
# Pyright infers no item types from a factory (``default_factory=dict``). The annotation of the field states them.

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from timetracer_otel.constants import SETS_UP, WITHOUT_PLUGIN, BodyEnd, EventType
from timetracer_otel.notebooks import html_of

if TYPE_CHECKING:
    from timetracer_otel.exceptions import NetworkBlockedError, ReplayMismatchError

__all__ = [
    "AppliedPolicies",
    "Binding",
    "BodySnapshot",
    "Call",
    "CallSnapshot",
    "CallView",
    "CaptureStats",
    "Cassette",
    "DependencyEvent",
    "EventResult",
    "EventSignature",
    "HeaderMap",
    "HeaderPairs",
    "HeadersDict",
    "JsonDict",
    "LogEntry",
    "Matcher",
    "NotedEvent",
    "QueryDict",
    "RecordedError",
    "RequestSnapshot",
    "ResponseSnapshot",
    "Scrubbing",
    "SentRows",
    "SessionMeta",
    "SpanFacts",
    "TracePlugin",
    "Verdict",
]

HeaderPairs: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header lines as they stood on the wire: in order, with duplicates, names in their own case."""
HeadersDict: TypeAlias = dict[str, str]
QueryDict: TypeAlias = dict[str, "str | list[str]"]
"""Query parameters by name; a list (sorted) where a name occurs more than once."""
JsonDict: TypeAlias = dict[str, Any]


class HeaderMap(dict[str, str]):
    """Header lines as a dictionary with lower-case names, and exactly in ``pairs``.

    The dictionary joins duplicates with ``", "`` (RFC 9110 section 5.3); ``pairs`` keeps their order,
    number, case and bytes. Treat it as read-only: changing the dictionary leaves ``pairs`` as they are.
    """

    __slots__ = ("pairs",)

    pairs: tuple[tuple[bytes, bytes], ...]

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.pairs = pairs = tuple(pairs)
        known = _LOWERED_NAMES
        try:
            names = [known[name] for name, _ in pairs]
        except (KeyError, TypeError):
            names = [_lowered_name(name) for name, _ in pairs]
        values = [value.decode("latin-1") for _, value in pairs]
        super().__init__(zip(names, values, strict=True))
        if len(self) < len(names):
            self._join(names, values)

    def _join(self, names: list[str], values: list[str]) -> None:
        # Joined at the end, since to join one by one copies all before it each time.
        by_name: dict[str, list[str]] = {}
        for name, value in zip(names, values, strict=True):
            by_name.setdefault(name, []).append(value)
        for name, all_of_it in by_name.items():
            self[name] = ", ".join(all_of_it)


@dataclass(slots=True)
class SentRows:
    """Rows as a server sent them, in place of lists of values, until their event is read.

    Attributes:
        types: Of the columns, by their numbers in PostgreSQL.
        number: How many rows there are.
        data: The rows, each a message ``DataRow`` of PostgreSQL's protocol 3.0.
        texts: What may hold a secret among the values: the texts of each column in one, with ``APART`` between them.
        raw: The same of bytes.
    """

    APART: ClassVar[str] = "\0"
    """No text of PostgreSQL holds it."""

    types: Sequence[int]
    number: int
    data: bytes
    texts: Sequence[str] = ()
    raw: Sequence[bytes] = ()

    def __len__(self) -> int:
        return self.number


_MOST_NAMES = 1024
_LONGEST_NAME_BYTES = 64
_LOWERED_NAMES: dict[bytes, str] = {}
"""Names of headers in lower case. A program meets few of them, and each with every call. Safe from any thread: an
entry that two threads add is the same."""


def _lowered_name(name: bytes) -> str:
    lowered = name.decode("latin-1").lower()
    if len(_LOWERED_NAMES) < _MOST_NAMES and len(name) <= _LONGEST_NAME_BYTES and type(name) is bytes:
        _LOWERED_NAMES[name] = lowered
    return lowered


@dataclass(slots=True)
class RecordedError:
    """An exception as a value: rebuilt on replay as the same class with the same arguments."""

    cls: str
    """``module:qualified name`` of the class, as in entry points (``httpx:ReadTimeout``)."""
    message: str
    """``str()`` of the exception when it was recorded."""
    args: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    cause: RecordedError | None = None
    """The exception's ``__cause__``, which may have a cause in turn."""
    unfaithful: str | None = None
    """Why the exception cannot be rebuilt, where an argument has no faithful encoding."""
    enums: dict[str, str] = field(default_factory=dict)
    """Attributes that are members of an enumeration, each as ``module:qualified name.MEMBER``."""


@dataclass(slots=True)
class BodySnapshot:
    """A body, or the part of it that was kept."""

    captured: bool
    encoding: str | None = None
    """``"bytes"`` for bodies of our own plugins; hand-written plugins may say what they like."""
    data: Any = None
    truncated: bool = False
    size_bytes: int | None = None
    hash: str | None = None
    """SHA-256 of the redacted body, hexadecimal."""
    chunks: tuple[tuple[float, int], ...] = ()
    """``(milliseconds since the call began, bytes)`` of each chunk, in order; sizes add up to ``data``."""
    end: BodyEnd = BodyEnd.COMPLETE
    error: RecordedError | None = None
    """The error that ended the body, where ``end`` is ``FAILED``."""
    end_ms: float | None = None
    """When the body ended, in milliseconds since the call began."""


@dataclass(slots=True)
class RequestSnapshot:
    """The request (message, job) that a local root span stands for."""

    method: str
    path: str
    route_template: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: BodySnapshot | None = None
    client_ip: str | None = None
    user_agent: str | None = None
    target: str | None = None
    """Path and query as in the request line (RFC 9112 section 3.2), redacted; None where the line was not seen."""


@dataclass(slots=True)
class ResponseSnapshot:
    """The response to the request that a local root span stands for."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: BodySnapshot | None = None
    duration_ms: float = 0.0


@dataclass(slots=True)
class EventSignature:
    """The facts that a call is matched by: plugin, method, target, query as a multiset, redacted body or
    arguments.
    """

    lib: str
    method: str
    url: str | None = None
    """Target without query, fragment and user information; scheme and host in lower case."""
    query: dict[str, Any] = field(default_factory=dict)
    headers_hash: str | None = None
    body_hash: str | None = None
    """SHA-256 of the redacted body or arguments, hexadecimal; None where there are none."""


@dataclass(slots=True)
class EventResult:
    """What a call returned or raised."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """A `HeaderMap` for events of our own HTTP plugins."""
    body: BodySnapshot | None = None
    error: str | None = None
    error_type: str | None = None
    exception: RecordedError | None = None
    reply: Any = None
    """Whatever else the plugin needs to rebuild its library's own result."""


@dataclass(slots=True)
class CallSnapshot:
    """The headers, body and arguments of a call, redacted. The tools show them, and they are compared with the call
    when no signature fits.
    """

    headers: dict[str, str] = field(default_factory=dict)
    body: BodySnapshot | None = None
    args: Any = None


@dataclass(slots=True)
class SpanFacts:
    """The span that a call was made in, as OpenTelemetry described it. Ids are lower-case hexadecimal."""

    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    name: str | None = None
    kind: str | None = None
    status: str | None = None
    status_description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    scope: str | None = None
    """Name of the instrumentation scope that made the span."""
    start_ns: int | None = None
    """Nanoseconds since the Unix epoch, as in OTLP."""
    end_ns: int | None = None
    sampled: bool = False


class _Rest(Protocol):
    """The rest of an event that was read in part: see `timetracer_otel.cassette.later_events`. Or what was noted of a
    call: see `timetracer_otel.session.open_events`.
    """

    def fill(self, event: DependencyEvent, place: Any, name: str, /) -> None: ...
    def may_hold_body(self, place: Any, /) -> bool: ...


class _ReadInPart:
    """Gives an event what is decoded when it is first asked for. Nothing of it runs for what the event has."""

    __slots__ = ("_place", "_rest")

    _rest: _Rest
    """Not there where the event has all of its fields."""
    _place: Any

    def leave(self, rest: _Rest, place: Any) -> None:
        """Let the fields that it lacks come from ``rest``, which finds them by ``place``."""
        self._rest = rest
        self._place = place

    if not TYPE_CHECKING:  # Type checkers would take every name for one of an event.

        def __getattr__(self, name: str) -> Any:
            try:
                rest, place = _REST.__get__(self), _PLACE.__get__(self)
            except AttributeError:
                pass  # Another thread has decoded it meanwhile, or there is no such attribute.
            else:
                rest.fill(self, place, name)
            return object.__getattribute__(self, name)


_REST: Any = _ReadInPart.__dict__["_rest"]
_PLACE: Any = _ReadInPart.__dict__["_place"]


_SETTING_UP = frozenset({EventType.DB_QUERY, EventType.HTTP_CLIENT})
"""The types of events in whose replies `SETS_UP` is ours. In others, it may be a name of the app's."""


@dataclass(slots=True)
class DependencyEvent(_ReadInPart):
    """One recorded call to a dependency, with its real result."""

    eid: int
    """Position in the session, in order of start, from 1; given by the session."""
    event_type: EventType
    start_offset_ms: float
    duration_ms: float
    """How long it took until its answer: the last byte of a body. Where more is read of it later, such as the rows of
    a cursor or the messages of a subscription, it is the time until the call returned. `ended_ms` has the rest."""
    signature: EventSignature
    result: EventResult
    call: CallSnapshot | None = None
    span: SpanFacts | None = None
    path: tuple[str, ...] = ()
    """Names of the spans around the call, outermost first. They decide between events with equal signatures."""
    not_replayable: str | None = None
    """Why no replay can answer from this event; None where it can."""
    within: list[SpanFacts] = field(default_factory=list)
    """Client spans of other instrumentations of the same call: those inside it, and that of a client for language
    models around it, where it is not `span`."""
    pseudonyms: tuple[str, ...] = ()
    """The pseudonyms that this event is the first to hold, in a file that was written while the recording ran. A
    whole cassette has them in `Cassette.pseudonyms`, but for those that are too short to be a name."""
    transaction: tuple[DependencyEvent, ...] = field(default=(), compare=False, repr=False)
    """The beginning and the end of its transaction, as far as a file has them within this event. They are events of
    the cassette as well."""
    ended_ms: float | None = None
    """When the last was read of a call that went on after its answer, in milliseconds since it began. The last row
    of a cursor, or the end of a subscription. None where the call ended with its answer."""

    @property
    def answered_offset_ms(self) -> float:
        """When its answer was there, in milliseconds since the recording began."""
        return self.start_offset_ms + self.duration_ms

    @property
    def end_offset_ms(self) -> float:
        """When it ended, with all that was read later, in milliseconds since the recording began."""
        return self.start_offset_ms + (self.duration_ms if self.ended_ms is None else self.ended_ms)

    def lacks(self, name: str) -> bool:
        """Whether a field is still to be decoded."""
        try:
            getattr(DependencyEvent, name).__get__(self)
        except AttributeError:
            return True
        return False

    def complete(self, whole: DependencyEvent) -> None:
        """Take the fields that are still to be decoded from the whole event."""
        for name in DependencyEvent.__dataclass_fields__:
            if self.lacks(name):
                setattr(self, name, getattr(whole, name))
        self.is_whole_now()

    def is_whole_now(self) -> None:
        """Forget where the fields came from that were still to be decoded."""
        del self._place
        del self._rest

    @property
    def may_hold_body(self) -> bool:
        """Whether its call may have a body. It is told without decoding, so that the call may have none all the
        same.
        """
        if self.lacks("call"):
            try:
                return self._rest.may_hold_body(self._place)
            except AttributeError:
                pass  # Another thread has decoded it meanwhile.
        return self.call is not None and self.call.body is not None

    @property
    def is_observed_only(self) -> bool:
        """Whether it was made of a span alone: nobody captured the call."""
        return self.not_replayable is not None and self.call is None and self.span is not None

    @property
    def sets_up(self) -> bool:
        """Whether it opened a connection to a database, or is what a library asked by itself to set that up, to see
        whether it is alive, or to get credentials. An app whose connection is open needs no such call, and a replay
        needs no credentials.
        """
        reply = self.result.reply
        return self.event_type in _SETTING_UP and isinstance(reply, dict) and SETS_UP in reply

    @property
    def is_without_plugin(self) -> bool:
        """Whether it was made of a span alone because no plugin captures that client's calls.

        The span of a library that has a plugin stands alone where the recording was full when the call was made, or
        where the library failed before it made the call.
        """
        return self.is_observed_only and (self.not_replayable or "").startswith(WITHOUT_PLUGIN)


class NotedEvent(DependencyEvent):
    """An event of which there are notes, until somebody asks for what it holds. Then it becomes a `DependencyEvent`.

    Most events of a recording are written and never read, and are written from the notes. It has its position, its
    type, its times, its pseudonyms and its transaction. These may be set; whatever else is read, set or compared
    makes it whole.
    """

    __slots__ = ()

    @classmethod
    def of(
        cls,
        eid: int,
        event_type: EventType,
        start_offset_ms: float,
        duration_ms: float,
        pseudonyms: tuple[str, ...],
        rest: _Rest,
        notes: Any,
        ended_ms: float | None = None,
    ) -> NotedEvent:
        """An event of these notes.

        Args:
            eid: Its position.
            event_type: Its type.
            start_offset_ms: When it began.
            duration_ms: How long it took.
            pseudonyms: Those in it.
            rest: Makes the other fields.
            notes: What it makes them of.
            ended_ms: See the field.
        """
        event: Any = DependencyEvent.__new__(DependencyEvent)
        event.eid = eid
        event.event_type = event_type
        event.start_offset_ms = start_offset_ms
        event.duration_ms = duration_ms
        event.pseudonyms = pseudonyms
        event.transaction = ()
        event.ended_ms = ended_ms
        event._rest = rest
        event._place = notes
        # Only now, since each assignment below goes through a function.
        event.__class__ = NotedEvent
        made: NotedEvent = event
        return made

    def notes(self) -> tuple[Any, Any] | None:
        """What makes the other fields, and of what; None where another thread has made them meanwhile."""
        try:
            return _REST.__get__(self), _PLACE.__get__(self)
        except AttributeError:
            return None

    def make(self) -> None:
        """Make all fields."""
        notes = self.notes()
        if notes is not None:
            notes[0].fill(self, notes[1], "result")

    def complete(self, whole: DependencyEvent) -> None:
        """Take the fields of the whole event, and become one."""
        object.__setattr__(self, "__class__", DependencyEvent)
        DependencyEvent.complete(self, whole)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _NOTED_FIELDS:
            self.make()
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        self.make()
        return self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        self.make()
        return repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.make()
        return self.__reduce_ex__(protocol)


_NOTED_FIELDS = frozenset(
    {"eid", "event_type", "start_offset_ms", "duration_ms", "pseudonyms", "transaction", "ended_ms"}
)


@dataclass(slots=True)
class SessionMeta:
    """Where and when a recording was made."""

    id: str
    recorded_at: str
    """ISO 8601 in UTC."""
    service: str
    env: str
    framework: str = ""
    timetracer_version: str = ""
    python_version: str = ""
    service_version: str | None = None
    """``service.version`` of the resource; None where it names none."""
    git_sha: str | None = None
    """The revision of the app's source, as its resource or the variables of its builder tell it."""
    trace_id: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the installed distributions that may have taken part, by name."""
    process: list[str] = field(default_factory=list)
    """Random identifiers: of the process that recorded, last, and before it of those that it was forked from."""
    hash_seed: str | None = None
    """``PYTHONHASHSEED`` of the process; None where it was not set: nobody can read the seed that Python chose."""
    hash_randomization: bool | None = None
    """``sys.flags.hash_randomization``; None where the recorder did not say."""
    random_state: tuple[int, tuple[int, ...], float | None] | None = None
    """What ``random.getstate()`` gave when the recording began, for ``random.setstate``; None without the setting
    ``random_state``."""
    renewed_at: str | None = None
    """When the recording was last made anew, ISO 8601 in UTC; None where it never was. ``recorded_at`` is of
    the calls that had not changed by then."""


@dataclass(slots=True)
class CaptureStats:
    """How much a recording kept, and how much it lost."""

    event_counts: dict[str, int] = field(default_factory=dict)
    total_events: int = 0
    total_duration_ms: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)
    """How many things were lost, by reason. Empty where nothing was."""
    without_plugin: dict[str, int] = field(default_factory=dict)
    """How many calls no plugin captured, by library. No replay can answer them. Empty where there were none."""
    connections: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many connections of clients that have no plugin, and left no span, by library and by address. A replay
    refuses them. Empty where there were none."""

    @classmethod
    def of(
        cls,
        events: Sequence[DependencyEvent],
        duration_ms: float,
        dropped: Mapping[str, int],
        connections: Mapping[tuple[str, str], int] | None = None,
    ) -> CaptureStats:
        """The statistics of a recording.

        Args:
            events: All of them.
            duration_ms: How long it took.
            dropped: What was lost, by reason.
            connections: By library and address: the connections that no plugin made.
        """
        # The property ``value`` of an enumeration's member is a function in Python, and so is the hash of one.
        counts = Counter([event.event_type._value_ for event in events])
        # What is noted of a call is an event that a plugin saw.
        alone = Counter(
            [
                event.signature.lib
                for event in events
                if type(event) is not NotedEvent and event.not_replayable and event.is_without_plugin
            ]
        )
        made = cls(dict(counts), len(events), duration_ms, dict(dropped), dict(sorted(alone.items())))
        made.connected(connections or {})
        return made

    def connected(self, connections: Mapping[tuple[str, str], int]) -> None:
        """Set the connections. Those of a library whose spans were recorded are not named a second time.

        Args:
            connections: How many, by library and address.
        """
        self.connections = {}
        for (library, address), number in sorted(connections.items()):
            if library not in self.without_plugin:
                self.connections.setdefault(library, {})[address] = number


@dataclass(slots=True)
class AppliedPolicies:
    """The settings that decided what the cassette holds."""

    redaction_mode: str = "default"
    redaction_rules: list[str] = field(default_factory=list)
    max_body_kb: int = 0
    store_request_body: str = "always"
    store_response_body: str = "always"
    sample_rate: float = 1.0
    errors_only: bool = False
    policy: str = ""
    budget: str = ""
    kept_as: str = ""
    """Why it was kept, where ``policy`` or ``budget`` decided: ``errors``, ``slower``, ``share``. Empty: it was not
    asked, or is not known."""
    pseudonymised: bool = False
    """Whether each secret was replaced by a pseudonym of its own, wherever it stood. In older recordings one constant
    text stands for all secrets, only under secret names."""


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """One scrubbing of a recording: later rules were applied to it (``timetracer-otel scrub``)."""

    at: str
    """ISO 8601 in UTC."""
    timetracer_version: str
    mode: str
    """The rules, as in `AppliedPolicies`."""
    rules: list[str] = field(default_factory=list)
    replaced: int = 0
    """How many values were replaced."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A log record that the app made while a recording ran, redacted."""

    at_ms: float
    """When it was made, in milliseconds since the recording began."""
    level: str
    """The name of its level: ``INFO``."""
    severity: int
    """The number of its level, as Python's `logging` has it: 20."""
    logger: str
    message: str
    """The message as a handler formatted it; the template, where none did and an argument is no plain value."""
    error: str | None = None
    """The exception that was logged with it: its traceback where a handler formatted that, its class and text
    otherwise."""
    span_id: str | None = None
    """The span that it was made in, lower-case hexadecimal."""


class LaterEvents(Protocol):
    """The events of a cassette that are not read yet: see `timetracer_otel.cassette.later_events`."""

    hold_boundaries: bool
    number: int

    def all(self) -> list[DependencyEvent]: ...
    def with_text(self, text: bytes, most: int, *, is_whole: bool = False) -> list[DependencyEvent] | None: ...


class _EventsLater:
    """Gives a cassette its events when they are first asked for. Nothing of it runs for a cassette that has them."""

    __slots__ = ("_later",)

    _later: LaterEvents
    """Not there where the cassette has its events."""

    def leave_events(self, later: LaterEvents) -> None:
        """Let the events come from ``later``."""
        del self.events  # type: ignore[attr-defined]
        self._later = later

    @property
    def later_events(self) -> LaterEvents | None:
        """What gives the events; None where the cassette has them."""
        try:
            found: LaterEvents = _LATER.__get__(self)
        except AttributeError:
            return None
        return found

    if not TYPE_CHECKING:  # Type checkers would take every name for one of a cassette.

        def __getattr__(self, name: str) -> Any:
            later = self.later_events
            if name == "events" and later is not None:
                self.events = later.all()
                with suppress(AttributeError):  # Another thread may have been quicker.
                    del self._later
            return object.__getattribute__(self, name)


_LATER: Any = _EventsLater.__dict__["_later"]


@dataclass(slots=True)
class Cassette(_EventsLater):
    """One whole recording."""

    schema_version: str
    session: SessionMeta
    request: RequestSnapshot
    response: ResponseSnapshot
    events: list[DependencyEvent] = field(default_factory=list)
    policies: AppliedPolicies = field(default_factory=AppliedPolicies)
    stats: CaptureStats = field(default_factory=CaptureStats)
    error_info: dict[str, Any] | None = None
    complete: bool = True
    """False where the recorder died before it could write the footer."""
    path: str | None = None
    """The file this was read from."""
    pseudonyms: tuple[str, ...] = ()
    """The texts that stand in the recording in place of secrets. They are no secrets, and belong to nothing else."""
    scrubbed: tuple[Scrubbing, ...] = ()
    """When later rules were applied to the recording; empty where it is as it was recorded."""
    logs: tuple[LogEntry, ...] = ()
    """The app's own log records, in order of time."""

    def __repr__(self) -> str:
        # Not its events: there may be thousands, which are not read yet.
        named = " ".join(part for part in (self.request.method, self.request.path) if part) or "(no request)"
        status = f" -> {self.response.status}" if self.response.status else ""
        number = len(self.events) if self.later_events is None else self.later_events.number
        parts = [f"{named}{status}", f"{number} call{'s' * (number != 1)}"]
        if not self.complete:
            parts.append("recovered")
        return f"<Cassette {self.session.id[:8]}: {', '.join([*parts, *([self.path] if self.path else [])])}>"

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        return html_of(self)


@dataclass(slots=True)
class Call:
    """One call as a plugin states it, before redaction. Bodies are exact bytes, headers as on the wire."""

    lib: str
    event_type: EventType
    method: str
    url: str | None = None
    """The target with its query, for HTTP; a name of the server or database otherwise."""
    headers: HeaderPairs = ()
    body: bytes | None = None
    body_end: BodyEnd = BodyEnd.COMPLETE
    """Not ``COMPLETE`` where the app did not send the body to its end."""
    too_long_bytes: int | None = None
    """The body's length, where it was too long to be kept. ``body`` is None then."""
    args: Any = None
    """Arguments of calls that are no HTTP: statement and parameters, command and keys."""


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as a matcher gets it. It was recorded or is made now; both are redacted by the same rules."""

    lib: str
    method: str
    url: str | None
    """Target without query."""
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes | None
    """None where the call has no body, or none was kept."""
    args: Any = None
    """Arguments of calls that are no HTTP."""


Matcher: TypeAlias = Callable[[CallView, CallView], bool]
"""Whether a recorded call (the first) answers one that is made now (the second)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A value of a recording and the one that a replay has in its place."""

    kind: str
    """``secret``, ``uuid``, ``ulid``, ``random``, ``snowflake`` or ``time``."""
    recorded: str
    present: str
    """Of a secret, a constant text that stands for it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.recorded} -> {self.present}"


class _UnusedLater:
    """Gives a verdict its unused events, and the number of paid calls, when they are first asked for: to find them
    takes longer than the rest.
    """

    __slots__ = ("_paid", "_unused")

    _unused: Callable[[], tuple[DependencyEvent, ...]]
    """Not there where the verdict has them."""
    _paid: Callable[[], int | None]

    def leave_unused(self, unused: Callable[[], tuple[DependencyEvent, ...]]) -> None:
        """Let the unused events come from ``unused``, which gives the same at any time."""
        object.__delattr__(self, "unused")
        object.__setattr__(self, "_unused", unused)

    def leave_paid(self, paid: Callable[[], int | None]) -> None:
        """Let the number of paid calls come from ``paid``, which looks at the recording."""
        object.__delattr__(self, "paid")
        object.__setattr__(self, "_paid", paid)

    if not TYPE_CHECKING:  # Type checkers would take every name for one of a verdict.

        def __getattr__(self, name: str) -> Any:
            if name == "unused":
                object.__setattr__(self, name, self._unused())
            elif name == "paid":
                object.__setattr__(self, name, self._paid())
            return object.__getattribute__(self, name)


@dataclass(frozen=True, slots=True)
class Verdict(_UnusedLater):
    """The account of a replay, up to now."""

    hits: tuple[DependencyEvent, ...] = ()
    """The recorded events that answered a call."""
    repeats: int = 0
    """How many calls were answered by an event that had answered a call before (``allow_repeats``)."""
    misses: tuple[ReplayMismatchError, ...] = ()
    """The errors of the calls that had no answer, also of those whose error the app swallowed."""
    unused: tuple[DependencyEvent, ...] = ()
    """The recorded events that would have answered a call, and that no call asked for."""
    live: Mapping[str, int] = field(default_factory=dict)
    """How many calls went out for real, by plugin, or by library where there is no plugin."""
    without_plugin: tuple[str, ...] = ()
    """The libraries among those of ``live`` that have no plugin."""
    recorded: int = 0
    """How many calls were made for real and recorded (record mode ``new_episodes``)."""
    blocked: tuple[NetworkBlockedError, ...] = ()
    """The connections that were refused, as no plugin makes them."""
    cassette_path: str = ""
    fail_on_unused: bool = False
    advice: str = ""
    """The setting that would leave out of the comparison all values that change from run to run, over all misses.
    Empty where no rule is advised."""
    bindings: tuple[Binding, ...] = ()
    """The values of the recording for which this run had others, which count as equal."""
    paid: int | None = None
    """How many calls to providers of language models went out for real. None where none did, and the recording holds
    no such call."""

    def __repr__(self) -> str:
        said = "ok" if self.ok else "not ok"
        return f"<Verdict {said}: {self}{f', {self.cassette_path}' if self.cassette_path else ''}>"

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        return html_of(self)

    @property
    def ok(self) -> bool:
        """Whether every call was answered, no connection was refused, and, where ``fail_on_unused`` is set, no event
        stayed unused.
        """
        return not (self.misses or self.blocked or (self.fail_on_unused and self.unused))

    def __str__(self) -> str:
        live = sum(self.live.values())
        parts = [f"{len(self.hits) + self.repeats} hit", f"{len(self.misses)} missed", f"{len(self.unused)} unused"]
        # What goes out past the plugins is named: nobody may have expected it.
        parts.append(f"{live} live" + (f" ({', '.join(self.without_plugin)})" if self.without_plugin else ""))
        if self.recorded:
            parts.append(f"{self.recorded} recorded")
        if self.blocked:
            parts.append(f"{len(self.blocked)} blocked")
        if self.bindings:
            parts.append(f"{len(self.bindings)} bound")
        if self.paid is not None:
            parts.append(f"paid calls: {self.paid}")
        return ", ".join(parts)


@runtime_checkable
class TracePlugin(Protocol):
    """A hand-written plugin, by the contract of ``timetracer`` 1.6."""

    @property
    def name(self) -> str:
        """Unique plugin identifier."""
        ...

    @property
    def event_type(self) -> EventType:
        """The type of events this plugin captures."""
        ...

    def setup(self, config: Any) -> None:
        """Receive the configuration."""
        ...

    def enable_recording(self) -> None:
        """Start capturing events."""
        ...

    def enable_replay(self) -> None:
        """Start answering calls from recorded events."""
        ...

    def disable(self) -> None:
        """Restore the original behaviour."""
        ...


def header_pairs(headers: Mapping[str, str]) -> HeaderPairs:
    """The exact header lines of a `HeaderMap`, or those that a plain dictionary stands for."""
    if isinstance(headers, HeaderMap):
        return headers.pairs
    return tuple((_header_bytes(name), _header_bytes(value)) for name, value in headers.items())


def _header_bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # No client sends such a header. A plugin written by hand, or a stranger, may say so.
        return text.encode("utf-8", "surrogatepass")
