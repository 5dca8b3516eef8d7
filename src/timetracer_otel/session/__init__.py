"""One recording or one replay: collecting events, and finding them again."""

from timetracer_otel.session._base import BaseSession, Exchange, PendingCall
from timetracer_otel.session._body_tap import BodyTap
from timetracer_otel.session._modes import ReplayOrRecording, begin_replay, save_session
from timetracer_otel.session._redaction import Redactor
from timetracer_otel.session._replay import ReplaySession
from timetracer_otel.session._trace import TraceSession

__all__ = [
    "BaseSession",
    "BodyTap",
    "Exchange",
    "PendingCall",
    "Redactor",
    "ReplayOrRecording",
    "ReplaySession",
    "TraceSession",
    "begin_replay",
    "save_session",
]
