"""``timetracer-otel verify``: does a service still answer as it was recorded? Sees cassettes, sessions and reports.

The service runs in a replay of a folder, in a process of its own; what is here sends it each recorded request and
judges the answers. Knows no OpenTelemetry and no framework.
"""

from __future__ import annotations

from timetracer_otel.verify._compare import VOLATILE_HEADERS, Ignored
from timetracer_otel.verify._plan import Address, Planned, address_of, plan
from timetracer_otel.verify._progress import Progress
from timetracer_otel.verify._run import verify
from timetracer_otel.verify._runner import Runner
from timetracer_otel.verify._service import Service, ServiceError, ended_by_signals
from timetracer_otel.verify._verdicts import VerdictFile

__all__ = [
    "VOLATILE_HEADERS",
    "Address",
    "Ignored",
    "Planned",
    "Progress",
    "Runner",
    "Service",
    "ServiceError",
    "VerdictFile",
    "address_of",
    "ended_by_signals",
    "plan",
    "verify",
]
