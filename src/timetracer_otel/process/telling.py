"""What a process says at the end of a recording that took the place of an older one."""

from __future__ import annotations

import logging

from timetracer_otel.base import faults
from timetracer_otel.session import BaseSession, TraceSession

__all__ = ["tell_rerecorded"]


def tell_rerecorded(session: BaseSession) -> None:
    """Log how a recording differs from the one whose place it took, where there was one."""
    if not isinstance(session, TraceSession) or session.rerecorded is None:
        return
    # Imported here, since a process that only records never needs it.
    from timetracer_otel.report import rerecording_lines

    faults.say(logging.INFO, "\n".join(rerecording_lines(session.rerecorded)))
