"""What is taken from OpenTelemetry by a private name: its logs are not declared stable."""

from __future__ import annotations

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord

__all__ = ["LogRecord", "ReadableLogRecord", "SeverityNumber", "encode_logs"]
