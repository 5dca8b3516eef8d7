"""Lines about what tells others how an app does, and is no call of it: spans by OTLP, events by Sentry.

``COLLECTOR`` is the URL of a server that takes spans and events, and is always there.
"""

from __future__ import annotations

import os
import urllib.request
from typing import Any

import httpx
import sentry_sdk
import urllib3
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.lines._line import Lines

COLLECTOR = os.environ.get("COLLECTOR", "http://127.0.0.1:9")
LINES = Lines()


def before() -> None:
    """What the app does when it starts. No integrations: those with frameworks take longer than all else here."""
    dsn = COLLECTOR.replace("http://", "http://key@")
    sentry_sdk.init(f"{dsn}/7", default_integrations=False, auto_enabling_integrations=False)


@LINES.add
def spans_that_are_sent_now() -> Any:
    with trace.get_tracer(__name__).start_as_current_span("work"):
        pass
    return trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]


@LINES.add
def calls_with_instrumentation_suppressed() -> Any:
    url = f"{COLLECTOR}/users/1"
    with suppress_instrumentation():
        with urllib.request.urlopen(url) as answer:
            found = [answer.read()]
        with urllib3.PoolManager() as pool:
            found.append(pool.request("GET", url, retries=False).data)
        return [*found, httpx.get(url).content]


@LINES.add
def events_of_sentry() -> Any:
    sentry_sdk.capture_message("sold out")
    return sentry_sdk.flush(10)
