"""The dataclasses of `timetracer_otel.types` as the maps of the format. Only this module knows the file's keys."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import Any, Final, NamedTuple, TypeAlias

from timetracer_otel.cassette.boundaries import boundaries_of, pack_boundaries, read_boundaries
from timetracer_otel.cassette.codec import MOST_LEVELS, cost_of_texts, pack_looked_at, pack_map, pack_surveyed
from timetracer_otel.cassette.costs import OwnCosts
from timetracer_otel.cassette.frames import BOUNDARIES_KEY, FOOTER_KEY, PAD_KEY, seal
from timetracer_otel.cassette.scan import Survey, Unencodable
from timetracer_otel.cassette.tables import (
    Faults,
    Kind,
    Known,
    MalformedError,
    Notes,
    Part,
    Table,
    bounded,
    nested,
    scalar,
)
from timetracer_otel.constants import FORMAT_NAME, FORMAT_VERSION, SHORTEST_PSEUDONYM, BodyEnd, EventType
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    Call,
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    LogEntry,
    NotedEvent,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
    Scrubbing,
    SessionMeta,
    SpanFacts,
)

__all__ = [
    "LATER",
    "EventNotes",
    "HeaderParts",
    "encode_event",
    "encode_footer",
    "encode_header",
    "encode_notes",
    "event_from",
    "from_maps",
    "header_parts",
    "later_event",
    "listed_pseudonyms",
    "part_from",
]

HeaderParts: TypeAlias = tuple[SessionMeta, RequestSnapshot, AppliedPolicies, tuple[str, ...], tuple[Scrubbing, ...]]
"""What the header says; the last parts are the pseudonyms of the recording, and its scrubbings."""


def _is_texts(items: Any) -> bool:
    return set(map(type, items)) <= {str}


def _is_text_map(found: Any) -> bool:
    # A HeaderMap makes its own text of bytes.
    return type(found) is HeaderMap or (set(map(type, found)) <= {str} and set(map(type, found.values())) <= {str})


def _is_count_map(found: Any) -> bool:
    return set(map(type, found)) <= {str} and set(map(type, found.values())) <= {int}


def _is_nested_count_map(found: Any) -> bool:
    return set(map(type, found)) <= {str} and all(
        type(each) is dict and _is_count_map(each) for each in found.values()
    )


def _read_chunks(items: list[Any]) -> tuple[tuple[float, int], ...]:
    chunks = []
    for item in items:
        if type(item) is not list or [type(part) in (float, int) for part in item] != [True, True]:
            raise ValueError("a chunk is not [milliseconds, bytes]")
        when, size = item
        if type(size) is not int:
            raise ValueError("a chunk's size is not a whole number")
        chunks.append((bounded(float(when)), size))
    return tuple(chunks)


_TEXT = scalar(str)
_WHOLE = scalar(int)
_NUMBER = scalar(float, int)
_FLAG = scalar(bool)
_ANY = Kind("a value")
_MAP = Kind("a map with text keys", frozenset({dict}), _is_texts)
_TEXT_MAP = Kind("a map of text to text", frozenset({dict}), _is_text_map)
_COUNTS = Kind("a map of text to whole numbers", frozenset({dict}), _is_count_map)
_NESTED_COUNTS = Kind("a map of text to such maps", frozenset({dict}), _is_nested_count_map)
_HEADERS = Kind(
    "headers or a map of text to text",
    frozenset({dict, HeaderMap}),
    _is_text_map,
    unchecked=frozenset({HeaderMap}),
)
_TEXTS = Kind("an array of text", frozenset({list}), _is_texts)
_TUPLE = Kind("an array of text", frozenset({list}), _is_texts, encode=list, decode=tuple)
_CHUNKS = Kind(
    "an array of [milliseconds, bytes]",
    frozenset({list}),
    encode=lambda chunks: [[when, size] for when, size in chunks],
    decode=_read_chunks,
)
_WORDS = 625
"""The state of the Mersenne Twister: 624 numbers of 32 bits, and the position in them."""


def _pack_random(state: Any) -> list[Any]:
    version, words, gauss = state
    return [version, struct.pack(f">{_WORDS}I", *words), gauss]


def _read_random(items: list[Any]) -> tuple[int, tuple[int, ...], float | None]:
    if list(map(type, items[:2])) != [int, bytes] or len(items) != 3 or type(items[2]) not in (float, type(None)):
        raise ValueError("the state of random is not [version, words, float]")
    if len(items[1]) != 4 * _WORDS:
        raise ValueError(f"the state of random has not {_WORDS} words")
    return items[0], struct.unpack(f">{_WORDS}I", items[1]), items[2]


_RANDOM = Kind("a state of random", frozenset({list}), encode=_pack_random, decode=_read_random)
_ERROR = Kind("an error", frozenset({RecordedError}))
_TYPE = Kind(
    "an event type",
    frozenset({str}),
    encode=lambda kind: EventType(kind).value,
    decode=EventType,
    members={kind.value: kind for kind in EventType},
    enum=EventType,
    fallback=EventType.CUSTOM.value,
)
_END = Kind(
    "the end of a body",
    frozenset({str}),
    encode=lambda end: BodyEnd(end).value,
    decode=BodyEnd,
    members={end.value: end for end in BodyEnd},
    enum=BodyEnd,
)

_BODY: Final = Table(
    BodySnapshot,
    "body",
    {
        "captured": ("captured", _FLAG),
        "encoding": ("encoding", _TEXT),
        "data": ("data", _ANY),
        "truncated": ("truncated", _FLAG),
        "size_bytes": ("size", _WHOLE),
        "hash": ("hash", _TEXT),
        "chunks": ("chunks", _CHUNKS),
        "end": ("end", _END),
        "error": ("error", _ERROR),
        "end_ms": ("end_ms", _NUMBER),
    },
)
_REQUEST: Final = Table(
    RequestSnapshot,
    "request",
    {
        "method": ("method", _TEXT),
        "path": ("path", _TEXT),
        "route_template": ("route", _TEXT),
        "headers": ("headers", _HEADERS),
        "query": ("query", _MAP),
        "body": ("body", nested(_BODY)),
        "client_ip": ("client_ip", _TEXT),
        "user_agent": ("user_agent", _TEXT),
        "target": ("target", _TEXT),
    },
)
_RESPONSE: Final = Table(
    ResponseSnapshot,
    "response",
    {
        "status": ("status", _WHOLE),
        "headers": ("headers", _HEADERS),
        "body": ("body", nested(_BODY)),
        "duration_ms": ("duration_ms", _NUMBER),
    },
)
_SIGNATURE: Final = Table(
    EventSignature,
    "signature",
    {
        "lib": ("lib", _TEXT),
        "method": ("method", _TEXT),
        "url": ("url", _TEXT),
        "query": ("query", _MAP),
        "headers_hash": ("headers_hash", _TEXT),
        "body_hash": ("body_hash", _TEXT),
    },
)
_RESULT: Final = Table(
    EventResult,
    "result",
    {
        "status": ("status", _WHOLE),
        "headers": ("headers", _HEADERS),
        "body": ("body", nested(_BODY)),
        "error": ("error", _TEXT),
        "error_type": ("error_type", _TEXT),
        "exception": ("exception", _ERROR),
        "reply": ("reply", _ANY),
    },
)
_CALL: Final = Table(
    CallSnapshot,
    "call",
    {"headers": ("headers", _HEADERS), "body": ("body", nested(_BODY)), "args": ("args", _ANY)},
)
_SPAN: Final = Table(
    SpanFacts,
    "span",
    {
        "trace_id": ("trace_id", _TEXT),
        "span_id": ("span_id", _TEXT),
        "parent_span_id": ("parent_span_id", _TEXT),
        "name": ("name", _TEXT),
        "kind": ("kind", _TEXT),
        "status": ("status", _TEXT),
        "status_description": ("status_description", _TEXT),
        "attributes": ("attributes", _MAP),
        "scope": ("scope", _TEXT),
        "start_ns": ("start_ns", _WHOLE),
        "end_ns": ("end_ns", _WHOLE),
        "sampled": ("sampled", _FLAG),
    },
)
_SPANS: Final = Kind(
    "an array of spans",
    frozenset({list}),
    encode=lambda spans: [_SPAN.to_map(span) for span in spans],
    decode=lambda items: [_SPAN.from_map(item) for item in items],
)
_BOUNDARIES: Final = Kind(
    "the beginning and the end of a transaction",
    frozenset({list}),
    encode=pack_boundaries,
    decode=read_boundaries,
)
_FIELDS_OF_EVENT: Final[dict[str, tuple[str, Kind]]] = {
    "eid": ("eid", _WHOLE),
    "event_type": ("type", _TYPE),
    "start_offset_ms": ("start_ms", _NUMBER),
    "duration_ms": ("duration_ms", _NUMBER),
    "signature": ("signature", nested(_SIGNATURE)),
    "result": ("result", nested(_RESULT)),
    "call": ("call", nested(_CALL)),
    "span": ("span", nested(_SPAN)),
    "path": ("path", _TUPLE),
    "not_replayable": ("not_replayable", _TEXT),
    "within": ("within", _SPANS),
    "pseudonyms": ("pseudonyms", _TUPLE),
    "transaction": ("transaction", _BOUNDARIES),
    "ended_ms": ("ended_ms", _NUMBER),
}
LATER: Final = frozenset({"result", "call", "span", "within"})
"""The keys of what an event is not found by."""


def _in_part(
    eid: int,
    event_type: EventType,
    start_offset_ms: float,
    duration_ms: float,
    signature: EventSignature,
    path: tuple[str, ...],
    not_replayable: str | None,
    pseudonyms: tuple[str, ...],
    transaction: tuple[DependencyEvent, ...],
    ended_ms: float | None,
) -> DependencyEvent:
    event = DependencyEvent.__new__(DependencyEvent)
    event.eid = eid
    event.event_type = event_type
    event.start_offset_ms = start_offset_ms
    event.duration_ms = duration_ms
    event.signature = signature
    event.path = path
    event.not_replayable = not_replayable
    event.pseudonyms = pseudonyms
    event.transaction = transaction
    event.ended_ms = ended_ms
    return event


_EVENT: Final = Table(DependencyEvent, "event", _FIELDS_OF_EVENT)
_EVENT_ITSELF: Final = Table(
    DependencyEvent, "event", {name: row for name, row in _FIELDS_OF_EVENT.items() if name != "pseudonyms"}
)
"""An event without its pseudonyms, which are packed once for all events that have the same ones."""
_EVENT_IN_PART: Final = Table(
    DependencyEvent,
    "event",
    {name: row for name, row in _FIELDS_OF_EVENT.items() if row[0] not in LATER},
    _in_part,
)
_FIELDS_OF_SESSION: Final[dict[str, tuple[str, Kind]]] = {
    "id": ("id", _TEXT),
    "recorded_at": ("recorded_at", _TEXT),
    "service": ("service", _TEXT),
    "env": ("env", _TEXT),
    "framework": ("framework", _TEXT),
    "timetracer_version": ("timetracer", _TEXT),
    "python_version": ("python", _TEXT),
    "service_version": ("service_version", _TEXT),
    "git_sha": ("git_sha", _TEXT),
    "trace_id": ("trace_id", _TEXT),
    "versions": ("versions", _TEXT_MAP),
    "process": ("process", _TEXTS),
    "hash_seed": ("hash_seed", _TEXT),
    "hash_randomization": ("hash_randomization", _FLAG),
    "random_state": ("random_state", _RANDOM),
    "renewed_at": ("renewed_at", _TEXT),
}
_SESSION: Final = Table(SessionMeta, "session", _FIELDS_OF_SESSION)
_SESSION_ITSELF: Final = Table(
    SessionMeta, "session", {name: row for name, row in _FIELDS_OF_SESSION.items() if name != "versions"}
)
"""A session without its versions, which stand beside it in the header."""
_POLICIES: Final = Table(
    AppliedPolicies,
    "policies",
    {
        "redaction_mode": ("redaction_mode", _TEXT),
        "redaction_rules": ("redaction_rules", _TEXTS),
        "max_body_kb": ("max_body_kb", _WHOLE),
        "store_request_body": ("store_request_body", _TEXT),
        "store_response_body": ("store_response_body", _TEXT),
        "sample_rate": ("sample_rate", _NUMBER),
        "errors_only": ("errors_only", _FLAG),
        "policy": ("policy", _TEXT),
        "budget": ("budget", _TEXT),
        "kept_as": ("kept_as", _TEXT),
        "pseudonymised": ("pseudonymised", _FLAG),
    },
)
_SCRUBBING: Final = Table(
    Scrubbing,
    "scrubbing",
    {
        "at": ("at", _TEXT),
        "timetracer_version": ("timetracer", _TEXT),
        "mode": ("mode", _TEXT),
        "rules": ("rules", _TEXTS),
        "replaced": ("replaced", _WHOLE),
    },
)
_LOG: Final = Table(
    LogEntry,
    "log record",
    {
        "at_ms": ("at_ms", _NUMBER),
        "level": ("level", _TEXT),
        "severity": ("severity", _WHOLE),
        "logger": ("logger", _TEXT),
        "message": ("message", _TEXT),
        "error": ("error", _TEXT),
        "span_id": ("span_id", _TEXT),
    },
)
_LOGS: Final = Kind(
    "an array of log records",
    frozenset({list}),
    decode=lambda items: tuple(_LOG.from_map(item) for item in items),
)
_SCRUBBINGS: Final = Kind(
    "an array of scrubbings",
    frozenset({list}),
    decode=lambda items: tuple(_SCRUBBING.from_map(item) for item in items),
)
_FIELDS_OF_STATS: Final[dict[str, tuple[str, Kind]]] = {
    "event_counts": ("events", _COUNTS),
    "total_events": ("total", _WHOLE),
    "total_duration_ms": ("duration_ms", _NUMBER),
    "dropped": ("dropped", _COUNTS),
    "without_plugin": ("without_plugin", _COUNTS),
    "connections": ("connections", _NESTED_COUNTS),
}
_STATS: Final = Table(CaptureStats, "stats", _FIELDS_OF_STATS)
_STATS_ITSELF: Final = Table(
    CaptureStats, "stats", {name: row for name, row in _FIELDS_OF_STATS.items() if name != "dropped"}
)
"""Statistics without what was dropped, which stands beside them in the footer."""


NOTHING_LEFT_OUT: Final[Counter[str]] = Counter()
"""What `encode_event` and `encode_header` give for nearly everything. It is not to be changed."""

_NOTES: Final[Notes] = {
    "eid": "eid",
    "event_type": "call.event_type",
    "start_offset_ms": "start_ms",
    "duration_ms": "duration_ms",
    "signature": Part(
        {
            "lib": "call.lib",
            "method": "call.method",
            "url": "url",
            "query": "query",
            "body_hash": Known("body_hash"),
        }
    ),
    "result": Part(
        {
            "status": "result.status",
            "headers": Known("received"),
            "body": Part(
                {
                    "captured": "body.captured",
                    "encoding": "body.encoding",
                    "data": "data",
                    "truncated": "body.truncated",
                    "size_bytes": Known("len(data)"),
                    "hash": Known("digest"),
                    "chunks": "body.chunks",
                    "end": "body.end",
                    "end_ms": "body.end_ms",
                },
                "body is not None",
            ),
            "reply": Known("reply"),
        }
    ),
    "call": Part(
        {
            "headers": Known("sent"),
            "body": Part(
                {
                    "captured": Known("True"),
                    "encoding": Known("'bytes'"),
                    "data": Known("sent_data"),
                    "size_bytes": Known("len(sent_data)"),
                    "hash": Known("sent_digest"),
                },
                "sent_data is not None",
            ),
            "args": "call.args",
        }
    ),
    "span": Part(
        {
            name: "attributes" if name == "attributes" else f"facts.{name}"
            for name in SpanFacts.__dataclass_fields__
            if name != "status_description"
        },
        "facts is not None",
    ),
    "path": "path",
    "pseudonyms": Known("pseudonyms"),
    "transaction": "transaction",
    "ended_ms": "ended_ms",
}
"""Where the fields of an event stand in what is noted of an open call. See `EventNotes`."""


class EventNotes(NamedTuple):
    """What stands in the event of a call that was answered, whose answer is kept, and that can be replayed."""

    eid: int
    start_ms: float
    duration_ms: float
    call: Call
    url: str | None
    query: dict[str, Any]
    body_hash: str | None
    result: EventResult
    """Its headers and its body's data are not looked at."""
    received: Any
    """The headers of the response, by `packed_headers`; None where they are an empty dictionary."""
    body: BodySnapshot | None
    """That of the response."""
    data: Any
    """Its data."""
    digest: str | None
    """The SHA-256 of its data."""
    sent: Any
    """The headers of the request, by `packed_headers`."""
    sent_data: bytes | None
    """Its body."""
    sent_digest: str | None
    facts: SpanFacts | None
    attributes: Any
    """Those of the span, in the place of its own."""
    path: tuple[str, ...]
    pseudonyms: list[str] | None
    transaction: tuple[DependencyEvent, ...]
    ended_ms: float | None
    reply: Any


