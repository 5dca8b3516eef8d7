"""Events that are made of a client's span alone: what it says of a call stands in them, and no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timetracer_otel.base.attributes import first_of, text_or_none
from timetracer_otel.base.plugin_names import library_of_scope
from timetracer_otel.constants import EventType
from timetracer_otel.match.signature import Signer
from timetracer_otel.types import Call, DependencyEvent, EventResult, SpanFacts

__all__ = ["event_of_span", "span_event_type"]


def event_of_span(facts: SpanFacts, session_started_ns: int, signer: Signer, reason: str) -> DependencyEvent:
    """The event of a call of which there is a span alone. It has no position yet.

    Args:
        facts: The span.
        session_started_ns: When the recording began, in nanoseconds since the Unix epoch.
        signer: Makes the signature.
        reason: Why no replay can answer from it.
    """
    attributes = facts.attributes
    url = first_of(
        attributes, "url.full", "http.url", "server.address", "net.peer.name", "messaging.destination.name"
    )
    status = first_of(attributes, "http.response.status_code", "http.status_code", "rpc.grpc.status_code")
    start_ns, end_ns = facts.start_ns or session_started_ns, facts.end_ns or session_started_ns
    call = Call(
        lib=library_of_scope(facts.scope),
        event_type=EventType.CUSTOM,
        method=str(first_of(attributes, "http.request.method", "http.method", "rpc.method") or facts.name or ""),
        url=str(url) if url is not None else None,
    )
    return DependencyEvent(
        eid=0,
        event_type=span_event_type(attributes),
        start_offset_ms=(start_ns - session_started_ns) / 1e6,
        duration_ms=(end_ns - start_ns) / 1e6,
        signature=signer.redacted(call).signature,
        result=EventResult(
            status=status if isinstance(status, int) else None,
            error=facts.status_description if facts.status == "ERROR" else None,
            error_type=text_or_none(first_of(attributes, "error.type", "exception.type"))
            if facts.status == "ERROR"
            else None,
        ),
        span=facts,
        not_replayable=reason,
    )


def span_event_type(attributes: Mapping[str, Any]) -> EventType:
    """The kind of dependency that a client span is about, by attributes of the semantic conventions."""
    system = first_of(attributes, "db.system.name", "db.system")
    if system is not None:
        return EventType.REDIS if system == "redis" else EventType.DB_QUERY
    if first_of(attributes, "http.request.method", "http.method") is not None:
        return EventType.HTTP_CLIENT
    return EventType.CUSTOM
