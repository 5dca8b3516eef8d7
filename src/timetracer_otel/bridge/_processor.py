"""The span processor: enriches recorded calls with what their spans say, and opens and closes root sessions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from timetracer_otel import _faults
from timetracer_otel._otel_internals import id_in, span_context_of
from timetracer_otel.bridge._span_facts import facts_of

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from timetracer_otel.bridge._runtime import Runtime

__all__ = ["TimetracerSpanProcessor"]


class TimetracerSpanProcessor(SpanProcessor):
    """Sees every recording span, sampled or not. It exports nothing and never raises.

    Exceptions in a processor escape into user code and skip the processors after it, so each method contains
    its own (law 6).
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._spans = runtime.spans

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            self._spans.started(span, parent_context)
        except Exception as error:
            _faults.contain("processor.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            live = self._spans.take(id_in(span_context_of(span)), None)
            if live is None or live.session is None:
                return
            session = live.session
            session.span_ended(id_in(live.context), live.is_client, partial(facts_of, span))
            if live.parent is None:
                self._runtime.outermost_ended(session, span, live.is_root)
        except Exception as error:
            _faults.contain("processor.on_end", error)

    def shutdown(self) -> None:
        """Wait for the cassettes of finished requests."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the cassettes of finished requests are on disk; False where that took too long."""
        try:
            return self._runtime.flush(timeout_millis / 1000)
        except Exception as error:
            _faults.contain("processor.force_flush", error)
            return False
