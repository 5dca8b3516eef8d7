"""Files of OTLP as messages: JSON lines, one JSON document, or protobuf with the length before each message.

The Collector's file exporter writes them so, and with ``compression: zstd`` each message is a frame of zstd with its
length before it, whatever its form.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from timetracer_otel.report import decode_body

__all__ = ["Content", "Message", "as_json_line", "as_protobuf", "loaded", "recognises"]

Message: TypeAlias = ExportTraceServiceRequest | ExportLogsServiceRequest
"""The fields of a request to export are those of the data in a file, in JSON and in protobuf."""

_LENGTH: Final = struct.Struct(">I")
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_FIRST_FIELD: Final = b"\x0a"
"""The first byte of each message that has anything in it: field 1, with its length."""
_TRACES, _LOGS, _OTHERS = "resourceSpans", "resourceLogs", ("resourceMetrics", "resourceProfiles")
_IDS: Final = ("traceId", "spanId", "parentSpanId")
_MOST_LEVELS: Final = 400
"""So deep a message of JSON may nest. The default of protobuf's reader is 100."""


@dataclass(slots=True)
class Content:
    """What a file holds."""

    traces: list[TracesData] = field(default_factory=list)
    logs: list[LogsData] = field(default_factory=list)
    others: int = 0
    """How many messages are of another signal: metrics or profiles."""


def as_json_line(message: Message) -> bytes:
    """A message in OTLP's JSON: the JSON of protobuf, but with numbers for enumerations and with ids in hexadecimal
    (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). One line.
    """
    content = json_format.MessageToDict(message, use_integers_for_enums=True)
    _ids(content, lambda text: base64.b64decode(text).hex())
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def as_protobuf(message: Message) -> bytes:
    """A message in protobuf, behind its length."""
    data = message.SerializeToString(deterministic=True)
    return _LENGTH.pack(len(data)) + data


def recognises(data: bytes) -> bool:
    """Whether a file holds messages of OTLP, by the first of them."""
    try:
        for one in _messages(data):
            return _parsed(one) is not None if isinstance(one, bytes) else _is_json_of_otlp(one)
    except (ValueError, RecursionError):
        pass
    return False


def loaded(data: bytes) -> Content:
    """The messages of a file.

    Raises:
        ValueError: It is no OTLP, with the place.
    """
    content = Content()
    for number, message in enumerate(_messages(data), 1):
        try:
            _add(content, message)
        except (ValueError, RecursionError) as fault:
            raise ValueError(f"message {number}: {fault}") from fault
    return content


def _add(content: Content, message: Any) -> None:
    if isinstance(message, bytes):
        parsed = _parsed(message)
        if parsed is None:
            content.others += 1
        elif isinstance(parsed, TracesData):
            content.traces.append(parsed)
        else:
            content.logs.append(parsed)
        return
    if not _is_json_of_otlp(message):
        raise ValueError(f"it has none of {_TRACES}, {_LOGS}, {', '.join(_OTHERS)}")
    _ids(message, _as_base64)
    if _TRACES in message:
        content.traces.append(_from_json({_TRACES: message[_TRACES]}, TracesData()))
    if _LOGS in message:
        content.logs.append(_from_json({_LOGS: message[_LOGS]}, LogsData()))
    content.others += any(name in message for name in _OTHERS)


def _from_json(content: dict[str, Any], message: Any) -> Any:
    try:
        return json_format.ParseDict(content, message, ignore_unknown_fields=True, max_recursion_depth=_MOST_LEVELS)
    except json_format.ParseError as fault:
        raise ValueError(str(fault)) from fault


def _is_json_of_otlp(message: Any) -> bool:
    return isinstance(message, dict) and any(
        isinstance(message.get(name), list) for name in (_TRACES, _LOGS, *_OTHERS)
    )


def _messages(data: bytes) -> Iterator[Any]:
    """Each message: parsed JSON, or bytes of protobuf."""
    if data.startswith(_FIRST_FIELD) and not data.lstrip().startswith(b"{"):
        yield data  # One message alone: a length that begins so would be that of 160 MiB.
    elif data.startswith(b"\0"):
        for framed in _framed(data):
            one = _expanded(framed)
            yield json.loads(one) if one.lstrip().startswith(b"{") else one
    else:
        yield from _json(data)


def _json(data: bytes) -> Iterator[Any]:
    text = data.decode("utf-8-sig")
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as fault:
                    raise ValueError(f"line {number} is no JSON: {fault}") from fault
        return
    yield from whole if isinstance(whole, list) else [whole]


def _framed(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        start = place + _LENGTH.size
        if start > len(data):
            raise ValueError(f"the length at byte {place} is cut")
        end = start + _LENGTH.unpack_from(data, place)[0]
        if end > len(data):
            raise ValueError(
                f"the message at byte {place} is cut: {end - start} bytes long, and {len(data) - start} left"
            )
        yield data[start:end]
        place = end


def _expanded(message: bytes) -> bytes:
    if not message.startswith(_ZSTD):
        return message
    made = decode_body(message, {"content-encoding": "zstd"})
    if made.problem is not None or not made.data:
        raise ValueError(f"a message in zstd {made.problem or 'is cut'}")
    return made.data


def _parsed(message: bytes) -> TracesData | LogsData | None:
    """Protobuf does not say which message it is of: the fields do. None for metrics and profiles.

    Raises:
        ValueError: It is no message of OTLP.
    """
    try:
        traces = TracesData.FromString(message)
    except DecodeError:
        traces = TracesData()  # The name of a span is text, and a record has its body there.
    spans = [span for resource in traces.resource_spans for scope in resource.scope_spans for span in scope.spans]
    if spans and all(
        len(span.trace_id) == 16 and len(span.span_id) == 8 and span.start_time_unix_nano for span in spans
    ):
        return traces
    try:
        logs = LogsData.FromString(message)
    except DecodeError as fault:
        try:
            MetricsData.FromString(message)
        except DecodeError:
            raise ValueError(f"it is no message of OTLP: {fault}") from fault
        return None
    records = [each for resource in logs.resource_logs for scope in resource.scope_logs for each in scope.log_records]
    if records and all(each.time_unix_nano or each.observed_time_unix_nano for each in records):
        return logs
    return None


def _ids(content: dict[str, Any], change: Callable[[str], str]) -> None:
    """Change the form of each id: those of spans, of their links, and of log records. Attributes may be called so."""
    for resource in _items(content, _TRACES):
        for scope in _items(resource, "scopeSpans"):
            for span in _items(scope, "spans"):
                for one in (span, *_items(span, "links")):
                    _change(one, change)
    for resource in _items(content, _LOGS):
        for scope in _items(resource, "scopeLogs"):
            for record in _items(scope, "logRecords"):
                _change(record, change)


def _items(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{name} is no list of objects")
    return found


def _change(value: dict[str, Any], change: Callable[[str], str]) -> None:
    for name in _IDS:
        if value.get(name):
            value[name] = change(value[name])


def _as_base64(text: Any) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(text)).decode()
    except (binascii.Error, TypeError, ValueError) as fault:
        raise ValueError(f"{text!r} is no id in hexadecimal") from fault
