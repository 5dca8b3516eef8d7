"""The traces exporter: its name in ``OTEL_TRACES_EXPORTER`` means "record"."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from timetracer_otel.base import faults
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.process.runtime import runtime

__all__ = ["TimetracerSpanExporter"]


class TimetracerSpanExporter(SpanExporter):
    """Switches recording on when it is made, and takes no spans itself.

    An exporter gets spans late and in batches, gets none that are not sampled, and may lose some. So the exporter
    only attaches our span processor, through which the calls and their spans go to the cassette.
    """

    def __init__(self) -> None:
        try:
            runtime().start_recording()
        except ConfigurationError:
            # The instrumentor reads the same environment, and logs what is wrong with it.
            pass
        except Exception as error:
            faults.contain("exporter", error)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take nothing: the span processor has seen every span already."""
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for the cassettes of finished requests (see `Runtime.flush`); False where that took too long."""
        return runtime().flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Wait for the cassettes of finished requests, as `force_flush` does."""
        runtime().flush()
