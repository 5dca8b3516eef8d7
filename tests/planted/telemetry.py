"""Calls with secrets under a provider that exports what it has.

Usage: ``python -m tests.planted.telemetry SPANS [kill]``. It writes its spans as JSON. With ``kill`` it
dies by SIGKILL while it is recorded.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.planted.plugin_places import CALLS


def main(spans: Path, *how: str) -> None:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = trace.get_tracer("service")
    for call in CALLS:
        with suppress(Exception):
            call()
        with suppress(Exception), tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER):
            call()
    if "kill" in how:
        with tracer.start_as_current_span("long", kind=trace.SpanKind.SERVER):
            for call in CALLS:
                with suppress(Exception):
                    call()
            # Its part is there, and is brought up to date more than once.
            while not [*Path(os.environ["TIMETRACER_DIR"]).rglob("*.part")]:
                time.sleep(0.01)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
    spans.write_text("[" + ",".join(span.to_json() for span in exporter.get_finished_spans()) + "]")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
