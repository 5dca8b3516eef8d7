"""The traces exporter: its name in ``OTEL_TRACES_EXPORTER``, or in a configuration file, means "record"."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from timetracer_otel.base import faults
from timetracer_otel.base.declared import declare
from timetracer_otel.config import instrumentation_disabled, replay_is_wanted
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.otel.instrumentor import TimetracerInstrumentor
from timetracer_otel.process.runtime import runtime

__all__ = ["TimetracerSpanExporter"]

_PLACE = "the options of the exporter timetracer"
_SPANS_ONLY = (
    "the exporter is on a tracer provider, but nothing has switched the instrumentation on: recordings have spans "
    "only, and no calls that a replay could answer. Call `timetracer_otel.TimetracerInstrumentor().instrument()` "
    "behind the exporter, or start the program by opentelemetry-instrument."
)


class TimetracerSpanExporter(SpanExporter):
    """Switches recording on when it is made, and takes no spans itself.

    An exporter gets spans late and in batches, gets none that are not sampled, and may lose some. So the exporter
    only attaches our span processor, through which the calls and their spans go to the cassette. The calls are seen
    by the seams, which `TimetracerInstrumentor.instrument` puts in; ``opentelemetry-instrument`` calls it.

    Args:
        options: Settings, by their names without prefix in small letters (``dir``, ``sample_rate``), as a
            configuration file gives them. Those of the environment win. What is wrong with one is logged in one line,
            and nothing is recorded; a replay refuses every call.
    """

    def __init__(self, **options: Any) -> None:
        self._records = False
        try:
            if options:
                # Whoever reads the settings, below, is told the same.
                with suppress(ConfigurationError):
                    declare(options, _PLACE)
            if replay_is_wanted() and not instrumentation_disabled("timetracer"):
                # Spans alone replay nothing, and without the seams the calls would go to the real services.
                TimetracerInstrumentor().begin()
            else:
                runtime().start_recording()
                self._records = runtime().mode is TraceMode.RECORD
        except ConfigurationError as error:
            runtime().refuse(error)
        except Exception as error:
            faults.contain("exporter", error)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take nothing: the span processor has seen every span already."""
        try:
            # The provider of a short script exports at the exit, when the recording has ended.
            if self._records and not TimetracerInstrumentor().has_seen_calls():
                faults.warn_once("spans-only", _SPANS_ONLY)
        except Exception as error:
            faults.contain("exporter.export", error)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for the cassettes of finished requests (see `Runtime.flush`); False where that took too long."""
        return runtime().flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Wait for the cassettes of finished requests, as `force_flush` does."""
        runtime().flush()
