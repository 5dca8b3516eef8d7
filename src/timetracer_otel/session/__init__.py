"""One recording or one replay: collecting events, and finding them again."""

from timetracer_otel.session._base import BaseSession, PendingCall
from timetracer_otel.session._episodes import with_new_episodes
from timetracer_otel.session._redaction import Redactor
from timetracer_otel.session._replay import ReplaySession
from timetracer_otel.session._trace import TraceSession

__all__ = ["BaseSession", "PendingCall", "Redactor", "ReplaySession", "TraceSession", "with_new_episodes"]
