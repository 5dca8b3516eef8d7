"""The spans of a recording: those that the cassette has, and those that it knows of.

A cassette has the spans of its calls. Of the span of the request, and of those between, it has the names and some of
the ids; their times follow from the request and from the calls within them. These spans say that they were made up
(``timetracer.made_up``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from timetracer_otel.constants import CASSETTE_ATTRIBUTE, GIVEN_TO_WORKERS, EventType
from timetracer_otel.types import Cassette, DependencyEvent, SpanFacts

__all__ = [
    "LIBRARY",
    "MADE_UP",
    "SCOPE",
    "Ids",
    "left_out_of_spans",
    "readable_spans",
    "resource_of",
    "spans_of",
    "started_ns",
]

MADE_UP: Final = "timetracer.made_up"
"""The attribute of a span that the cassette knows of, and does not have."""
SCOPE: Final = "timetracer_otel"
"""The scope of what is not of an instrumentation."""
LIBRARY: Final = "timetracer.library"
"""The attribute that names the library of a call."""
_LARGEST: Final = 2**63
_ROOTS: Final = frozenset({"SERVER", "CONSUMER"})
_OF_CALLS: Final = frozenset({"CLIENT", "PRODUCER"})


@dataclass(slots=True)
class Ids:
    """The trace and the spans that the parts of a recording belong to. Ids are numbers."""

    trace: int
    root: int | None
    """None where the recording is of no request."""
    calls: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Trace and span of each call, by its position."""

    @classmethod
    def of(cls, cassette: Cassette) -> Ids:
        """Those that the cassette has. Where it has none, they follow from the id of its session."""
        seed = cassette.session.id
        ids = cls(_number(cassette.session.trace_id) or _made_up(seed, "trace", 16), None)
        if cassette.request.path or cassette.request.method:
            ids.root = _root_of(cassette.events) or _made_up(seed, "request", 8)
        for event in cassette.events:
            span = event.span
            trace_id = _number(span.trace_id) if span is not None else 0
            span_id = _number(span.span_id) if span is not None and _is_of_call(span) else 0
            ids.calls[event.eid] = (trace_id or ids.trace, span_id or _made_up(seed, str(event.eid), 8))
        return ids


def _root_of(events: Sequence[DependencyEvent]) -> int:
    """The span of the request, which is the parent of a call with no other span around it; 0 where there is none."""
    for event in events:
        span = event.span
        if span is None:
            continue
        if span.kind in _ROOTS:
            return _number(span.span_id)
        if len(event.path) == 1 and span.parent_span_id and _is_of_call(span):
            return _number(span.parent_span_id)
    return 0


def _is_of_call(span: SpanFacts) -> bool:
    """Whether a span is of the call itself: a call that had none has the one around it."""
    return (span.kind or "CLIENT") in _OF_CALLS


def _number(text: str | None) -> int:
    """An id as a number; 0 for what is none."""
    try:
        number = int(text or "", 16)
    except ValueError:
        return 0
    return number if number < 1 << 4 * len(text or "") and len(text or "") in (16, 32) else 0


def _made_up(*parts: Any) -> int:
    *words, length = parts
    return int.from_bytes(hashlib.sha256(":".join(words).encode()).digest()[:length], "big") or 1


