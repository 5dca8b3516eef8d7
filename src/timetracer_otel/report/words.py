"""Names, states and remarks of an event in one word or one line. Every report uses the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.report.tables import printable
from timetracer_otel.report.targets import event_target
from timetracer_otel.session.models import model_use
from timetracer_otel.session.span_roles import is_of_model

if TYPE_CHECKING:
    from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent, LogEntry, SpanFacts

__all__ = [
    "event_marks",
    "event_name",
    "event_remarks",
    "event_status",
    "format_duration",
    "format_ms",
    "log_name",
    "model_span",
    "request_name",
    "response_size",
]

_OBSERVED_PREFIX = "only observed: "


def format_ms(milliseconds: float) -> str:
    """Milliseconds with one decimal."""
    return f"{milliseconds:.1f}"


def format_duration(milliseconds: float) -> str:
    """A duration for people: ``0.4 ms``, ``210 ms``, ``2.1 s``, ``3 min 20 s``."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def event_name(event: DependencyEvent, *, with_place: bool = True) -> str:
    """``httpx GET http://host/path?query``, ``sqlite3 INSERT orders sqlite3:///shop.db``, on one line.

    Parts that the event lacks are left out.

    Args:
        event: The call.
        with_place: Whether the address stands there as well where a table, a collection or a key does.
    """
    signature = event.signature
    about = event_target(event)
    if about and not with_place:
        return printable(f"{signature.lib} {signature.method or ''} {about}")
    target = signature.url or ""
    if signature.query:
        pairs = [
            f"{name}={item}"
            for name, value in signature.query.items()
            for item in (value if isinstance(value, list) else [value])
        ]
        target += "?" + "&".join(pairs)
    if not target and event.span is not None:
        target = event.span.name or ""
    return printable(" ".join(part for part in (signature.lib, signature.method, about, target) if part))


def log_name(log: LogEntry) -> str:
    """``app.orders: 3 items reserved``, on one line; with the last line of an error that was logged."""
    lines = (log.error or "").strip().splitlines()
    error = f" ({lines[-1]})" if lines else ""
    return printable(f"{log.logger}: {log.message}{error}")


def event_status(event: DependencyEvent) -> str:
    """The status, the short class name of the error, or ``-``."""
    result = event.result
    if result.error_type:
        return printable(result.error_type.rpartition(":")[2].rpartition(".")[2])
    if result.status is not None:
        return str(result.status)
    return "error" if result.error else "-"


def model_span(event: DependencyEvent) -> SpanFacts | None:
    """The span of a client for language models, where it was around an HTTP request that has no span of its own."""
    span = event.span
    return span if span is not None and event.event_type is EventType.HTTP_CLIENT and is_of_model(span) else None


def response_size(body: BodySnapshot | None) -> int | None:
    """The size of a body in bytes; None if it is not known."""
    if body is None:
        return None
    if body.size_bytes is not None:
        return body.size_bytes
    return len(body.data) if isinstance(body.data, bytes) else None


def event_marks(event: DependencyEvent) -> list[str]:
    """Short marks of an event: the model and the tokens of a call to a language model, that it is a stream, that its
    body ended early, that it cannot be replayed.
    """
    use = model_use(event)
    marks = [printable(str(use))] if use is not None and str(use) else []
    body = event.result.body
    if body is not None:
        if len(body.chunks) > 1:
            marks.append(f"{len(body.chunks)} chunks")
        if body.end is not BodyEnd.COMPLETE:
            marks.append(f"body {body.end.value}")
        if body.truncated:
            marks.append("body truncated")
    if event.not_replayable is not None:
        marks.append(_no_replay(event))
    return marks


def event_remarks(event: DependencyEvent) -> list[str]:
    """Remarks of a sentence: the error of the call, and why it cannot be replayed."""
    remarks = []
    if event.result.error:
        remarks.append(printable(": ".join(part for part in (event.result.error_type, event.result.error) if part)))
    if event.not_replayable is not None:
        reason = event.not_replayable.removeprefix(_OBSERVED_PREFIX)
        remarks.append(f"{_no_replay(event)}: {printable(reason)}")
    return remarks


def _no_replay(event: DependencyEvent) -> str:
    return "observed only" if is_observed_only(event) else "not replayable"


def is_observed_only(event: DependencyEvent) -> bool:
    """Whether the event was made of a span alone, because there is no plugin for that client."""
    return event.is_observed_only


def request_name(cassette: Cassette) -> str:
    """``GET /checkout``. Without a request, the name of the outermost span; without that, ``(no request)``."""
    request = cassette.request
    named = " ".join(part for part in (request.method, request.path) if part)
    if not named:
        outermost = {event.path[:1] for event in cassette.events}
        named = "".join(outermost.pop()) if len(outermost) == 1 else ""
        named = named or "(no request)"
    return printable(named)
