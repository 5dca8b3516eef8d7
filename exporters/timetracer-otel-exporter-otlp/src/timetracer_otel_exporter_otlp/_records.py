"""The log records of a recording: one of the recording, one of each call, and those that the app made.

The first two hold what the cassette's file holds of them, in the values of OTLP (see `_values`), so that they become
the cassette again. They are of the scope ``timetracer_otel``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.constants import CASSETTE_ATTRIBUTE
from timetracer_otel.types import Cassette, DependencyEvent, LogEntry
from timetracer_otel_exporter_otlp._private_names import LogRecord, ReadableLogRecord, SeverityNumber, encode_logs
from timetracer_otel_exporter_otlp._spans import LIBRARY, SCOPE, Ids, attribute, resource_of, started_ns
from timetracer_otel_exporter_otlp._values import plain

__all__ = ["CALL", "EVENT", "RECORD", "RECORDING", "SEAL", "records_of", "severity_of_python"]

RECORD: Final = "timetracer.record"
"""The attribute that says what a record is of."""
RECORDING, CALL = "recording", "call"
EVENT: Final = "timetracer.event"
"""The attribute with the position of a call in its recording."""
SEAL: Final = frozenset({"offset", "crc32"})
"""The keys of a footer that are about the bytes of the file."""
_OUR_LEVELS: Final = ((10, 5), (20, 9), (30, 13), (40, 17), (50, 21))
"""Levels of Python, each with the first severity of OTLP for it. They are ten and four apart."""


def records_of(cassette: Cassette) -> ExportLogsServiceRequest:
    """Those of a cassette, in the order of its file."""
    return encode_logs(list(_Records(cassette).all()))


class _Records:
    """For one cassette."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette
        self._ids = Ids.of(cassette)
        self._start_ns = started_ns(cassette)
        self._resource = resource_of(cassette)

    def all(self) -> Iterator[ReadableLogRecord]:
        unpacker = msgpack.Unpacker(ext_hook=msgpack.ExtType, strict_map_key=False, max_buffer_size=0)
        unpacker.feed(cassette_to_bytes(self._cassette))
        header, *events, footer = unpacker
        calls = {event.eid: event for event in self._cassette.events}
        body = {"header": header, "footer": {key: item for key, item in footer.items() if key not in SEAL}}
        yield self._record(
            body,
            {RECORD: RECORDING},
            f"{SCOPE}.recording",
            at_ns=self._start_ns,
            ids=(self._ids.trace, self._ids.root or 0),
            failed=self._cassette.error_info is not None,
        )
        for event in events:
            eid = event["eid"]
            call: DependencyEvent = calls[eid]
            yield self._record(
                event,
                {RECORD: CALL, EVENT: eid, LIBRARY: call.signature.lib},
                f"{SCOPE}.call",
                at_ns=self._start_ns + round(call.start_offset_ms * 1e6),
                ids=self._ids.calls[eid],
                failed=call.result.error_type is not None,
            )
        for entry in self._cassette.logs:
            yield self._of_app(entry)

    def _record(
        self,
        body: Any,
        attributes: dict[str, Any],
        name: str,
        *,
        at_ns: int,
        ids: tuple[int, int],
        failed: bool,
    ) -> ReadableLogRecord:
        return self._made(
            LogRecord(
                timestamp=max(at_ns, 1),
                observed_timestamp=max(at_ns, 1),
                context=_context(*ids),
                severity_number=SeverityNumber.ERROR if failed else SeverityNumber.INFO,
                severity_text="ERROR" if failed else "INFO",
                body=plain(body),
                attributes={CASSETTE_ATTRIBUTE: self._cassette.session.id, **attributes},
                event_name=name,
            ),
            SCOPE,
        )

    def _of_app(self, entry: LogEntry) -> ReadableLogRecord:
        """A record that the app made. The recording's own record has it, too."""
        try:
            span_id = int(entry.span_id or "0", 16)
        except ValueError:
            span_id = 0
        error = {"exception.stacktrace": entry.error} if entry.error is not None else {}
        at_ns = max(self._start_ns + round(entry.at_ms * 1e6), 1)
        return self._made(
            LogRecord(
                timestamp=at_ns,
                observed_timestamp=at_ns,
                context=_context(self._ids.trace, span_id),
                severity_number=_severity(entry.severity),
                severity_text=attribute(entry.level),
                body=attribute(entry.message),
                attributes={CASSETTE_ATTRIBUTE: self._cassette.session.id, **attribute(error)},
            ),
            attribute(entry.logger),
        )

    def _made(self, record: LogRecord, scope: str) -> ReadableLogRecord:
        return ReadableLogRecord(record, self._resource, InstrumentationScope(scope))


def _context(trace_id: int, span_id: int) -> Any:
    return set_span_in_context(
        NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    )


def _severity(level: int) -> SeverityNumber:
    """The severity of a level of Python (https://opentelemetry.io/docs/specs/otel/logs/data-model/#severity-fields)."""
    for of_python, of_otlp in reversed(_OUR_LEVELS):
        if level >= of_python:
            return SeverityNumber(min(of_otlp + min((level - of_python) // 3, 3), 24))
    return SeverityNumber.TRACE if level > 0 else SeverityNumber.UNSPECIFIED


def severity_of_python(severity: int) -> int:
    """The level of Python for a severity of OTLP."""
    return next((of_python for of_python, of_otlp in reversed(_OUR_LEVELS) if severity >= of_otlp), 0)
