"""The span processor: enriches recorded calls with what their spans say, and opens and closes root sessions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from timetracer_otel import _counters, _faults
from timetracer_otel._otel_internals import current_context, id_in, is_remote, kind_of, parent_of, span_context_of
from timetracer_otel.bridge._live_spans import MAX_LIVE_SPANS, live_span
from timetracer_otel.bridge._span_facts import facts_of
from timetracer_otel.context import SESSION_KEY

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from timetracer_otel.bridge._runtime import Runtime

__all__ = ["TimetracerSpanProcessor"]

_CLIENT, _PRODUCER = SpanKind.CLIENT, SpanKind.PRODUCER


class TimetracerSpanProcessor(SpanProcessor):
    """Sees every recording span, sampled or not. It exports nothing and never raises.

    Exceptions in a processor escape into user code and skip the processors after it, so each method contains
    its own (law 6).
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._live = runtime.spans.by_id

    # Each function on the way of a call costs it about a microsecond, most of it for memory that is in no cache: so
    # these two do by themselves what could be told in four or five.

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            live = self._live
            if len(live) >= MAX_LIVE_SPANS:
                _counters.event_dropped("spans over the limit")
                return
            own, link, kind = span_context_of(span), parent_of(span), kind_of(span)
            parent = live.get(id_in(link)) if link is not None and not is_remote(link) else None
            # By identity: an enum's hash is Python code.
            is_client, is_root = kind is _CLIENT or kind is _PRODUCER, False
            # None stands for the current context: that is how implicit parents arrive. A session that is set in it
            # wins over the parent span's.
            context = current_context() if parent_context is None else parent_context
            session: Any = context.get(SESSION_KEY)
            if session is not None and session.after is not None:
                session = session.after()
            if session is None:
                found = self._runtime.session_of(span, parent, parent_context, is_client=is_client)
                if found is None:
                    return
                session, is_root = found
            live[id_in(own)] = live_span((span, own, parent, session, is_client, is_root))
        except Exception as error:
            _faults.contain("processor.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            live = self._live.pop(id_in(span_context_of(span)), None)
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
