"""Lines of an app that tells Logfire how it does. Its exporter goes by ``requests``, which is instrumented as well.

``COLLECTOR`` is the URL of a server that takes spans, and is always there. ``UPSTREAM`` is that of a server.
"""

from __future__ import annotations

import os
from typing import Any

import httpx
import logfire
import requests

from tests.lines._line import Lines

COLLECTOR = os.environ.get("COLLECTOR", "http://127.0.0.1:9")
UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
LINES = Lines()


def before() -> None:
    """What the app does when it starts."""
    logfire.configure(
        token="pylf_v1_us_a",
        send_to_logfire=True,
        console=False,
        inspect_arguments=False,
        advanced=logfire.AdvancedOptions(base_url=COLLECTOR),
    )


@LINES.add
def calls_within_a_span() -> Any:
    with logfire.span("sold"):
        found = [requests.get(f"{UPSTREAM}/users/1", timeout=30).json()]
        found.append(httpx.get(f"{UPSTREAM}/users/2").json())
    return found


@LINES.add
def spans_that_are_sent_now() -> Any:
    with logfire.span("sold out"):
        pass
    return logfire.force_flush()
