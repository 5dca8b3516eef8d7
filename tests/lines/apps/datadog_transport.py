"""Lines of an app that tells the agent of Datadog how it does. The tracer instruments the app's clients as well.

``COLLECTOR`` is the URL of a server that takes traces, and is always there. ``UPSTREAM`` is that of a server.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import Any

# It reads its settings when it is imported, and takes those of OpenTelemetry where its own are missing.
os.environ["DD_TRACE_AGENT_URL"] = os.environ.get("COLLECTOR", "http://127.0.0.1:9")
os.environ["DD_TRACE_ENABLED"] = "true"
# Of the protocols of its agent, the one whose spans are maps.
os.environ["DD_TRACE_API_VERSION"] = "v0.4"

import httpx
import requests
from datadog.dogstatsd import DogStatsd
from ddtrace import patch
from ddtrace.trace import tracer

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
LINES = Lines()


def before() -> None:
    """What the app does when it starts."""
    patch(httpx=True, requests=True)


@LINES.add
def calls_within_a_span() -> Any:
    with tracer.trace("sold"):
        found = [requests.get(f"{UPSTREAM}/users/1", timeout=30).json()]
        found.append(httpx.get(f"{UPSTREAM}/users/2").json())
    return found


@LINES.add
def spans_that_are_sent_now() -> Any:
    with tracer.trace("sold out"):
        pass
    return tracer.flush()


@LINES.add
def a_metric_that_is_sent_now() -> Any:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(30)
        port = agent.getsockname()[1]
        client = DogStatsd(host="127.0.0.1", port=port, disable_telemetry=True, disable_buffering=True)
        client.increment("sold")
        return agent.recv(1024)
