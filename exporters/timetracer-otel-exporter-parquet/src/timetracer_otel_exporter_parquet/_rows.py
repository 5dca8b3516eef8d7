"""The rows of the tables. Numbers are counted as the commands ``list`` and ``stats`` count them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.constants import EventType
from timetracer_otel.exchange import Recording
from timetracer_otel.report import call_failed, upstream_address
from timetracer_otel.types import BodySnapshot, DependencyEvent

__all__ = ["CALLS", "CASSETTE", "CASSETTES", "REQUESTS", "call_row", "cassette_row", "request_row"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_WHOLE, _MS, _TEXT, _FLAG = pa.int64(), pa.float64(), pa.string(), pa.bool_()

CASSETTE: Final = "cassette"
"""The column with recordings as a whole."""
CASSETTES: Final = pa.schema([("file", _TEXT), ("session_id", _TEXT), (CASSETTE, pa.binary())])

REQUESTS: Final = pa.schema(
    [
        ("file", _TEXT),
        ("session_id", _TEXT),
        ("trace_id", _TEXT),
        ("recorded_at", _TIME),
        ("service", _TEXT),
        ("env", _TEXT),
        ("version", _TEXT),
        ("git_sha", _TEXT),
        ("method", _TEXT),
        ("route", _TEXT),
        ("path", _TEXT),
        ("status", _WHOLE),
        ("failed", _FLAG),
        ("error_type", _TEXT),
        ("duration_ms", _MS),
        ("calls", _WHOLE),
        ("http_calls", _WHOLE),
        ("db_calls", _WHOLE),
        ("redis_calls", _WHOLE),
        ("other_calls", _WHOLE),
        ("failed_calls", _WHOLE),
        ("not_replayable_calls", _WHOLE),
        ("waited_ms", _MS),
        ("sent_bytes", _WHOLE),
        ("received_bytes", _WHOLE),
        ("hits", _WHOLE),
        ("misses", _WHOLE),
        ("request_bytes", _WHOLE),
        ("response_bytes", _WHOLE),
        ("complete", _FLAG),
        ("file_bytes", _WHOLE),
    ]
)
CALLS: Final = pa.schema(
    [
        ("file", _TEXT),
        ("session_id", _TEXT),
        ("call", _WHOLE),
        ("trace_id", _TEXT),
        ("span_id", _TEXT),
        ("parent_span_id", _TEXT),
        ("started_at", _TIME),
        ("start_ms", _MS),
        ("duration_ms", _MS),
        ("ended_ms", _MS),
        ("kind", _TEXT),
        ("library", _TEXT),
        ("method", _TEXT),
        ("upstream", _TEXT),
        ("url", _TEXT),
        ("statement", _TEXT),
        ("status", _WHOLE),
        ("failed", _FLAG),
        ("error_type", _TEXT),
        ("error", _TEXT),
        ("sent_bytes", _WHOLE),
        ("received_bytes", _WHOLE),
        ("rows", _WHOLE),
        ("hits", _WHOLE),
        ("misses", _WHOLE),
        ("sets_up", _FLAG),
        ("replayable", _FLAG),
        ("not_replayable", _TEXT),
    ]
)

_LARGEST: Final = 2**63
_READS: Final = frozenset({"GET", "MGET", "HGET", "HMGET", "GETEX", "GETDEL", "HGETEX", "HGETDEL"})
"""The commands of Redis whose reply has nothing in the place of a value that is not there."""
_COUNTED: Final = {
    EventType.HTTP_CLIENT: "http_calls",
    EventType.DB_QUERY: "db_calls",
    EventType.REDIS: "redis_calls",
    EventType.CUSTOM: "other_calls",
}


def cassette_row(recording: Recording) -> dict[str, Any]:
    """The row with a recording as a whole: the bytes of an uncompressed cassette."""
    row = recording.row
    return {
        "file": _text(row.path),
        "session_id": _text(row.session_id),
        CASSETTE: cassette_to_bytes(recording.cassette),
    }


def request_row(recording: Recording, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of a recording.

    Args:
        recording: The recording.
        calls: The rows of its calls.
    """
    row, cassette = recording.row, recording.cassette
    request, response = cassette.request, cassette.response
    made: dict[str, Any] = {
        "file": _text(row.path),
        "session_id": _text(row.session_id),
        "trace_id": _text(row.trace_id or None),
        "recorded_at": _moment(row.recorded_at),
        "service": _text(row.service),
        "env": _text(row.env),
        "version": _text(cassette.session.service_version),
        "git_sha": _text(cassette.session.git_sha),
        "method": _text(row.method or None),
        "route": _text(row.request_path or None),
        "path": _text(request.path or None),
        "status": _whole(row.status or None),
        "failed": row.failed,
        "error_type": _text((cassette.error_info or {}).get("type")),
        "duration_ms": row.duration_ms or None,
        "calls": len(calls),
        **dict.fromkeys(_COUNTED.values(), 0),
        "failed_calls": sum(call["failed"] for call in calls),
        "not_replayable_calls": sum(not call["replayable"] for call in calls),
        "waited_ms": sum(call["duration_ms"] for call in calls),
        "request_bytes": _size(request.body),
        "response_bytes": _size(response.body),
        "complete": row.complete,
        "file_bytes": row.size_bytes,
    }
    for call in calls:
        made[_COUNTED[EventType(call["kind"])]] += 1
    for name in ("sent_bytes", "received_bytes", "hits", "misses"):
        known = [call[name] for call in calls if call[name] is not None]
        made[name] = _whole(sum(known)) if known else None
    return made


