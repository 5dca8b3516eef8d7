"""The spans of a recording in the JSON of Jaeger, which its UI opens by itself ("Upload", "JSON File").

The UI hands files of OTLP to Jaeger's backend, and takes this form without one. Names of tags are those that Jaeger
gives to spans of OTLP (https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger/).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from timetracer_otel.types import Cassette
from timetracer_otel_exporter_otlp._spans import readable_spans

__all__ = ["as_jaeger"]

_PROCESS = "p1"


def as_jaeger(cassette: Cassette) -> bytes:
    """A document with the traces of a recording: that of its request, and others that its calls belong to."""
    by_trace: dict[str, list[ReadableSpan]] = {}
    for span in readable_spans(cassette):
        by_trace.setdefault(format_trace_id(_context(span).trace_id), []).append(span)
    traces = [_trace(trace_id, spans) for trace_id, spans in by_trace.items()]
    return json.dumps({"data": traces}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _trace(trace_id: str, spans: list[ReadableSpan]) -> dict[str, Any]:
    resource = dict(spans[0].resource.attributes)
    service = str(resource.pop("service.name", ""))
    return {
        "traceID": trace_id,
        "spans": [_span(trace_id, span) for span in spans],
        "processes": {_PROCESS: {"serviceName": service, "tags": _tags(resource)}},
    }


def _span(trace_id: str, span: ReadableSpan) -> dict[str, Any]:
    start_us, end_us = (span.start_time or 0) // 1000, (span.end_time or 0) // 1000
    parent = span.parent
    return {
        "traceID": trace_id,
        "spanID": format_span_id(_context(span).span_id),
        "operationName": span.name,
        "references": [
            {
                "refType": "CHILD_OF",
                "traceID": format_trace_id(parent.trace_id),
                "spanID": format_span_id(parent.span_id),
            }
        ]
        if parent is not None
        else [],
        "startTime": start_us,
        "duration": max(0, end_us - start_us),
        "tags": _tags({**(span.attributes or {}), **_facts(span)}),
        "logs": [
            {"timestamp": event.timestamp // 1000, "fields": _tags({"event": event.name, **(event.attributes or {})})}
            for event in span.events
        ],
        "processID": _PROCESS,
        "warnings": None,
    }


def _facts(span: ReadableSpan) -> dict[str, Any]:
    """What has no field of its own in a span of Jaeger."""
    made: dict[str, Any] = {"span.kind": span.kind.name.lower()}
    scope = span.instrumentation_scope
    if scope is not None and scope.name:
        made["otel.scope.name"] = scope.name
    status = span.status
    if status.status_code is not StatusCode.UNSET:
        made["otel.status_code"] = status.status_code.name
    if status.status_code is StatusCode.ERROR:
        made["error"] = True
        if status.description:
            made["otel.status_description"] = status.description
    return made


def _tags(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, **_typed(value)} for key, value in attributes.items()]


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"type": "bool", "value": value}
    if isinstance(value, int):
        return {"type": "int64", "value": value}
    if isinstance(value, float):
        # JSON has neither an infinite number nor one that is none.
        return {"type": "float64", "value": value} if abs(value) < float("inf") else _text(value)
    if isinstance(value, bytes):
        return {"type": "binary", "value": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return _text(value)
    return _text(json.dumps(_plain(value), ensure_ascii=False))


def _text(value: Any) -> dict[str, Any]:
    return {"type": "string", "value": str(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_plain(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _context(span: ReadableSpan) -> Any:
    context = span.context
    assert context is not None, "each span of ours has one"
    return context