@lru_cache(maxsize=1)
def _writer_of_notes() -> Callable[..., dict[str, Any]]:
    """Makes the map of an event from notes. It is made when it is first asked for, so that importing is quick."""
    return _EVENT.compiled(_NOTES, EventNotes._fields)


def encode_notes(notes: tuple[Any, ...], reply: Any, survey: Survey) -> tuple[bytes, int] | None:
    """The event of these notes, packed, and what its extension types cost but for headers and pseudonyms; None where
    something in it has no plain encoding.

    Args:
        notes: The fields of `EventNotes` but its reply.
        reply: What else the plugin needs to rebuild the result. The survey has looked at it.
        survey: Counts what stands in the event.
    """
    write = _writer_of_notes()
    try:
        return pack_looked_at(lambda packed: write(*notes, packed, survey, MOST_LEVELS - 1), reply, survey)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        # The event itself tells which part it is.
        return None


def encode_event(event: DependencyEvent, own: OwnCosts | None = None) -> tuple[bytes, Counter[str]]:
    """One event, packed, and a count of what was left out of it, by reason.

    A value that has no faithful encoding is left out, and the event is kept. If the value was needed to answer the
    call (it was part of the signature or the result), the event says that it is not replayable, and why.
    ``own`` is told what the extension types in it cost.
    """
    if type(event) is NotedEvent and (noted := event.notes()) is not None:
        packed: bytes | None = noted[0].packed(event, noted[1], own)
        if packed is not None:
            return packed, NOTHING_LEFT_OUT
    try:
        survey = Survey()
        surveyed = _EVENT_ITSELF.to_surveyed_map(event, survey, MOST_LEVELS - 1)
        if not event.pseudonyms:
            return pack_surveyed(surveyed, survey, own), NOTHING_LEFT_OUT
        # Calls of one app have the same token: what they share is looked at once.
        surveyed["pseudonyms"], spent = listed_pseudonyms(event.pseudonyms)
        data = pack_surveyed(surveyed, survey, own)
        if own is not None:
            own.spent += spent
        return data, NOTHING_LEFT_OUT
    except (TypeError, ValueError, AttributeError, RuntimeError):
        # Some part is of no kind that is expected, has no encoding, or is being changed. Which one is found below.
        # A `TypeError` also says that nobody can tell whether the pseudonyms were packed before.
        faults: Faults = []
        found = _EVENT.to_map(event, faults)
        _EVENT.prune(found, pack_map, faults)
    needed = [f"{place}: {reason}" for place, reason in faults if not place.startswith(("call.", "span."))]
    if needed and "not_replayable" not in found:
        found["not_replayable"] = "no faithful encoding of " + "; ".join(needed[:3])
    try:
        return pack_map(found, own=own), _left_out("event.", faults)
    except Unencodable as fault:  # Each part can be packed, but they are too long together.
        for part in ("result", "call", "span"):
            found.pop(part, None)
        left = {**_EVENT.blank(), **found, "not_replayable": fault.reason}
        return pack_map(left, own=own), Counter({fault.reason: 1})


