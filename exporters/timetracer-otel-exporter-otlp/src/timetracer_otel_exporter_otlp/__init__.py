"""OTLP files of cassettes, as a Collector's file exporter writes them, and cassettes of such files.

A file holds spans or log records, and never both
(https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/). So there are two formats in JSON, and two in
protobuf. One more is for Jaeger's UI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from timetracer_otel.exchange import Exported, ExportFormat, ImportFormat
from timetracer_otel.types import Cassette
from timetracer_otel_exporter_otlp._files import Message, as_json_line, as_protobuf, recognises
from timetracer_otel_exporter_otlp._jaeger import as_jaeger
from timetracer_otel_exporter_otlp._reading import read, read_all
from timetracer_otel_exporter_otlp._records import records_of
from timetracer_otel_exporter_otlp._spans import left_out_of_spans, spans_of

__all__ = [
    "export_jaeger",
    "export_json",
    "export_json_logs",
    "export_protobuf",
    "export_protobuf_logs",
    "import_format",
]

_JSON: Final = (".otlp.jsonl", ".otlp.json")
_JSON_LOGS: Final = (".otlp-logs.jsonl", ".otlp-logs.json")
_PROTOBUF: Final = (".otlp.pb", ".otlp.binpb")
_PROTOBUF_LOGS: Final = (".otlp-logs.pb", ".otlp-logs.binpb")


def _spans(encode: Callable[[Message], bytes]) -> Callable[[Cassette], Exported]:
    return lambda cassette: Exported(encode(spans_of(cassette)), tuple(left_out_of_spans(cassette)))


def _records(encode: Callable[[Message], bytes]) -> Callable[[Cassette], Exported]:
    return lambda cassette: Exported(encode(records_of(cassette)))


export_json: Final = ExportFormat(_spans(as_json_line), _JSON, joinable=True)
"""The spans of the request and its calls, as a line of OTLP's JSON: a ``TracesData``."""

export_json_logs: Final = ExportFormat(_records(as_json_line), _JSON_LOGS, joinable=True)
"""A log record for the recording and one for each call, with bodies, rows and replies, as a line of OTLP's JSON: a
``LogsData``. They hold all of the cassette."""

export_protobuf: Final = ExportFormat(_spans(as_protobuf), _PROTOBUF, joinable=True)
"""As `export_json`, in protobuf, with the length of the message before it (4 bytes, big-endian)."""

export_protobuf_logs: Final = ExportFormat(_records(as_protobuf), _PROTOBUF_LOGS, joinable=True)
"""As `export_json_logs`, in protobuf."""

export_jaeger: Final = ExportFormat(
    lambda cassette: Exported(as_jaeger(cassette), tuple(left_out_of_spans(cassette))), (".jaeger.json",)
)
"""The same spans in the JSON that Jaeger's UI opens by itself, without a backend."""

import_format: Final = ImportFormat(
    read, recognises, (*_JSON, *_JSON_LOGS, *_PROTOBUF, *_PROTOBUF_LOGS), read_all=read_all
)
"""Spans and log records of any maker, in JSON or protobuf."""
