"""One recording or one replay: collecting events, and finding them again."""

from timetracer_otel.session._base import BaseSession, EndedSpan, Exchange, PendingCall
from timetracer_otel.session._body_tap import PIECE_BYTES, BodyLimits, BodyTap
from timetracer_otel.session._differences import Difference, value_differences
from timetracer_otel.session._library import CassetteLibrary, LibraryEntry, empty_cassette
from timetracer_otel.session._modes import ReplayOrRecording, begin_replay, save_session
from timetracer_otel.session._progress import Progress
from timetracer_otel.session._quotes import without_quoted_arguments
from timetracer_otel.session._redaction import Redactor
from timetracer_otel.session._replay import ReplaySession
from timetracer_otel.session._roots import is_http
from timetracer_otel.session._rules import json_path, without
from timetracer_otel.session._trace import TraceSession
from timetracer_otel.session._urls import split_url

__all__ = [
    "PIECE_BYTES",
    "BaseSession",
    "BodyLimits",
    "BodyTap",
    "CassetteLibrary",
    "Difference",
    "EndedSpan",
    "Exchange",
    "LibraryEntry",
    "PendingCall",
    "Progress",
    "Redactor",
    "ReplayOrRecording",
    "ReplaySession",
    "TraceSession",
    "begin_replay",
    "save_session",
    "empty_cassette",
    "is_http",
    "json_path",
    "split_url",
    "value_differences",
    "without",
    "without_quoted_arguments",
]
