"""One recording or one replay: collecting events, and finding them again."""

from timetracer_otel.session.base import BaseSession
from timetracer_otel.session.replay import ReplaySession
from timetracer_otel.session.trace import TraceSession

__all__ = ["BaseSession", "ReplaySession", "TraceSession"]
