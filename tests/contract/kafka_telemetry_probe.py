"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``kafka_telemetry_probe.py FOLDER before|after|seam BROKER`` (the instrumentors were switched on by the user
before ours are enabled, or by us; or there are none, and only the app's span).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import kafka
from opentelemetry import trace
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.instrumentation.kafka import KafkaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import record, replay
from timetracer_otel.plugins import (
    disable_aiokafka,
    disable_confluent_kafka,
    disable_kafka_python,
    enable_aiokafka,
    enable_confluent_kafka,
    enable_kafka_python,
)
from timetracer_otel.session import ReplaySession


async def by_aiokafka(broker: str) -> list[Any]:
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker, client_id="shop") as producer:
        found = await producer.send_and_wait("one", b"1", b"k")
        return [found.topic, found.partition, found.offset]


def by_kafka_python(broker: str) -> list[Any]:
    with kafka.KafkaProducer(bootstrap_servers=broker, client_id="shop") as producer:
        found = producer.send("one", b"2").get(10)
        return [found.topic, found.partition, found.offset]


def by_confluent(broker: str) -> list[Any]:
    seen: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    producer.produce("one", b"3", on_delivery=lambda _, message: seen.extend([message.topic(), message.offset()]))
    producer.flush()
    return seen


def main(folder: Path, when: str, broker: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    instrumentors: list[Any] = [AIOKafkaInstrumentor(), ConfluentKafkaInstrumentor(), KafkaInstrumentor()]
    if when == "before":
        for each in instrumentors:
            each.instrument()
    enable_aiokafka()
    enable_confluent_kafka()
    enable_kafka_python()
    if when == "seam":
        for each in instrumentors:
            each.uninstrument()

    def run() -> dict[str, Any]:
        exporter.clear()
        with trace.get_tracer("app").start_as_current_span("work"):
            seen = [asyncio.run(by_aiokafka(broker)), by_kafka_python(broker), by_confluent(broker)]
        spans = [
            {
                "name": span.name,
                "kind": span.kind.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "id": f"{span.context.span_id:016x}",  # type: ignore[union-attr]
            }
            for span in exporter.get_finished_spans()
        ]
        return {"seen": seen, "spans": spans}

    found: dict[str, Any] = {}
    # Without a session, and with OpenTelemetry.
    found["bare"] = run()
    with record(folder / "x.msgpack") as recording:
        found["recorded"] = run()
    found["events"] = [
        [event.signature.method, event.span.span_id if event.span else None] for event in recording.events
    ]
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    disable_aiokafka()
    disable_confluent_kafka()
    disable_kafka_python()
    found["instrumented"] = [each.is_instrumented_by_opentelemetry for each in instrumentors]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
