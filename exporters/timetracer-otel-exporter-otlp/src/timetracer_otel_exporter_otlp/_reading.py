"""Cassettes of OTLP files.

Log records that this distribution wrote become the recordings again. Of spans, each local root is a recording: what
is not within another one of the same service. Its client spans are calls that were only observed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from timetracer_otel.constants import CASSETTE_ATTRIBUTE, EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import Imported, imported_cassette, observed_call, utc_text
from timetracer_otel.types import (
    CaptureStats,
    Cassette,
    DependencyEvent,
    LogEntry,
    RequestSnapshot,
    ResponseSnapshot,
    SpanFacts,
)
from timetracer_otel_exporter_otlp._files import Content, loaded
from timetracer_otel_exporter_otlp._kept import Kept
from timetracer_otel_exporter_otlp._records import RECORD, severity_of_python
from timetracer_otel_exporter_otlp._spans import LIBRARY, MADE_UP
from timetracer_otel_exporter_otlp._values import from_message

__all__ = ["read", "read_all"]

_CALLS: Final = frozenset({"CLIENT", "PRODUCER"})
_ROOTS: Final = frozenset({"SERVER", "CONSUMER"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_REASONS: Final = {
    EventType.HTTP_CLIENT: "only observed: a span has neither the headers nor the bodies of a call",
    EventType.DB_QUERY: "only observed: a span has neither the parameters nor the rows of a statement",
    EventType.REDIS: "only observed: a span has no reply",
    EventType.CUSTOM: "only observed: a span has no answer",
}
_PLACES_OF_ERROR: Final = {"type": "type", "message": "message", "traceback": "stacktrace"}
_Id = tuple[str, str]
"""Trace and span."""


@dataclass(slots=True)
class _Seen:
    """A span of the file."""

    facts: SpanFacts
    resource: Mapping[str, Any]
    exception: Mapping[str, Any] | None
    """The attributes of the last exception that was noted on it."""

    @property
    def id(self) -> _Id:
        return self.facts.trace_id, self.facts.span_id

    @property
    def service(self) -> str:
        return str(self.resource.get("service.name", ""))


@dataclass(slots=True)
class _Group:
    """The spans of one recording."""

    root: _Seen | None
    """None for calls outside any request."""
    spans: list[_Seen] = field(default_factory=list)


def read(data: bytes) -> Imported:
    """One cassette of all that a file holds.

    Raises:
        CassetteError: The file is no OTLP, or has nothing to make a cassette of.
    """
    found = list(read_all(data))
    if len(found) == 1:
        return found[0]
    # The calls of several recordings are those of a process, of which no request is the request.
    cassettes = [each.cassette for each in found]
    first = min(cassettes, key=lambda each: each.session.recorded_at)
    events: list[DependencyEvent] = []
    for each in cassettes:
        later_ms = _ms_between(first.session.recorded_at, each.session.recorded_at)
        events += [
            replace(event, start_offset_ms=event.start_offset_ms + later_ms, transaction=()) for event in each.events
        ]
    events.sort(key=lambda event: event.start_offset_ms)
    for eid, event in enumerate(events, 1):
        event.eid = eid
    made = imported_cassette((), first.session.recorded_at, first.session.framework)
    pseudonyms = tuple(dict.fromkeys(text for each in cassettes for text in each.pseudonyms))
    duration_ms = max((event.end_offset_ms for event in events), default=0.0)
    services = {each.session.service for each in cassettes}
    made = replace(
        made,
        session=replace(made.session, service=services.pop() if len(services) == 1 else made.session.service),
        events=events,
        pseudonyms=pseudonyms,
        policies=first.policies,
        stats=CaptureStats.of(events, duration_ms, {}),
    )
    lines = [note for each in found for note in each.notes]
    lines.append(
        f"the requests of {len(found)} recordings: one cassette has the calls of all of them, and no request. "
        "Name a folder as B to have a cassette of each"
    )
    return Imported(made, tuple(dict.fromkeys(lines)))


def read_all(data: bytes) -> Iterator[Imported]:
    """A cassette of each recording that a file holds, oldest first.

    Raises:
        CassetteError: As for `read`.
    """
    try:
        content = loaded(data)
        kept = Kept.of(_records_of(content))
        seen = list(_seen(content))
        logs = list(_logs(content))
    except (ValueError, RecursionError) as fault:
        raise CassetteError(f"The file is no OTLP: {fault}. Write it again.") from fault
    notes: tuple[str, ...] = ()
    if content.others:
        number = content.others
        notes = (f"{number} message{'s' * (number != 1)} of metrics or profiles: a cassette has none",)
    made = [Imported(cassette, (*found, *notes)) for cassette, found in kept.cassettes()]
    # The spans of a recording that is here whole are in its events.
    left = [each for each in seen if each.facts.attributes.get(CASSETTE_ATTRIBUTE) not in kept.sessions]
    left = _without_inner(left, seen, kept.sessions)
    made += [Imported(cassette, (*found, *notes)) for cassette, found in _cassettes(_groups(left), logs)]
    if not made:
        raise CassetteError(
            "The file has neither a span nor a record of a recording: there is nothing to make a cassette of. "
            "Name a file of spans, or of log records that timetracer-otel wrote."
        )
    yield from sorted(made, key=lambda each: each.cassette.session.recorded_at)


def _without_inner(left: Sequence[_Seen], seen: Sequence[_Seen], sessions: Iterable[str]) -> list[_Seen]:
    """The spans without those of whole recordings that do not name theirs: what stands in a call, or around it."""
    whole = {each.id for each in seen} - {each.id for each in left}
    traces = {trace for trace, _ in whole}
    if not traces:
        return list(left)
    parents = {each.id: (each.facts.trace_id, each.facts.parent_span_id or "") for each in seen}

    def belongs(one: _Seen) -> bool:
        place, steps = one.id, 0
        while place in parents and steps <= len(parents):
            if place in whole:
                return True
            place, steps = parents[place], steps + 1
        return False

    return [each for each in left if not belongs(each) and not each.facts.attributes.get(MADE_UP)]


def _records_of(content: Content) -> Iterator[tuple[dict[str, Any], LogRecord]]:
    """The records that this distribution wrote, with their attributes."""
    for logs in content.logs:
        for resource in logs.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    attributes = {each.key: from_message(each.value) for each in record.attributes}
                    if RECORD in attributes:
                        yield attributes, record


def _seen(content: Content) -> Iterator[_Seen]:
    for traces in content.traces:
        for of_resource in traces.resource_spans:
            resource = {each.key: from_message(each.value) for each in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    yield _Seen(_facts(span, of_scope.scope.name), resource, _exception_of(span))


def _facts(span: Span, scope: str) -> SpanFacts:
    if len(span.trace_id) != 16 or len(span.span_id) != 8:
        raise ValueError(f"the span {span.name[:100]!r} has no ids of 16 and 8 bytes")
    return SpanFacts(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_name(Span.SpanKind, span.kind, "SPAN_KIND_", "INTERNAL"),
        status=_name(Status.StatusCode, span.status.code, "STATUS_CODE_", "UNSET"),
        status_description=span.status.message or None,
        attributes={each.key: from_message(each.value) for each in span.attributes},
        scope=scope or None,
        start_ns=span.start_time_unix_nano,
        # One that has not ended, and what says that it ended before it began.
        end_ns=max(span.end_time_unix_nano, span.start_time_unix_nano),
        sampled=True,
    )


def _name(kind: Any, number: int, prefix: str, default: str) -> str:
    try:
        name = str(kind.Name(number)).removeprefix(prefix)
    except ValueError:  # A later version of OTLP has more of them.
        return default
    return default if name == "UNSPECIFIED" else name


def _exception_of(span: Span) -> dict[str, Any] | None:
    found = [event for event in span.events if event.name == "exception"]
    return {each.key: from_message(each.value) for each in found[-1].attributes} if found else None


def _logs(content: Content) -> Iterator[tuple[str, int, LogEntry]]:
    """The log records of apps: trace, time, and the record with its time from the epoch."""
    for logs in content.logs:
        for resource in logs.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    attributes = {each.key: from_message(each.value) for each in record.attributes}
                    if RECORD in attributes or not record.trace_id:
                        continue
                    body = from_message(record.body)
                    error = attributes.get("exception.stacktrace") or attributes.get("exception.message")
                    entry = LogEntry(
                        at_ms=0.0,
                        level=record.severity_text or "INFO",
                        severity=severity_of_python(record.severity_number),
                        logger=scope.scope.name,
                        message=body if isinstance(body, str) else "" if body is None else str(body),
                        error=None if error is None else str(error),
                        span_id=record.span_id.hex() or None,
                    )
                    yield record.trace_id.hex(), record.time_unix_nano or record.observed_time_unix_nano, entry


def _groups(seen: Sequence[_Seen]) -> list[_Group]:
    """The spans by their local roots; at the end, for each service, those of clients outside any request."""
    by_id = {each.id: each for each in seen}
    groups: dict[_Id, _Group] = {}
    outside: dict[str, _Group] = {}
    for each in by_id.values():
        root = _root_of(each, by_id)
        if root.facts.kind in _CALLS:
            group = outside.setdefault(root.service, _Group(None))
        else:
            group = groups.setdefault(root.id, _Group(root))
        group.spans.append(each)
    return [*groups.values(), *outside.values()]


def _root_of(one: _Seen, by_id: Mapping[_Id, _Seen]) -> _Seen:
    """The outermost span of the same service around a span, up to what came in from elsewhere."""
    passed: set[_Id] = set()
    while one.facts.kind not in _ROOTS and one.id not in passed:
        passed.add(one.id)
        parent = by_id.get((one.facts.trace_id, one.facts.parent_span_id or ""))
        if parent is None or parent.service != one.service:
            break
        one = parent
    return one


def _cassettes(
    groups: Iterable[_Group], logs: Sequence[tuple[str, int, LogEntry]]
) -> Iterator[tuple[Cassette, tuple[str, ...]]]:
    for group in groups:
        cassette = _cassette(group, logs)
        lost = Counter((event.signature.lib, event.not_replayable or "") for event in cassette.events)
        notes = tuple(
            f"{number} call{'s' * (number != 1)} of {lib} cannot be replayed: {reason.partition(': ')[2]}"
            for (lib, reason), number in sorted(lost.items())
        )
        yield cassette, notes


def _cassette(group: _Group, logs: Sequence[tuple[str, int, LogEntry]]) -> Cassette:
    root, spans = group.root, sorted(group.spans, key=lambda each: (each.facts.start_ns or 0, each.facts.end_ns or 0))
    started_ns = (root or spans[0]).facts.start_ns or 0
    by_id = {each.id: each for each in spans}
    events = _events(spans, by_id, started_ns)
    resource = (root or spans[0]).resource
    traces = {each.facts.trace_id for each in spans}
    service = resource.get("service.name")
    made = imported_cassette((), utc_text(_EPOCH + timedelta(microseconds=started_ns / 1000)), "OTLP")
    entries = tuple(
        replace(entry, at_ms=max((at_ns - started_ns) / 1e6, 0.0))
        for trace, at_ns, entry in sorted(logs, key=lambda each: each[1])
        if trace in traces and (entry.span_id is None or (trace, entry.span_id) in by_id)
    )
    ends_ns = [each.facts.end_ns or 0 for each in spans]
    return replace(
        made,
        session=replace(
            made.session,
            service=made.session.service if service is None else str(service),
            env=str(resource.get("deployment.environment.name", resource.get("deployment.environment", ""))),
            trace_id=root.facts.trace_id if root is not None else traces.pop() if len(traces) == 1 else None,
            service_version=_text(resource.get("service.version")),
            git_sha=_text(resource.get("vcs.ref.head.revision")),
            python_version=_text(resource.get("process.runtime.version")) or "",
        ),
        request=_request(root) if root is not None else made.request,
        response=_response(root) if root is not None else made.response,
        events=events,
        stats=CaptureStats.of(events, (max(ends_ns) - started_ns) / 1e6, {}),
        error_info=_error_info(root) if root is not None else None,
        logs=entries if root is not None else (),
    )


def _events(spans: Sequence[_Seen], by_id: Mapping[_Id, _Seen], started_ns: int) -> list[DependencyEvent]:
    """Those of client spans. One within another is the same call, seen at a lower level."""
    events: dict[_Id, DependencyEvent] = {}
    for each in spans:
        if each.facts.kind not in _CALLS:
            continue
        around = list(_around(each, by_id))
        outermost = next((one.id for one in reversed(around) if one.facts.kind in _CALLS), None)
        # It begins before what is within it, unless the clock was set back meanwhile.
        if outermost in events:
            events[outermost].within.append(each.facts)
            continue
        event = observed_call(each.facts, len(events) + 1, started_ns, "")
        event.signature.lib = str(each.facts.attributes.get(LIBRARY, event.signature.lib))
        event.not_replayable = _REASONS[event.event_type]
        event.path = tuple(one.facts.name or "" for one in reversed(around))
        if each.exception is not None and event.result.error_type is None:
            event.result.error_type = _text(each.exception.get("exception.type"))
            event.result.error = _text(each.exception.get("exception.message"))
        events[each.id] = event
    return list(events.values())


def _around(one: _Seen, by_id: Mapping[_Id, _Seen]) -> Iterator[_Seen]:
    """The spans around a span, innermost first."""
    passed = {one.id}
    while True:
        parent = by_id.get((one.facts.trace_id, one.facts.parent_span_id or ""))
        if parent is None or parent.id in passed:
            return
        passed.add(parent.id)
        yield parent
        one = parent


def _request(root: _Seen) -> RequestSnapshot:
    facts, attributes = root.facts, root.facts.attributes
    method = _first(attributes, "http.request.method", "http.method")
    path, _, query = (_first(attributes, "url.path", "http.target") or facts.name or "").partition("?")
    query = _first(attributes, "url.query") or query
    return RequestSnapshot(
        # As recordings have it of a root span that is no request.
        method=method if method is not None else facts.kind or "",
        path=path,
        route_template=_first(attributes, "http.route"),
        client_ip=_first(attributes, "client.address", "http.client_ip", "net.peer.ip"),
        user_agent=_first(attributes, "user_agent.original", "http.user_agent"),
        target=(f"{path}?{query}" if query else path) if method is not None else None,
    )


def _response(root: _Seen) -> ResponseSnapshot:
    facts = root.facts
    status = _first(facts.attributes, "http.response.status_code", "http.status_code")
    return ResponseSnapshot(
        status=int(status) if status is not None and status.isascii() and status.isdigit() else 0,
        duration_ms=((facts.end_ns or 0) - (facts.start_ns or 0)) / 1e6,
    )


def _error_info(root: _Seen) -> dict[str, Any] | None:
    exception, facts = root.exception, root.facts
    if exception is not None:
        found = {name: exception.get(f"exception.{place}") for name, place in _PLACES_OF_ERROR.items()}
        return {name: str(text) for name, text in found.items() if text is not None}
    return {"type": "", "message": facts.status_description or ""} if facts.status == "ERROR" else None


def _first(attributes: Mapping[str, Any], *names: str) -> str | None:
    return next((str(attributes[name]) for name in names if attributes.get(name) is not None), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _ms_between(first: str, later: str) -> float:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(first)).total_seconds() * 1000
    except (ValueError, TypeError):
        return 0.0
