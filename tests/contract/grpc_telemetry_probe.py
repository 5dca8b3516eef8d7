"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``grpc_telemetry_probe.py FOLDER before|after|seam`` (the instrumentors were switched on by the user before
ours is enabled, or by us; or there are none, and only the app's span).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.servers.grpc_service import GrpcService, stub
from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_grpc, enable_grpc
from timetracer_otel.session import ReplaySession

INSTRUMENTORS: Any = (GrpcInstrumentorClient, GrpcAioInstrumentorClient)


def blocking(address: str) -> list[Any]:
    seen: list[Any] = []
    with grpc.insecure_channel(address) as channel:
        seen.append(stub(channel, "Echo")(StringValue(value="a"), metadata=(("echo", "1"),)).value)
        seen.append(stub(channel, "Echo").future(StringValue(value="b")).result().value)
        try:
            stub(channel, "Fail")(StringValue(value="NOT_FOUND:no"))
        except grpc.RpcError as error:
            seen.append(str(error.code()))
        seen.append([message.value for message in stub(channel, "Count")(StringValue(value="2"))])
        seen.append(stub(channel, "Join")(iter([StringValue(value="c")])).value)
        seen.append([message.value for message in stub(channel, "Talk")(iter([StringValue(value="d")]))])
    return seen


async def awaited(address: str) -> list[Any]:
    seen: list[Any] = []
    async with grpc.aio.insecure_channel(address) as channel:
        seen.append((await stub(channel, "Echo")(StringValue(value="e"))).value)
        try:
            await stub(channel, "Fail")(StringValue(value="NOT_FOUND:no"))
        except grpc.RpcError as error:
            seen.append(str(error.code()))
        seen.append([message.value async for message in stub(channel, "Count")(StringValue(value="2"))])
        seen.append((await stub(channel, "Join")(iter([StringValue(value="f")]))).value)
        seen.append([message.value async for message in stub(channel, "Talk")(iter([StringValue(value="g")]))])
    return seen


def main(folder: Path, when: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if when == "before":
        for each in INSTRUMENTORS:
            each().instrument()
    enable_grpc()
    if when == "seam":
        for each in INSTRUMENTORS:
            each().uninstrument()
    service = GrpcService()

    def run() -> tuple[Any, list[Any]]:
        exporter.clear()
        with trace.get_tracer("app").start_as_current_span("work"):
            seen = [*blocking(service.address), *asyncio.run(awaited(service.address))]
        return seen, [
            {
                "name": span.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "events": [event.name for event in span.events],
                "id": f"{span.context.span_id:016x}",  # type: ignore[union-attr]
            }
            for span in exporter.get_finished_spans()
        ]

    found: dict[str, Any] = {}
    # Without a session, and with OpenTelemetry.
    bare, found["bare"] = run()
    with record(folder / "x.msgpack") as recording:
        recorded, found["recorded"] = run()
    found["events"] = [
        [event.signature.method, event.span.span_id if event.span else None, event.not_replayable]
        for event in recording.events
    ]
    service.stop()
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        replayed, found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    found["same"] = [bare == recorded == replayed]
    disable_grpc()
    found["instrumented"] = [each().is_instrumented_by_opentelemetry for each in INSTRUMENTORS]
    service.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
