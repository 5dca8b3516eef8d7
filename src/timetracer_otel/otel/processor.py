"""The span processor: it sees each span start and end, and tells the sessions.

It imports the SDK, so it is imported only when there is a provider that takes a processor.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from timetracer_otel.base import counters, faults
from timetracer_otel.base.otel_context import SPAN_ABOVE_KEY, UPKEEP_KEY, current_context
from timetracer_otel.base.plugin_names import is_captured_now, is_wholly_captured
from timetracer_otel.calls import hooks
from timetracer_otel.constants import CASSETTE_ATTRIBUTE
from timetracer_otel.current import SESSION_KEY
from timetracer_otel.exceptions import NetworkBlockedError
from timetracer_otel.otel.spans import LiveSpan, LiveSpans, live_span
from timetracer_otel.session import BaseSession
from timetracer_otel.threads import holding

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["MAX_LIVE_SPANS", "Decider", "SessionSpanProcessor"]

MAX_LIVE_SPANS = 100_000
"""How many live spans are kept at most. Spans that never end are a leak of the app's, which must not become ours."""

_NO_SCOPE = object()
_CLIENT, _PRODUCER = SpanKind.CLIENT, SpanKind.PRODUCER


class Decider(Protocol):
    """What the processor asks of the process (`process.runtime`): above all, which session a span belongs to."""

    @property
    def spans(self) -> LiveSpans:
        """The table that the processor keeps."""
        ...

    def session_of(
        self, span: Span, parent: LiveSpan | None, context: Context | None, *, is_client: bool
    ) -> tuple[BaseSession | None, bool] | None:
        """The session of a span whose context has none, and whether it begins with the span; None: do not keep it."""
        ...

    def carries_telemetry(self) -> bool:
        """Whether a span that begins is of telemetry that is sent: it stands for no call of the app."""
        ...

    def outermost_ended(self, session: BaseSession, span: ReadableSpan, began_session: bool) -> None:
        """Take note that a span has ended which has no live parent in this process."""
        ...

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait for the cassettes of finished requests; False where that took longer."""
        ...


class SessionSpanProcessor(SpanProcessor):
    """Sees every recording span, sampled or not: opens and closes root sessions, and keeps the table of live spans.

    It exports nothing. An exception in a processor would reach the app's code and keep the SDK from calling the next
    processors, so each method contains its own (law 6). The one exception that leaves it on purpose refuses a call
    in a replay.
    """

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._live = decider.spans.by_id
        self._covered: Any = _NO_SCOPE
        """The scope that was last found to be covered: a plugin captures the calls of its spans."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Find the session of a span, and keep both in the table of live spans."""
        try:
            if not holding.present:
                # No session is anywhere.
                return
            live = self._live
            if len(live) >= MAX_LIVE_SPANS:
                counters.event_dropped("spans over the limit")
                return
            seen: Any = span
            try:
                own, link, kind, scope = seen._context, seen._parent, seen._kind, seen._instrumentation_scope
            except AttributeError:
                own, link, kind, scope = seen.get_span_context(), seen.parent, seen.kind, seen.instrumentation_scope
            if own[1] in live:
                # Two processors of ours are on the provider: the app has put one there, and we have.
                return
            # By identity, since `in` would call the enum's hash, which is Python code.
            is_client, is_root = kind is _CLIENT or kind is _PRODUCER, False
            # The SDK gives None where the app named no context: the parent is that of the current one. A session that
            # is set in the context wins over the parent span's. Example: `with record(...)` inside a request.
            context = current_context() if parent_context is None else parent_context
            if link is not None:
                parent = live.get(link[1]) if not link[2] else None
            else:
                # The root of a trace in a thread stands, for us, below the span that the thread was started in.
                above: Any = context.get(SPAN_ABOVE_KEY)
                parent = None if above is None else live.get(above.get_span_context().span_id)
            session: Any = context.get(SESSION_KEY)
            if session is not None and session.after is not None:
                session = session.after()
            if session is None:
                found = self._decider.session_of(span, parent, parent_context, is_client=is_client)
                if found is None:
                    return
                session, is_root = found
            if session is not None and session.resource is None:
                session.resource = getattr(seen, "resource", None)
            # Where a span begins when the one above it has ended, its parent is not live, but is of this process.
            is_local_root = parent is None and not is_client and (link is None or link[2])
            if is_local_root and session is not None and session.names_root:
                span.set_attribute(CASSETTE_ATTRIBUTE, session.session_id)
            # A tracer has one scope for all of its spans. So that it is covered is asked once for many calls.
            if is_client and (
                UPKEEP_KEY in context
                or (scope is not self._covered and not self._covers(scope) and self._decider.carries_telemetry())
            ):
                is_client = False
            entry = live_span((span, own, parent, session, is_client, is_root, get_ident() if is_client else 0))
            if is_client and hooks.guard is not None and scope is not self._covered:
                hooks.guard.client_span_began(entry)
            live[own[1]] = entry
        except NetworkBlockedError:
            # This one is meant for the app: its call is refused before it is made.
            raise
        except Exception as error:
            faults.contain("processor.on_start", error)

    def _covers(self, scope: Any) -> bool:
        name = scope.name if scope else None
        if is_wholly_captured(name):
            self._covered = scope
            return True
        return is_captured_now(name)

    def on_end(self, span: ReadableSpan) -> None:
        """Give the ended span to its session, and take it out of the table."""
        try:
            if not self._live:
                return
            seen: Any = span
            try:
                own = seen._context
            except AttributeError:
                own = seen.get_span_context()
            live = self._live.pop(own[1], None)
            if live is None or live.session is None:
                return
            session = live.session
            ended = session.ended_spans
            if ended is not None and len(ended) < session.max_spans:
                ended.append(live)
            else:
                session.span_ended(live)
            if live.parent is None:
                self._decider.outermost_ended(session, span, live.is_root)
        except Exception as error:
            faults.contain("processor.on_end", error)

    def shutdown(self) -> None:
        """Wait for the cassettes of finished requests, as `force_flush` does."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for the cassettes of finished requests (see `Runtime.flush`); False where that took too long."""
        try:
            return self._decider.flush(timeout_millis / 1000)
        except Exception as error:
            faults.contain("processor.force_flush", error)
            return False
