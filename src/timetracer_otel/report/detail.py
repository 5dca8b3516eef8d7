"""Everything that stands in one event: the request, the answer, and the span around the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE
from timetracer_otel.redact.forms import form_of
from timetracer_otel.report.bodies import body_lines
from timetracer_otel.report.tables import printable
from timetracer_otel.report.words import event_name, event_remarks, event_status, format_ms, model_span
from timetracer_otel.session.span_roles import is_of_model
from timetracer_otel.types import Cassette, DependencyEvent, RecordedError, SpanFacts, header_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["event_detail", "exchange_detail", "log_detail"]

_INDENT = "    "


def event_detail(event: DependencyEvent, pretty: bool = True, variables: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Lines with everything that stands in an event.

    Args:
        event: What to show.
        pretty: Indent JSON bodies; False shows them as they are.
        variables: The values in it that another run has other ones of, with their kinds.
    """
    times = f"started at {format_ms(event.start_offset_ms)} ms, took {format_ms(event.duration_ms)} ms"
    if event.ended_ms is not None:
        times += f" and went on until {format_ms(event.end_offset_ms)} ms"
    lines = [f"#{event.eid} {event_name(event)}", f"  {event.event_type.value}, {times}, {event_status(event)}"]
    lines += [f"  {remark}" for remark in event_remarks(event)]
    lines += [f"  variable: {kind} {printable(text)}" for kind, text in variables]
    if event.path:
        lines.append("  inside " + printable(" > ".join(event.path)))
    args = event.call.args if event.call is not None else None
    args, reply = form_of(event.signature.lib).displayed(args, event.result.reply)
    if event.call is not None:
        lines.append("  request")
        lines += _headers(event.call.headers)
        lines += _value("arguments", args)
        lines += _indented(body_lines(event.call.body, event.call.headers, pretty))
    if event.call is not None or event.result.body is not None or event.result.headers:
        lines.append("  response" if event.result.status is None else f"  response {event.result.status}")
        lines += _headers(event.result.headers)
        lines += _value("reply", reply)
        lines += _indented(body_lines(event.result.body, event.result.headers, pretty))
    lines += _error(event.result.exception)
    model = model_span(event)
    lines += _span(event.span) if model is None else ["  above it", *_indented(_span(model))]
    for inner in event.within:
        lines += ["  above it" if is_of_model(inner) else "  within it", *_indented(_span(inner))]
    return lines


def exchange_detail(cassette: Cassette, pretty: bool = True) -> list[str]:
    """Lines with the incoming request that was recorded, and its answer. No lines if the recording has neither.

    Args:
        cassette: What to show.
        pretty: Indent JSON bodies; False shows them as they are.
    """
    request, response = cassette.request, cassette.response
    if not request.headers and request.body is None and not response.headers and response.body is None:
        return []
    lines = [f"request {printable(request.method)} {printable(request.target or request.path)}"]
    lines += _headers(request.headers)
    lines += _indented(body_lines(request.body, request.headers, pretty))
    lines.append(f"response {response.status}")
    lines += _headers(response.headers)
    return lines + _indented(body_lines(response.body, response.headers, pretty))


def log_detail(cassette: Cassette) -> list[str]:
    """Lines with the app's log records whole: time, level, logger, message, and the error that was logged."""
    lines: list[str] = []
    for log in cassette.logs:
        message = [printable(line) for line in log.message.splitlines()] or [""]
        lines.append(f"{format_ms(log.at_ms)} ms {printable(log.level)} {printable(log.logger)}: {message[0]}")
        lines += _indented([*message[1:], *map(printable, (log.error or "").splitlines())])
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [_INDENT + line for line in lines]


def _headers(headers: Mapping[str, str]) -> list[str]:
    return [
        f"{_INDENT}{printable(name.decode('latin-1'))}: {printable(value.decode('latin-1'))}"
        for name, value in header_pairs(headers)
    ]


def _value(name: str, value: Any) -> list[str]:
    return [] if value is None else [f"{_INDENT}{name}: {printable(repr(_named(value)))}"]


class _Named(NamedTuple):
    """A value of a type that a cassette does not have, as a cassette holds it."""

    name: Any
    parts: Any

    def __repr__(self) -> str:
        parts = self.parts if type(self.parts) in (list, tuple) else (self.parts,)
        return f"{self.name}({', '.join(map(repr, parts))})"


def _named(value: Any) -> Any:
    """The value with the maps that stand for values of such types as these types."""
    if type(value) in (list, tuple):
        return type(value)(map(_named, value))
    if type(value) is not dict:
        return value
    if value.keys() == {DRIVER_TYPE, DRIVER_VALUE}:
        return _Named(value[DRIVER_TYPE], _named(value[DRIVER_VALUE]))
    return {key: _named(item) for key, item in value.items()}


def _error(error: RecordedError | None) -> list[str]:
    lines = []
    relation = "error"
    while error is not None:
        lines.append(f"  {relation} {printable(error.cls)}: {printable(error.message)}")
        if error.unfaithful:
            lines.append(f"{_INDENT}cannot be rebuilt: {printable(error.unfaithful)}")
        error = error.cause
        relation = "caused by"
    return lines


def _span(span: SpanFacts | None) -> list[str]:
    if span is None:
        return []
    parent = f", parent {span.parent_span_id}" if span.parent_span_id else ""
    sampled = "sampled" if span.sampled else "not sampled"
    lines = [f"  span {printable(span.name or '')} {span.span_id} of trace {span.trace_id}{parent}, {sampled}"]
    if span.scope:
        lines.append(f"{_INDENT}scope: {printable(span.scope)}")
    lines += [f"{_INDENT}{printable(name)}: {printable(str(value))}" for name, value in span.attributes.items()]
    return lines
