"""The span processor that an app puts on a tracer provider itself."""

from __future__ import annotations

from timetracer_otel.otel.processor import SessionSpanProcessor
from timetracer_otel.process.runtime import runtime

__all__ = ["TimetracerSpanProcessor"]


class TimetracerSpanProcessor(SessionSpanProcessor):
    """Shows this process's recordings the spans of one more tracer provider.

    The global provider gets a processor by itself, whenever it is set. This class is for a provider that is not the
    global one: ``provider.add_span_processor(TimetracerSpanProcessor())``. It exports nothing, raises nothing, and
    switches nothing on: what is recorded is decided as everywhere, by the settings, and by
    `TimetracerInstrumentor.instrument`, which puts the seams in. Without these, it does nothing. One more on a
    provider that has one is harmless. Safe from any thread.
    """

    def __init__(self) -> None:
        super().__init__(runtime())
