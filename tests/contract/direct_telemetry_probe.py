"""Run in a process of its own: a bare, a recorded and a replayed run beneath OpenTelemetry; prints what came of them.

Usage: ``direct_telemetry_probe.py FOLDER before|after|seam`` (the instrumentor was switched on by the user before
ours is enabled, or by us; or there is none, and only the app's span).
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_sqlite3, enable_sqlite3
from timetracer_otel.session import ReplaySession


def main(folder: Path, when: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if when == "before":
        SQLite3Instrumentor().instrument()
    enable_sqlite3()
    if when == "seam":
        SQLite3Instrumentor().uninstrument()
    file = folder / "app.db"

    def run() -> tuple[Any, list[Any]]:
        connection = sqlite3.connect(file)
        seen: list[Any] = [isinstance(connection, sqlite3.Connection)]
        with trace.get_tracer("app").start_as_current_span("work"):
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
            cursor.executemany("INSERT INTO t (name) VALUES (?)", [("a",), ("b",)])
            connection.commit()
            seen.append(cursor.execute("SELECT * FROM t").fetchall())
            try:
                cursor.execute("SELECT * FROM nowhere")
            except sqlite3.OperationalError as error:
                seen.append(str(error))
            seen.append(connection.execute("SELECT 1").fetchall())
        connection.close()
        spans = exporter.get_finished_spans()
        exporter.clear()
        file.unlink(missing_ok=True)
        return seen, [
            {
                "name": span.name,
                "attributes": dict(span.attributes or {}),
                "status": span.status.status_code.name,
                "id": f"{span.context.span_id:016x}",  # type: ignore[union-attr]
            }
            for span in spans
        ]

    bare, found = run()[0], {"bare": run()[1]}
    with record(folder / "x.msgpack") as recording:
        recorded, found["recorded"] = run()
    found["events"] = [
        [event.signature.method, event.span.span_id if event.span else None, event.not_replayable]
        for event in recording.events
    ]
    with replay(folder / "x.msgpack") as session:
        assert isinstance(session, ReplaySession)
        replayed, found["replayed"] = run()
    found["left"] = [str(event.signature) for event in session.get_unconsumed_events()]
    found["same"] = [bare == recorded == replayed, file.exists()]
    disable_sqlite3()
    found["instrumented"] = [SQLite3Instrumentor().is_instrumented_by_opentelemetry]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
