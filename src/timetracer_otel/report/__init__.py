"""Cassettes as text for people. Imports neither OpenTelemetry nor a client library."""

from __future__ import annotations

from timetracer_otel.report.as_json import json_view
from timetracer_otel.report.bodies import DecodedBody, as_text, body_lines, decode_body, hexdump
from timetracer_otel.report.comparison import CallChange, Comparison, compare_recordings
from timetracer_otel.report.detail import event_detail, exchange_detail, log_detail
from timetracer_otel.report.difference import body_difference, header_difference
from timetracer_otel.report.head import error_detail, summary
from timetracer_otel.report.rerecording import rerecording_lines
from timetracer_otel.report.stable import stable_lines
from timetracer_otel.report.statistics import Statistics, call_failed, upstream_address
from timetracer_otel.report.tables import Column, cells, fitted, format_size, printable, table, terminal_width
from timetracer_otel.report.tree import timeline
from timetracer_otel.report.verdict import verdict_text
from timetracer_otel.report.words import (
    event_marks,
    event_name,
    event_remarks,
    event_status,
    format_duration,
    request_name,
)

__all__ = [
    "CallChange",
    "Column",
    "Comparison",
    "DecodedBody",
    "Statistics",
    "as_text",
    "body_difference",
    "body_lines",
    "call_failed",
    "cells",
    "compare_recordings",
    "decode_body",
    "error_detail",
    "event_detail",
    "event_marks",
    "event_name",
    "event_remarks",
    "event_status",
    "exchange_detail",
    "fitted",
    "log_detail",
    "format_duration",
    "format_size",
    "header_difference",
    "hexdump",
    "json_view",
    "printable",
    "request_name",
    "rerecording_lines",
    "stable_lines",
    "summary",
    "table",
    "terminal_width",
    "timeline",
    "upstream_address",
    "verdict_text",
]
