"""``timetracer-otel verify``: does a service still answer as it was recorded? Sees cassettes, sessions and reports.

The service runs in a replay of a folder, in a process of its own; what is here sends it each recorded request and
judges the answers. Knows no OpenTelemetry and no framework.
"""

from __future__ import annotations

from timetracer_otel.verify.compare import VOLATILE_HEADERS, Ignored
from timetracer_otel.verify.planning import Address, Planned, address_of, plan
from timetracer_otel.verify.run import ProgressBar, verify
from timetracer_otel.verify.runner import Runner
from timetracer_otel.verify.service import Service, ServiceError, ended_by_signals
from timetracer_otel.verify.verdicts import VerdictFile

__all__ = [
    "VOLATILE_HEADERS",
    "Address",
    "Ignored",
    "Planned",
    "ProgressBar",
    "Runner",
    "Service",
    "ServiceError",
    "VerdictFile",
    "address_of",
    "ended_by_signals",
    "plan",
    "verify",
]