@lru_cache(maxsize=256)
def listed_pseudonyms(pseudonyms: tuple[str, ...]) -> tuple[list[str], int]:
    """What an event has in the file for its pseudonyms, and a bound of what it costs to read that.

    Raises:
        Unencodable: One of them is no text, or has no UTF-8.
    """
    texts: list[str] = _TUPLE.to_file(pseudonyms, None, "")
    return texts, cost_of_texts("pseudonyms", texts)


def event_from(found: Any) -> DependencyEvent:
    """The event that a map of the file holds; raises `MalformedError` if the map is not as the format says."""
    event = _EVENT.from_map(found)
    if event.transaction:
        event.transaction = boundaries_of(event, event.transaction)
    return event


def later_event(found: Any, rest: Any, place: int) -> DependencyEvent:
    """An event of a map without the keys of `LATER`, which ``rest`` reads at ``place`` when they are asked for."""
    event = _EVENT_IN_PART.from_map(found)
    # The same few words stand in all events of a recording.
    signature = event.signature
    signature.lib, signature.method = intern(signature.lib), intern(signature.method)
    if event.path:
        event.path = tuple(map(intern, event.path))
    event.leave(rest, place)
    if event.transaction:
        event.transaction = boundaries_of(event, event.transaction)
    return event


def part_from(name: str, found: Any) -> Any:
    """What an event has for one of the keys of `LATER`; None for ``found`` where the file has nothing.

    Raises:
        MalformedError: It is not as the format says.
    """
    if found is None and name != "result":
        return [] if name == "within" else None
    return _FIELDS_OF_EVENT[name][1].from_file(found, f"event.{name}")


