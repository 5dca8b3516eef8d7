"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``sql_telemetry_probe.py FOLDER before|after`` (whether the instrumentor was switched on by the user before
ours is enabled, or by us).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_sqlalchemy
from timetracer_otel.session import ReplaySession


def main(folder: Path, when: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if when == "before":
        SQLAlchemyInstrumentor().instrument(skip_dep_check=True, enable_commenter=True)
    enable_sqlalchemy()
    file = folder / "app.db"

    def run() -> list[Any]:
        engine = sa.create_engine(f"sqlite:///{file}")
        with trace.get_tracer("app").start_as_current_span("work"), engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"))
            connection.execute(sa.text("INSERT INTO t (name) VALUES (:name)"), [{"name": "a"}])
            connection.execute(sa.text("SELECT * FROM t")).all()
            try:
                connection.execute(sa.text("SELECT * FROM nowhere"))
            except sa.exc.OperationalError:
                pass
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        engine.dispose()
        spans = exporter.get_finished_spans()
        exporter.clear()
        file.unlink(missing_ok=True)
        return [
            {
                "name": span.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "id": f"{span.context.span_id:016x}",  # type: ignore[union-attr]
            }
            for span in spans
        ]

    found: dict[str, Any] = {"bare": run()}
    with record(folder / "x.msgpack") as recording:
        found["recorded"] = run()
    found["events"] = [
        [event.signature.method, event.span.span_id if event.span else None, event.not_replayable]
        for event in recording.events
    ]
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        found["replayed"] = run()
    found["left"] = len(session.get_unconsumed_events())
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
