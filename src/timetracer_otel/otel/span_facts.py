"""From an OpenTelemetry span to the facts that stand in a cassette, and from a root span to its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from timetracer_otel.base.attributes import first_of, text_or_none
from timetracer_otel.redact.urls import split_url, values_by_name
from timetracer_otel.session import TraceSession
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot, SpanFacts

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = [
    "RootSpan",
    "facts_of",
    "failed",
    "is_server",
    "note_exception",
    "query_values",
    "request_path",
    "route_of",
]

_SERVER = SpanKind.SERVER


def is_server(span: ReadableSpan) -> bool:
    """Whether a span stands for a request that came in."""
    return span.kind is _SERVER


def facts_of(span: ReadableSpan) -> SpanFacts:
    """The facts of a span that has ended."""
    seen: Any = span
    try:
        # Through its methods, the SDK's mapping gives each attribute by three functions in Python.
        attributes = dict(seen._attributes._dict)
        made = _facts(seen._context, seen._parent, seen._instrumentation_scope, attributes)
        made.name, made.kind = seen._name, seen._kind._name_
    except AttributeError:
        attributes = dict(span.attributes or {})
        made = _facts(span.get_span_context(), span.parent, span.instrumentation_scope, attributes)
        made.name, made.kind = span.name, span.kind.name
    status = span.status
    # The property ``name`` of an enumeration's member is a function in Python.
    made.status, made.status_description = status.status_code._name_, status.description
    made.start_ns, made.end_ns = span.start_time, span.end_time
    return made


def _facts(
    context: SpanContext | None,
    parent: SpanContext | None,
    scope: InstrumentationScope | None,
    attributes: dict[str, Any],
) -> SpanFacts:
    """What does not differ between the ways to ask for it."""
    # A span context is a tuple: trace id, span id, whether it is remote, flags.
    return SpanFacts(
        f"{context[0]:032x}" if context else "",
        f"{context[1]:016x}" if context else "",
        f"{parent[1]:016x}" if parent else None,
        attributes=attributes,
        scope=scope.name if scope else None,
        sampled=bool(context and context[3] & TraceFlags.SAMPLED),
    )


def request_path(span: ReadableSpan) -> str | None:
    """The path of the request that a root span stands for (old and new semantic conventions); None for others."""
    path = first_of(span.attributes or {}, "url.path", "http.target")
    if path is None:
        url = first_of(span.attributes or {}, "http.url", "url.full") if span.kind is _SERVER else None
        path = split_url(str(url)).path if url is not None else None
    return None if path is None else str(path)


def _line_of(span: ReadableSpan) -> tuple[str, str, str]:
    """Method, path and query. For jobs and messages, the span's kind stands for the method, its name for the path."""
    attributes = span.attributes or {}
    method = first_of(attributes, "http.request.method", "http.method")
    path, _, query = (request_path(span) or span.name).partition("?")
    query = str(first_of(attributes, "url.query") or query or _query_of_url(span))
    return str(method) if method is not None else span.kind.name, path, query


def _query_of_url(span: ReadableSpan) -> str:
    """The query where only a URL has it: under the old conventions, `http.target` of an ASGI app is its path."""
    url = first_of(span.attributes or {}, "http.url", "url.full") if span.kind is _SERVER else None
    return "" if url is None else split_url(str(url)).query or ""


def route_of(span: ReadableSpan) -> str | None:
    """The route's template, where the span names one."""
    return text_or_none((span.attributes or {}).get("http.route"))


def _response_of(span: ReadableSpan) -> ResponseSnapshot:
    """What a root span says about the answer; status 0 where it was no HTTP request."""
    status = first_of(span.attributes or {}, "http.response.status_code", "http.status_code")
    duration_ns = (span.end_time or 0) - (span.start_time or 0)
    return ResponseSnapshot(status=status if isinstance(status, int) else 0, duration_ms=duration_ns / 1e6)


class RootSpan:
    """The request that a root span stands for, for want of somebody who saw it passing (an `RootExchange`).

    Made when the span starts. Method, path and query are read then, since a replay chooses its recording by them and
    the app may rename the span later. Everything else is read when it is asked for.
    """

    def __init__(self, span: ReadableSpan) -> None:
        self._span: ReadableSpan | None = span
        self._line = _line_of(span)

    def request(self) -> RequestSnapshot:
        """The request, as far as the span's attributes tell of it; an empty one after `release`."""
        span = self._span
        if span is None:
            return RequestSnapshot(method="", path="")
        method, path, query = self._line
        attributes = span.attributes or {}
        return RequestSnapshot(
            method=method,
            path=path,
            route_template=route_of(span),
            query=query_values(query),
            client_ip=text_or_none(first_of(attributes, "client.address", "http.client_ip", "net.peer.ip")),
            user_agent=text_or_none(first_of(attributes, "user_agent.original", "http.user_agent")),
        )

    def response(self) -> ResponseSnapshot:
        """The status and the duration; status 0 after `release`."""
        return ResponseSnapshot(status=0) if self._span is None else _response_of(self._span)

    @property
    def duration_ms(self) -> float:
        """That of the span; 0 while it runs."""
        span = self._span
        return max(0, (span.end_time or 0) - (span.start_time or 0)) / 1e6 if span is not None else 0.0

    @property
    def route_name(self) -> str:
        """The method with the route; for others than requests, the kind and the name with which the span started."""
        method, path, _ = self._line
        is_request = self._span is not None and is_server(self._span)
        route = route_of(self._span) if self._span is not None else None
        return f"{method} {route or ('(no route)' if is_request else path)}"

    def release(self) -> None:
        """Let go of the span, so that it can be freed."""
        self._span = None


def note_exception(session: TraceSession, span: ReadableSpan) -> None:
    """Tell a session of each exception that was recorded on a span; the session keeps the last one."""
    for event in span.events:
        if event.name == "exception":
            attributes = event.attributes or {}
            session.mark_error(
                str(attributes.get("exception.type", "")),
                str(attributes.get("exception.message", "")),
                str(attributes.get("exception.stacktrace", "")) or None,
            )


def failed(span: ReadableSpan) -> bool:
    """Whether the request ended in an error: status ERROR, or an HTTP status of 500 or more."""
    return span.status.status_code is StatusCode.ERROR or _response_of(span).status >= 500


def query_values(query: str) -> dict[str, Any]:
    """The values of a query by name; a list of values where a name occurs more than once."""
    return values_by_name(parse_qsl(query, keep_blank_values=True))