def encode_header(cassette: Cassette, own: OwnCosts | None = None) -> tuple[bytes, Counter[str]]:
    """The header, packed, and a count of what was left out of it, by reason.

    ``own`` is told what it costs to read it, if it is known without a look at each token.
    """
    survey = Survey()
    try:
        parts: dict[str, Any] = {
            "session": _SESSION_ITSELF.to_surveyed_map(cassette.session, survey, MOST_LEVELS - 1),
            "request": _REQUEST.to_surveyed_map(cassette.request, survey, MOST_LEVELS - 1),
        }
        header = {"format": FORMAT_NAME, "version": FORMAT_VERSION, **parts}
        _survey_outermost(header, survey)
        data, number = pack_surveyed(header, survey, own), len(header)
        policies, versions, spent = _equal_parts(cassette)
        further: dict[str, Any] = {}
        if cassette.pseudonyms:
            further["pseudonyms"] = list(cassette.pseudonyms)
        if cassette.scrubbed:
            further["scrubbed"] = [_SCRUBBING.to_map(each) for each in cassette.scrubbed]
        between = b""
        if further:
            survey, costs = Survey(), OwnCosts()
            _survey_outermost(further, survey)
            between = pack_surveyed(further, survey, costs)[1:]
            spent += costs.spent
            if own is not None and not costs.known:
                own.known = False
        if own is not None:
            own.spent += spent
        number += 1 + len(further) + bool(versions)
        return b"".join([bytes([0x80 | number]), data[1:], policies, between, versions]), NOTHING_LEFT_OUT
    except (TypeError, ValueError, AttributeError, RuntimeError):
        # Some part is of no kind that is expected, or has no encoding. Which one is found below.
        if own is not None:
            own.clear()
        return _encode_header_in_part(cassette)