def call_row(recording: Recording, event: DependencyEvent) -> dict[str, Any]:
    """The row of a call."""
    signature, result, span = event.signature, event.result, event.span
    began = _moment(recording.row.recorded_at)
    hits, misses = _hits(event)
    return {
        "file": _text(recording.row.path),
        "session_id": _text(recording.row.session_id),
        "call": _whole(event.eid),
        "trace_id": _text(span.trace_id) if span is not None else None,
        "span_id": _text(span.span_id) if span is not None else None,
        "parent_span_id": _text(span.parent_span_id) if span is not None else None,
        "started_at": _later(began, event.start_offset_ms),
        "start_ms": event.start_offset_ms,
        "duration_ms": event.duration_ms,
        "ended_ms": event.end_offset_ms - event.start_offset_ms,
        "kind": event.event_type.value,
        "library": _text(signature.lib),
        "method": _text(signature.method),
        "upstream": _text(upstream_address(signature.url or "")),
        "url": _text(signature.url),
        "statement": _text(_statement(event)),
        "status": _whole(result.status),
        "failed": call_failed(event),
        "error_type": _text(result.error_type),
        "error": _text(result.error),
        "sent_bytes": _size(event.call.body) if event.call is not None else None,
        "received_bytes": _size(result.body),
        "rows": _rows(event),
        "hits": hits,
        "misses": misses,
        "sets_up": event.sets_up,
        "replayable": event.not_replayable is None,
        "not_replayable": _text(event.not_replayable),
    }


def _moment(text: str) -> datetime | None:
    try:
        # Before Python 3.11, fromisoformat knows no Z.
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _later(moment: datetime | None, offset_ms: float) -> datetime | None:
    try:
        return None if moment is None else moment + timedelta(milliseconds=offset_ms)
    except OverflowError:  # A cassette of a stranger may say any time.
        return None


def _statement(event: DependencyEvent) -> str | None:
    args: Any = event.call.args if event.call is not None else None
    statement = args.get("statement") if isinstance(args, dict) else None
    return statement if isinstance(statement, str) else None


def _rows(event: DependencyEvent) -> int | None:
    """How many rows the app got."""
    reply: Any = event.result.reply
    rows: Any = reply.get("rows") if event.event_type is EventType.DB_QUERY and isinstance(reply, dict) else None
    return len(rows) if hasattr(rows, "__len__") else None


def _hits(event: DependencyEvent) -> tuple[int | None, int | None]:
    """How many values were asked of Redis that were there, and that were not; nothing for other calls."""
    reply: Any = event.result.reply
    replies = reply.get("replies") if event.event_type is EventType.REDIS and isinstance(reply, dict) else None
    if event.signature.method not in _READS or not isinstance(replies, list) or len(replies) != 1:
        return None, None
    values = replies[0] if isinstance(replies[0], list) else replies
    missed = sum(value is None for value in values)
    return len(values) - missed, missed


def _size(body: BodySnapshot | None) -> int | None:
    return _whole(body.size_bytes) if body is not None else None


def _whole(number: int | None) -> int | None:
    """A number of 64 bits. A cassette of a stranger may have any."""
    return number if number is None or -_LARGEST <= number < _LARGEST else None


def _text(text: str | None) -> str | None:
    """Text that has UTF-8."""
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode()
