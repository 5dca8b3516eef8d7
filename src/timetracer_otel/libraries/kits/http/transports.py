"""Whether a call carries telemetry, which is no call of the app's: a seam asks where it may be beneath a transport."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType

from timetracer_otel.libraries.without_plugin import CLIENTS

__all__ = ["carries_telemetry"]

_TRANSPORTS = (*CLIENTS.transports, "logging.handlers")
"""With the handlers of Python's logging, one of which sends records by HTTP."""


def carries_telemetry() -> bool:
    """Whether code by which telemetry is sent is on the stack. OpenTelemetry's own exporters suppress
    instrumentation, and need not be asked about.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _sends_telemetry(frame.f_globals.get("__name__") or ""):
            return True
        frame = frame.f_back
    return False


@lru_cache(4096)
def _sends_telemetry(module: str) -> bool:
    return module.startswith(_TRANSPORTS)
