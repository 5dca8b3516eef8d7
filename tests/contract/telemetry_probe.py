"""Records or replays three calls with a global tracer provider, which can be set once in a process.

Started without arguments. Each line of its input is an order in JSON: ``environment`` (variables that are added) and
``arguments``, which are ``FLAVOUR BASE_URL record|replay CASSETTE before|after|inside|never`` (when the provider is
set: before ours is enabled, after it, only inside the session, or never). A child that is forked for the order, and
that has imported what it needs, carries it out and prints one line of JSON: what came of it, or ``{"error": ...}``.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import traceback
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import timetracer_otel
from tests.contract.httpx_flavour import HttpxFlavour

# What every order would import for itself: httpx its transport (and trio) with the first client, we our parts.
for _name in (
    "httpcore",
    "timetracer_otel.otel.provider",
    "timetracer_otel.plugins",
    "timetracer_otel.process.runtime",
):
    import_module(_name)


class _Address:
    running = False
    trusting: Any = None

    def __init__(self, base: str) -> None:
        self.base = base

    def url(self, path: str = "", server: str = "http") -> str:
        return self.base + path if server == "http" else f"http://127.0.0.1:1{path}"


def _set_provider(exporter: InMemorySpanExporter, flavour: HttpxFlavour, instrument: bool) -> None:
    # Samplers that are no part of the SDK are made by `opentelemetry-instrument`, from their entry points.
    sampler = None
    if os.environ.get("OTEL_TRACES_SAMPLER") == "timetracer":
        (named,) = entry_points(group="opentelemetry_traces_sampler", name="timetracer")
        sampler = named.load()(os.environ["OTEL_TRACES_SAMPLER_ARG"])
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if instrument:
        flavour.instrumentor().instrument()


def carry_out(name: str, base: str, mode: str, path: str, when: str) -> dict[str, Any]:
    """Make the calls; gives what they returned, the events that were kept, and the spans."""
    flavour = HttpxFlavour(*name.split("-"))
    flavour.upstream = _Address(base)  # type: ignore[assignment]
    flavour.upstream.trusting = ssl.create_default_context()
    exporter = InMemorySpanExporter()
    if when == "before":
        _set_provider(exporter, flavour, instrument=False)
    flavour.enable()
    if when == "after":
        _set_provider(exporter, flavour, instrument=True)

    async def run(f: HttpxFlavour) -> list[Any]:
        async with f.open() as session:
            seen = [
                await session.call("GET", "/echo"),
                await session.call("POST", "/status/404", json=[1]),
                await session.call("GET", f.url("/", "refused")),
            ]
            return [one.get("status", "refused") for one in seen]

    scope = getattr(timetracer_otel, mode)(path)
    with scope as session:
        if when == "inside":
            _set_provider(exporter, flavour, instrument=True)
        calls = flavour.run(run)
    events = [
        {
            "url": event.signature.url,
            "span_id": event.span.span_id if event.span else None,
            "trace_id": event.span.trace_id if event.span else None,
            "span_name": event.span.name if event.span else None,
        }
        for event in session.events
    ]
    spans = [
        {
            "name": span.name,
            "kind": span.kind.name,
            "status": span.status.status_code.name,
            "span_id": format(span.context.span_id, "016x") if span.context else None,
            "trace_id": format(span.context.trace_id, "032x") if span.context else None,
            "replayed": (span.attributes or {}).get("timetracer.replayed", False),
        }
        for span in exporter.get_finished_spans()
    ]
    return {"calls": calls, "events": events, "spans": spans}


def main() -> None:
    """Carry out every order in a process of its own."""
    for line in sys.stdin:
        order = json.loads(line)
        # Here, and so once: the client and its instrumentation are imported, and nothing is switched on.
        HttpxFlavour(*order["arguments"][0].split("-")).instrumentor()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        os.environ.update(order["environment"])
        try:
            facts = carry_out(*order["arguments"])
        except BaseException:
            facts = {"error": traceback.format_exc()}
        print(json.dumps(facts), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