def _equal_parts(cassette: Cassette) -> tuple[bytes, bytes, int]:
    """What of a header is equal for all recordings of a process: policies and versions. They are packed once.

    Returns:
        The entry of the policies, packed; that of the versions, empty where there are none; and a bound of what both
        cost to read.

    Raises:
        TypeError, ValueError, AttributeError: They are of other kinds than those of the table.
    """
    versions = cassette.session.versions
    policies = _POLICIES.values(cassette.policies)
    # Equal values of other types (1, 1.0 and True) stand in the file as what they are.
    values = [tuple(value) if type(value) is list else value for value in policies]
    key = (*values, *map(type, policies), *versions, *versions.values())
    found = _known_parts.get(key)
    if found is None:
        survey = Survey()
        written = _POLICIES.to_surveyed_map(cassette.policies, survey, MOST_LEVELS - 1)
        of_policies, spent = _packed_entry({"policies": written}, survey)
        of_versions = b""
        if versions:
            of_versions, more = _packed_entry({"versions": _TEXT_MAP.to_file(versions, None, "")}, Survey())
            spent += more
        found = of_policies, of_versions, spent
        if len(_known_parts) >= _MOST_KNOWN_PARTS:
            _known_parts.clear()
        _known_parts[key] = found
    return found


def _packed_entry(entry: dict[str, Any], survey: Survey) -> tuple[bytes, int]:
    """One entry of a header, packed, and a bound of what it costs to read."""
    own = OwnCosts()
    _survey_outermost(entry, survey)
    data = pack_surveyed(entry, survey, own)[1:]
    if not own.known:
        raise ValueError("a text within it has no UTF-8")
    return data, own.spent