def started_ns(cassette: Cassette) -> int:
    """When the recording began, in nanoseconds since the Unix epoch; 0 where its text is no time."""
    try:
        # Before Python 3.11, fromisoformat knows no Z.
        moment = datetime.fromisoformat(cassette.session.recorded_at.replace("Z", "+00:00"))
    except ValueError:
        return 0
    epoch = datetime.fromisoformat("1970-01-01T00:00:00" + ("+00:00" if moment.tzinfo else ""))
    return max(0, (moment - epoch) // _MICROSECOND * 1000)


_MICROSECOND: Final = datetime.resolution


def resource_of(cassette: Cassette) -> Resource:
    """The service, as far as the cassette knows it."""
    session = cassette.session
    known = {
        "service.name": session.service,
        "deployment.environment.name": session.env,
        "service.version": session.service_version,
        "vcs.ref.head.revision": session.git_sha,
        "process.runtime.version": session.python_version,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": session.versions.get("opentelemetry-sdk"),
    }
    return Resource({name: value for name, value in known.items() if value})


def spans_of(cassette: Cassette) -> ExportTraceServiceRequest:
    """Those of the request and its calls, in the order in which they began."""
    return encode_spans(readable_spans(cassette))


def readable_spans(cassette: Cassette) -> list[ReadableSpan]:
    """As `spans_of`, as the SDK has them."""
    return sorted(_Spans(cassette).all(), key=lambda span: (span.start_time or 0, span.end_time or 0))


def left_out_of_spans(cassette: Cassette) -> list[str]:
    """What spans cannot hold of a cassette."""
    number = sum(not event.is_observed_only for event in cassette.events)
    lines = []
    if number:
        lines.append(f"the headers, bodies, rows and replies of {_counted(number, 'call')}: spans have none")
    if cassette.request.headers or cassette.request.body or cassette.response.body:
        lines.append("headers and bodies of the recorded request and its answer: spans have none")
    if cassette.logs:
        lines.append(f"{_counted(len(cassette.logs), 'log record')}: spans have none")
    return [f"{line}. --to otlp-logs has them" for line in lines]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


class _Spans:
    """For one cassette."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette
        self._ids = Ids.of(cassette)
        self._start_ns = started_ns(cassette)
        self._resource = resource_of(cassette)

    def all(self) -> Iterator[ReadableSpan]:
        known: set[tuple[int, int]] = set()
        between: dict[tuple[int, int], list[DependencyEvent]] = {}
        for event in self._cassette.events:
            ids = self._ids.calls[event.eid]
            if ids not in known:  # Several calls may have one span: the steps of a redirect.
                known.add(ids)
                yield self._call(event, ids)
            around = event.span if event.span is not None and not _is_of_call(event.span) else None
            if around is not None:
                outer = (_number(around.trace_id), _number(around.span_id))
                if all(outer) and outer not in known:
                    known.add(outer)
                    yield self._of_facts(around, *outer, {})
            for facts in event.within:
                inner = (_number(facts.trace_id), _number(facts.span_id))
                if all(inner) and inner not in known:
                    known.add(inner)
                    yield self._of_facts(facts, *inner, {})
        for event in self._cassette.events:
            is_own = event.span is not None and _is_of_call(event.span)
            parent = _number(event.span.parent_span_id) if event.span is not None and is_own else 0
            ids = (self._ids.calls[event.eid][0], parent)
            if parent and ids not in known and parent != self._ids.root and event.path:
                between.setdefault(ids, []).append(event)
        for ids, within in between.items():
            yield self._between(within, *ids)
        if self._ids.root is not None and (self._ids.trace, self._ids.root) not in known:
            yield self._request(self._ids.root)

    def _call(self, event: DependencyEvent, ids: tuple[int, int]) -> ReadableSpan:
        what = {CASSETTE_ATTRIBUTE: self._cassette.session.id, "timetracer.event": event.eid}
        errors = _exceptions(event, self._ns(event.start_offset_ms + event.duration_ms))
        if event.span is not None and _is_of_call(event.span):
            return self._of_facts(event.span, *ids, what, event, errors)
        start_ns = self._ns(event.start_offset_ms)
        return self._made(
            ids,
            (_number(event.span.span_id) if event.span is not None else 0) or self._ids.root,
            name=_name_of(event),
            kind=SpanKind.CLIENT,
            times=(start_ns, start_ns + round(event.duration_ms * 1e6)),
            attributes={**_attributes_of(event), **what, MADE_UP: True},
            status=Status(StatusCode.ERROR if event.result.error_type else StatusCode.UNSET),
            events=errors,
        )

    def _of_facts(
        self,
        facts: SpanFacts,
        trace_id: int,
        span_id: int,
        what: Mapping[str, Any],
        event: DependencyEvent | None = None,
        errors: Sequence[Event] = (),
    ) -> ReadableSpan:
        start_ns = self._ns(event.start_offset_ms if event is not None else 0.0)
        took_ns = round(event.duration_ms * 1e6) if event is not None else 0
        start_ns = facts.start_ns if facts.start_ns is not None else start_ns
        root = self._ids.root if trace_id == self._ids.trace else None
        return self._made(
            (trace_id, span_id),
            _number(facts.parent_span_id) or (root if (trace_id, span_id) != (self._ids.trace, root) else None),
            name=facts.name or (event.signature.method if event is not None else ""),
            kind=SpanKind.__members__.get(facts.kind or "", SpanKind.CLIENT),
            times=(start_ns, facts.end_ns if facts.end_ns is not None else start_ns + took_ns),
            attributes={**facts.attributes, **what},
            status=_status(facts),
            events=errors,
            scope=facts.scope or "",
            sampled=facts.sampled,
        )

    def _between(self, within: Sequence[DependencyEvent], trace_id: int, span_id: int) -> ReadableSpan:
        """A span around calls. It is at least as long as they are; what is around it is known by name alone."""
        starts = [self._span_times(event)[0] for event in within]
        ends = [self._span_times(event)[1] for event in within]
        return self._made(
            (trace_id, span_id),
            self._ids.root if trace_id == self._ids.trace else None,
            name=within[0].path[-1],
            kind=SpanKind.INTERNAL,
            times=(min(starts), max(ends)),
            attributes={MADE_UP: True, "timetracer.path": list(within[0].path[:-1])},
        )

    def _span_times(self, event: DependencyEvent) -> tuple[int, int]:
        start_ns = self._ns(event.start_offset_ms)
        end_ns = start_ns + round(event.duration_ms * 1e6)
        span = event.span
        if span is not None and span.start_ns is not None and span.end_ns is not None:
            return span.start_ns, span.end_ns
        return start_ns, end_ns

    def _request(self, span_id: int) -> ReadableSpan:
        cassette, request, response = self._cassette, self._cassette.request, self._cassette.response
        # Of a root span that was no request, the kind stands in the place of the method.
        kind = SpanKind.__members__.get(request.method)
        is_http = kind is None and request.method not in GIVEN_TO_WORKERS
        end_ms = response.duration_ms or max((event.end_offset_ms for event in cassette.events), default=0.0)
        attributes: dict[str, Any] = {
            CASSETTE_ATTRIBUTE: cassette.session.id,
            MADE_UP: True,
            "client.address": request.client_ip,
            "user_agent.original": request.user_agent,
            "http.route": request.route_template,
        }
        if is_http:
            _, _, query = (request.target or "").partition("?")
            attributes |= {
                "http.request.method": request.method,
                "url.path": request.path,
                "url.query": query or None,
            }
        if response.status:
            attributes["http.response.status_code"] = response.status
        error = cassette.error_info
        failed = error is not None or response.status >= 500
        return self._made(
            (self._ids.trace, span_id),
            None,
            name=f"{request.method} {request.route_template or request.path}".strip() if is_http else request.path,
            kind=SpanKind.SERVER if is_http else kind or SpanKind.CONSUMER,
            times=(self._start_ns, self._ns(end_ms)),
            attributes=attributes,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            events=[_exception(error.get("type"), error.get("message"), self._ns(end_ms), error.get("traceback"))]
            if error
            else (),
        )

    def _ns(self, offset_ms: float) -> int:
        return self._start_ns + round(offset_ms * 1e6)

    def _made(
        self,
        ids: tuple[int, int],
        parent: int | None,
        *,
        name: str,
        kind: SpanKind,
        times: tuple[int, int],
        attributes: Mapping[str, Any],
        status: Status | None = None,
        events: Sequence[Event] = (),
        scope: str = SCOPE,
        sampled: bool = True,
    ) -> ReadableSpan:
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return ReadableSpan(
            name=_text(name),
            context=SpanContext(*ids, is_remote=False, trace_flags=flags),
            parent=SpanContext(ids[0], parent, is_remote=False) if parent else None,
            resource=self._resource,
            attributes={_text(key): attribute(value) for key, value in attributes.items() if value is not None},
            events=events,
            kind=kind,
            status=status or Status(),
            start_time=_whole(times[0]),
            end_time=_whole(times[1]),
            instrumentation_scope=InstrumentationScope(_text(scope)),
        )


def _whole(ns: int) -> int:
    return min(max(ns, 0), _LARGEST - 1)


def _status(facts: SpanFacts) -> Status:
    code = StatusCode.__members__.get(facts.status or "", StatusCode.UNSET)
    # The SDK warns of a description of another status.
    return Status(code, _text(facts.status_description) if code is StatusCode.ERROR else None)


def attribute(value: Any) -> Any:
    """A value that OpenTelemetry's encoder takes. A cassette of a stranger may have any value there."""
    if isinstance(value, (list, tuple)):
        return [attribute(each) for each in value]
    if isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value < _LARGEST else str(value)
    if isinstance(value, dict):
        return {_text(key): attribute(item) for key, item in value.items()}
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """Text that has UTF-8."""
    return str("" if value is None else value).encode("utf-8", "backslashreplace").decode()


def _exceptions(event: DependencyEvent, at_ns: int) -> list[Event]:
    result = event.result
    if event.is_observed_only or result.error_type is None:
        return []
    return [_exception(result.error_type, result.error, at_ns)]


def _exception(kind: Any, message: Any, at_ns: int, traceback: Any = None) -> Event:
    """As the SDK notes an exception. Its class is written with a colon in cassettes."""
    attributes = {"exception.type": _text(kind).replace(":", "."), "exception.message": _text(message)}
    if traceback is not None:
        attributes["exception.stacktrace"] = _text(traceback)
    return Event("exception", attributes, timestamp=_whole(at_ns))


def _name_of(event: DependencyEvent) -> str:
    signature = event.signature
    return signature.method if event.event_type is EventType.HTTP_CLIENT else f"{signature.lib} {signature.method}"


def _attributes_of(event: DependencyEvent) -> dict[str, Any]:
    """What an instrumentation would say of a call that had no span, by OpenTelemetry's semantic conventions."""
    signature, result = event.signature, event.result
    made: dict[str, Any] = {LIBRARY: signature.lib, "error.type": result.error_type}
    try:
        host, port = urlsplit(signature.url or "").hostname, urlsplit(signature.url or "").port
    except ValueError:
        host = port = None
    made |= {"server.address": host, "server.port": port}
    if event.event_type is EventType.HTTP_CLIENT:
        made |= {
            "http.request.method": signature.method,
            "url.full": signature.url,
            "http.response.status_code": result.status,
        }
    elif event.event_type in (EventType.DB_QUERY, EventType.REDIS):
        args = event.call.args if event.call is not None else None
        statement = args.get("statement") if isinstance(args, dict) else None
        made |= {
            "db.system.name": "redis" if event.event_type is EventType.REDIS else "other_sql",
            "db.operation.name": signature.method,
            "db.query.text": statement if isinstance(statement, str) else None,
        }
    return made
