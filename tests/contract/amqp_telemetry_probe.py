"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``amqp_telemetry_probe.py FOLDER before|after|seam PORT`` (the instrumentors were switched on by the user
before ours are enabled, or by us; or there are none, and only the app's span). The broker listens at the port.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aio_pika
import pika
from opentelemetry import trace
from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.servers.rabbitmq import Relay
from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_aio_pika, disable_pika, enable_aio_pika, enable_pika
from timetracer_otel.session import ReplaySession


async def by_aio_pika(url: str) -> list[Any]:
    seen: list[Any] = []
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("coffee", exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"1"), "coffee")
        came = asyncio.Event()

        async def handle(message: Any) -> None:
            async with message.process():
                seen.append([message.body.decode(), sorted(message.headers)])
            came.set()

        await queue.consume(handle)
        await came.wait()
    return seen


def by_pika(url: str) -> list[Any]:
    seen: list[Any] = []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare("tea", exclusive=True)
        channel.basic_publish("", "tea", b"1")
        channel.confirm_delivery()
        try:
            channel.basic_publish("", "nowhere", b"2", mandatory=True)
        except pika.exceptions.UnroutableError as error:
            seen.append(str(error))

        def handle(where: Any, method: Any, properties: Any, body: bytes) -> None:
            seen.append([body.decode(), sorted(properties.headers or {})])
            where.basic_ack(method.delivery_tag)

        channel.basic_consume("tea", handle)
        while len(seen) < 2:
            connection.process_data_events(time_limit=1)
    return seen


def main(folder: Path, when: str, port: int) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    instrumentors: list[Any] = [PikaInstrumentor(), AioPikaInstrumentor()]
    if when == "before":
        for each in instrumentors:
            each.instrument()
    enable_pika()
    enable_aio_pika()
    if when == "seam":
        for each in instrumentors:
            each.uninstrument()
    relay = Relay(port)

    def run() -> tuple[Any, list[Any]]:
        exporter.clear()
        with trace.get_tracer("app").start_as_current_span("work"):
            seen = [by_pika(relay.url), asyncio.run(by_aio_pika(relay.url))]
        return seen, [
            {
                "name": span.name,
                "kind": span.kind.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
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
        [event.signature.lib, event.signature.method, event.span.span_id if event.span else None]
        for event in recording.events
    ]
    relay.stop()
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        replayed, found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    found["seen"] = [bare, recorded, replayed]
    disable_pika()
    disable_aio_pika()
    found["instrumented"] = [each.is_instrumented_by_opentelemetry for each in instrumentors]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
