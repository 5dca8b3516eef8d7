"""What a user of any driver sees besides the contract: one event beneath SQLAlchemy, and spans as without us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_sqlalchemy, enable_sqlalchemy
from timetracer_otel.session import TraceSession

__all__ = ["OPENED", "ask", "check_a_statement_of_sqlalchemy_is_one_event", "check_spans_are_those_of_a_bare_run"]

OPENED = ("in the session", "before it", "before it, past SQLAlchemy's plugin")
"""When an engine has opened the connection that it uses in a session."""


def ask(engine: sa.Engine) -> Any:
    """Execute one statement."""
    with engine.begin() as connection:
        return connection.execute(sa.text("SELECT 1 AS n")).all()


def check_a_statement_of_sqlalchemy_is_one_event(
    engine: sa.Engine,
    cassette: Path,
    opened: str,
    work: Callable[[sa.Engine], Any] = ask,
    methods: Sequence[str] = ("BEGIN", "SELECT", "COMMIT"),
) -> None:
    """The plugin of the driver is enabled, and leaves what an engine does to that of SQLAlchemy.

    Args:
        engine: Of the driver.
        cassette: To write.
        opened: One of `OPENED`.
        work: What is done.
        methods: What is recorded of it, without connections that are opened.
    """
    try:
        if opened == "before it":
            enable_sqlalchemy()
        if opened != "in the session":
            work(engine)
        with record(cassette) as recording:
            found = work(engine)
        asked = [event.signature.method for event in recording.events if event.signature.method != "CONNECT"]
        assert asked == list(methods)
        assert {event.signature.lib for event in recording.events} == {"sqlalchemy"}
        engine.dispose()
        with replay(cassette) as session:
            assert work(engine) == found
        assert session.verdict().ok
    finally:
        engine.dispose()
        disable_sqlalchemy()


def check_spans_are_those_of_a_bare_run(
    instrumentor: Any,
    work: Callable[[], Any],
    cassette: Path,
    *,
    stop: Callable[[], None],
    reset: Callable[[], None] = lambda: None,
) -> tuple[int, TraceSession]:
    """OpenTelemetry's own instrumentor of the driver is switched on, and sees the same in each run.

    Args:
        instrumentor: It.
        work: What the app does.
        cassette: To write.
        stop: Takes the server away, before the replay.
        reset: Makes the server as it was, between the bare run and the recording.

    Returns:
        How many spans a run has, and the recording.
    """
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def spans() -> list[Any]:
        ended = exporter.get_finished_spans()
        exporter.clear()
        return [
            (span.name, span.status.status_code, {**(span.attributes or {}), "timetracer.replayed": None})
            for span in ended
        ]

    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        bare, expected = work(), spans()
        reset()
        exporter.clear()
        with record(cassette) as recording:
            assert work() == bare
        assert spans() == expected
        stop()
        with replay(cassette):
            assert work() == bare
        assert spans() == expected
    finally:
        instrumentor.uninstrument()
    return len(expected), recording
