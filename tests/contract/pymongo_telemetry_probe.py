"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``pymongo_telemetry_probe.py FOLDER before|after|seam`` (the instrumentor was switched on by the user before
ours is enabled, or by us; or there is none, and only the app's span).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pymongo
from opentelemetry import trace
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.servers.mongo import Mongo
from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_pymongo, enable_pymongo
from timetracer_otel.session import ReplaySession


def main(folder: Path, when: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if when == "before":
        PymongoInstrumentor().instrument()
    enable_pymongo()
    if when == "seam":
        PymongoInstrumentor().uninstrument()
    server = Mongo()

    async def asynchronous() -> Any:
        client: Any
        async with pymongo.AsyncMongoClient(server.url) as client:
            await client.shop.items.insert_one({"_id": "asyncio"})
            return [each async for each in client.shop.items.find({}, batch_size=2)]

    def run() -> tuple[Any, list[Any]]:
        seen: list[Any] = []
        client: Any
        exporter.clear()
        with trace.get_tracer("app").start_as_current_span("work"), pymongo.MongoClient(server.url) as client:
            items = client.shop.items
            items.insert_many([{"_id": number} for number in range(5)])
            seen.append(list(items.find({}, batch_size=2)))
            try:
                client.shop.command("nosuch")
            except pymongo.errors.OperationFailure as error:
                seen.append(error.code)
            seen.append(asyncio.run(asynchronous()))
        spans = exporter.get_finished_spans()
        return seen, [
            {
                "name": span.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "id": f"{span.context.span_id:016x}",  # type: ignore[union-attr]
            }
            for span in spans
        ]

    found: dict[str, Any] = {}
    # Without a session, and with OpenTelemetry.
    bare, found["bare"] = run()
    server.clear()
    with record(folder / "x.msgpack") as recording:
        recorded, found["recorded"] = run()
    found["events"] = [
        [event.signature.method, event.span.span_id if event.span else None, event.not_replayable]
        for event in recording.events
    ]
    server.stop()
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        replayed, found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    found["same"] = [bare == recorded == replayed]
    disable_pymongo()
    found["instrumented"] = [PymongoInstrumentor().is_instrumented_by_opentelemetry]
    server.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
