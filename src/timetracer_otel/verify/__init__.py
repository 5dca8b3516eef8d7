"""``timetracer-otel verify``: checks that a service still answers as it was recorded.

The service runs in a process of its own, as a replay of a folder. The code here sends the service each recorded
request and judges the answers. It imports neither OpenTelemetry nor a web framework.
"""

from __future__ import annotations

from timetracer_otel.verify.against import Against, Budget
from timetracer_otel.verify.compare import VOLATILE_HEADERS, Ignored
from timetracer_otel.verify.generated_test import FileOfTest, file_of_test
from timetracer_otel.verify.jobs import JobQueue
from timetracer_otel.verify.planning import NOWHERE, Address, Planned, address_of, plan, why_not_sent
from timetracer_otel.verify.reports import Reports
from timetracer_otel.verify.reproduction import kept, reproduction, staged
from timetracer_otel.verify.run import ProgressBar, verify
from timetracer_otel.verify.runner import Runner
from timetracer_otel.verify.service import Service, ServiceError, ended_by_signals
from timetracer_otel.verify.shards import Shard
from timetracer_otel.verify.staleness import CHANGED, LEFT_OUT, NO_ANSWER, SAME, Checked, Comparing, check
from timetracer_otel.verify.upstream import GivenHeader, Wanted, hosts_of, parsed_header
from timetracer_otel.verify.verdicts import VerdictFile

__all__ = [
    "CHANGED",
    "LEFT_OUT",
    "NOWHERE",
    "NO_ANSWER",
    "SAME",
    "VOLATILE_HEADERS",
    "Address",
    "Against",
    "Budget",
    "FileOfTest",
    "Checked",
    "Comparing",
    "GivenHeader",
    "Ignored",
    "JobQueue",
    "Planned",
    "ProgressBar",
    "Reports",
    "Runner",
    "Service",
    "ServiceError",
    "Shard",
    "VerdictFile",
    "Wanted",
    "address_of",
    "check",
    "ended_by_signals",
    "file_of_test",
    "kept",
    "hosts_of",
    "parsed_header",
    "plan",
    "reproduction",
    "staged",
    "verify",
    "why_not_sent",
]