_known_parts: dict[tuple[Any, ...], tuple[bytes, bytes, int]] = {}
"""Safe from any thread: an entry that two add is the same."""
_MOST_KNOWN_PARTS: Final = 64


def _survey_outermost(found: dict[str, Any], survey: Survey) -> None:
    """Add the map of a header or footer to its survey. The maps in it that a table has made are in there already."""
    survey.containers += 1
    survey.pairs += len(found)
    survey.items += 1 + 2 * len(found)
    for key in _OF_NO_TABLE.intersection(found):
        survey.look_at(found[key], MOST_LEVELS - 1)


_OF_NO_TABLE: Final = frozenset({"versions", "pseudonyms", "scrubbed", "error_info", "dropped", "logs"})


def _encode_header_in_part(cassette: Cassette) -> tuple[bytes, Counter[str]]:
    faults: Faults = []
    parts: dict[str, Any] = {
        "session": _SESSION.to_map(cassette.session, faults, "session."),
        "request": _REQUEST.to_map(cassette.request, faults, "request."),
        "policies": _POLICIES.to_map(cassette.policies, faults, "policies."),
    }
    if cassette.pseudonyms:
        parts["pseudonyms"] = list(cassette.pseudonyms)
    if cassette.scrubbed:
        parts["scrubbed"] = [_SCRUBBING.to_map(each, faults, "scrubbed.") for each in cassette.scrubbed]
    try:
        return pack_map(_header_of(parts)), _left_out("", faults)
    except Unencodable:
        _SESSION.prune(parts["session"], pack_map, faults, "session.")
        _REQUEST.prune(parts["request"], pack_map, faults, "request.")
        _POLICIES.prune(parts["policies"], pack_map, faults, "policies.")
    return pack_map(_header_of(parts)), _left_out("", faults)


def _header_of(parts: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = {"format": FORMAT_NAME, "version": FORMAT_VERSION, **parts}
    header["session"] = {key: item for key, item in parts["session"].items() if key != "versions"}
    if parts["session"].get("versions"):
        header["versions"] = parts["session"]["versions"]
    return header


def encode_footer(
    cassette: Cassette,
    events: int,
    left_out: Counter[str],
    offset: int,
    crc: int,
    pad: bytes = b"",
    boundaries: int = 0,
    own: OwnCosts | None = None,
) -> bytes:
    """The footer, packed and sealed.

    Args:
        cassette: Its statistics, response and error are written into the footer.
        events: How many events stand before the footer.
        left_out: What was left out of header and events. It is added to what the statistics count as dropped.
        offset: How many bytes of the stream stand before the footer.
        crc: CRC-32 of those bytes.
        pad: Bytes that are passed over.
        boundaries: How many more events stand within these.
        own: Is told what it costs to read the footer.
    """
    survey = Survey()
    try:
        found: dict[str, Any] = {
            FOOTER_KEY: events,
            **({BOUNDARIES_KEY: boundaries} if boundaries else {}),
            **({PAD_KEY: pad} if pad else {}),
            "stats": _STATS_ITSELF.to_surveyed_map(cassette.stats, survey, MOST_LEVELS - 1),
            "response": _RESPONSE.to_surveyed_map(cassette.response, survey, MOST_LEVELS - 1),
        }
        if cassette.error_info is not None:
            if type(cassette.error_info) is not dict or not _is_texts(cassette.error_info):
                raise Unencodable("it is no map with text keys")
            found["error_info"] = cassette.error_info
        if cassette.logs:
            found["logs"] = [_LOG.to_map(each) for each in cassette.logs]
        dropped = _COUNTS.to_file(cassette.stats.dropped, None, "")
        if dropped or left_out:
            found["dropped"] = dict(Counter(dropped) + left_out)
        _survey_outermost(found, survey)
        return seal(found, offset, crc, survey, own)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        # Some part is of no kind that is expected, or has no encoding. Which one is found below.
        if own is not None:
            own.clear()
        return _encode_footer_in_part(cassette, events, left_out, offset, crc, pad, boundaries)


def _encode_footer_in_part(
    cassette: Cassette, events: int, left_out: Counter[str], offset: int, crc: int, pad: bytes, boundaries: int
) -> bytes:
    faults: Faults = []
    parts: dict[str, Any] = {
        **({BOUNDARIES_KEY: boundaries} if boundaries else {}),
        **({PAD_KEY: pad} if pad else {}),
        "stats": _STATS.to_map(cassette.stats, faults, "stats."),
        "response": _RESPONSE.to_map(cassette.response, faults, "response."),
    }
    if cassette.error_info is not None:
        parts["error_info"] = cassette.error_info
    parts |= _logs_in_part(cassette, faults)
    if cassette.error_info is None or (type(cassette.error_info) is dict and _is_texts(cassette.error_info)):
        with suppress(Unencodable):  # The code below finds the part that has no encoding.
            return seal(_footer_of(parts, events, left_out, faults), offset, crc)
    _STATS.prune(parts["stats"], pack_map, faults, "stats.")
    _RESPONSE.prune(parts["response"], pack_map, faults, "response.")
    if "error_info" in parts:
        try:
            pack_map(cassette.error_info)
            if type(cassette.error_info) is not dict or not _is_texts(cassette.error_info):
                raise Unencodable("it is no map with text keys")
        except Unencodable as fault:
            del parts["error_info"]
            faults.append(("error_info", str(fault)))
    return seal(_footer_of(parts, events, left_out, faults), offset, crc)


def _logs_in_part(cassette: Cassette, faults: Faults) -> dict[str, Any]:
    """The log records that have an encoding, as the footer has them."""
    found: list[dict[str, Any]] = []
    for each in cassette.logs:
        try:
            made = _LOG.to_map(each)
            pack_map(made)
        except Unencodable as fault:
            faults.append(("logs", fault.reason))
        else:
            found.append(made)
    return {"logs": found} if found else {}


def _footer_of(parts: dict[str, Any], events: int, left_out: Counter[str], faults: Faults) -> dict[str, Any]:
    found: dict[str, Any] = {FOOTER_KEY: events, **parts}
    found["stats"] = {key: item for key, item in parts["stats"].items() if key != "dropped"}
    dropped = Counter(parts["stats"].get("dropped", {})) + left_out + _left_out("", faults)
    if dropped:
        found["dropped"] = dict(dropped)
    return found


def header_parts(found: Any) -> HeaderParts:
    """What a header map says; raises `MalformedError` if it is not as the format says."""
    if type(found) is not dict:
        raise MalformedError(f"the header is {type(found).__name__}, not a map")
    session = found.get("session")
    if type(session) is dict and "versions" in found:
        session = {**session, "versions": found["versions"]}
    return (
        _SESSION.from_map(session),
        _REQUEST.from_map(found.get("request")),
        _POLICIES.from_map(found.get("policies") or {}),
        _TUPLE.from_file(found.get("pseudonyms") or [], "pseudonyms"),
        _SCRUBBINGS.from_file(found.get("scrubbed") or [], "scrubbed"),
    )


def arranged(events: list[DependencyEvent]) -> list[DependencyEvent]:
    """The events of a file in the order of a cassette, with those that stand within others; the same list."""
    events += [each for event in events for each in event.transaction]
    events.sort(key=attrgetter("eid"))
    return events


def from_maps(header: HeaderParts, events: list[DependencyEvent] | None, footer: Any | None, path: str) -> Cassette:
    """Make a cassette of its header, events and footer.

    Args:
        header: What `header_parts` gives.
        events: As the file has them. None where they are left out; then none of them has pseudonyms.
        footer: None if the recorder died before writing it.
        path: The path of the file.

    Raises:
        MalformedError: The footer is not what the format says.
    """
    session, request, policies, pseudonyms, scrubbed = header
    events = arranged(events) if events is not None else []
    if any(event.pseudonyms for event in events):
        more = (name for event in events for name in event.pseudonyms if len(name) >= SHORTEST_PSEUDONYM)
        pseudonyms = tuple(dict.fromkeys([*pseudonyms, *more]))
    cassette = Cassette(
        schema_version=str(FORMAT_VERSION),
        session=session,
        request=request,
        response=ResponseSnapshot(status=0),
        events=events,
        policies=policies,
        complete=footer is not None,
        path=path,
        pseudonyms=pseudonyms,
        scrubbed=scrubbed,
    )
    if footer is None:
        cassette.stats = CaptureStats.of(events, sum(event.duration_ms for event in events), {})
        return cassette
    stats = footer.get("stats") or {}
    if type(stats) is dict and "dropped" in footer:
        stats = {**stats, "dropped": footer["dropped"]}
    cassette.stats = _STATS.from_map(stats)
    cassette.response = _RESPONSE.from_map(footer.get("response"))
    cassette.error_info = footer.get("error_info")
    if cassette.error_info is not None and (
        type(cassette.error_info) is not dict or not _is_texts(cassette.error_info)
    ):
        raise MalformedError("footer.error_info is not a map with text keys")
    cassette.logs = _LOGS.from_file(footer.get("logs") or [], "footer.logs")
    return cassette


def _left_out(prefix: str, faults: Faults) -> Counter[str]:
    return Counter(f"{prefix}{place}: no faithful encoding" for place, _ in faults)
