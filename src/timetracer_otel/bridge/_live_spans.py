"""The side table: which span belongs to which session, while it is live.

Payload never rides on spans. A call finds its session through the id of the span it is made in, and a span that
ended finds its calls through the same id; bodies and rows stay out of the spans, and so out of the backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanContext, SpanKind

from timetracer_otel import _counters
from timetracer_otel._otel_internals import id_in, is_remote, kind_of, parent_of, span_context_of
from timetracer_otel.session import BaseSession

__all__ = ["MAX_LIVE_SPANS", "LiveSpan", "LiveSpans", "SessionOfOutermost"]

SessionOfOutermost: TypeAlias = Callable[[Span, bool, Context | None], tuple[BaseSession | None, bool]]
"""Gives the session of a span without a live parent, and whether it begins with the span. It is told whether the span
is a local root, and its parent context (None: the current one)."""

_CLIENT, _PRODUCER = SpanKind.CLIENT, SpanKind.PRODUCER

MAX_LIVE_SPANS = 100_000
"""Spans kept at once. A span that never ends is a leak of the app's; beyond this number new ones are not kept."""


class LiveSpan:
    """One span between its start and its end."""

    __slots__ = ("context", "is_client", "parent", "session", "span")

    is_root = False
    """Whether the session began with this span, and ends with it."""

    def __init__(
        self, span: Span, context: SpanContext, parent: LiveSpan | None, session: BaseSession | None
    ) -> None:
        self.span = span
        self.context = context
        self.parent = parent
        self.session = session
        """None where the request is left out of recording (by sampling or by its path), with all below it."""
        # By identity: an enum's hash is Python code, and this is asked of every span.
        kind = kind_of(span)
        self.is_client = kind is _CLIENT or kind is _PRODUCER
        """Whether the span stands for a call to somebody else."""

    def path(self) -> tuple[str, ...]:
        """Names of the spans from the outermost to this one; the client span of the call itself is no part of it."""
        node = self.parent if self.is_client else self
        if node is None:
            return ()
        if node.parent is None:
            return (node.span.name,)
        names = []
        while node is not None:
            names.append(node.span.name)
            node = node.parent
        names.reverse()
        return tuple(names)


class LiveRoot(LiveSpan):
    """A span that a session began with."""

    __slots__ = ()

    is_root = True


class LiveSpans:
    """All live spans of the process, by span id. Safe from any thread: each change is one step of a dictionary."""

    def __init__(self, session_of_outermost: SessionOfOutermost) -> None:
        self._begin = session_of_outermost
        self._live: dict[int, LiveSpan] = {}

    def __len__(self) -> int:
        return len(self._live)

    def get(self, span_id: int) -> LiveSpan | None:
        """The live span with this id."""
        return self._live.get(span_id)

    def of(self, span: trace.Span) -> LiveSpan | None:
        """The live span that an app's span is, also where a vendor gives the app other objects than us."""
        try:
            return self._live.get(id_in(span_context_of(span)))
        except AttributeError:
            return self._live.get(span.get_span_context().span_id)

    def sessions(self) -> set[BaseSession | None]:
        """The sessions that have live spans."""
        # A list first: other threads change the dictionary.
        return {live.session for live in list(self._live.values())}

    def root_of(self, span_id: int) -> LiveSpan | None:
        """The live span that began the session which the span with this id is part of."""
        live = self._live.get(span_id)
        while live is not None and not live.is_root:
            live = live.parent
        return live

    def started(
        self,
        span: Span,
        explicit: BaseSession | None,
        context: Context | None = None,
    ) -> None:
        """Enter a span that starts.

        Args:
            span: The span.
            explicit: The session set in its parent context; wins over the parent span's.
            context: Its parent context; None: the current one.
        """
        spans = self._live
        if len(spans) >= MAX_LIVE_SPANS:
            _counters.event_dropped("spans over the limit")
            return
        own, link = span_context_of(span), parent_of(span)
        parent = spans.get(id_in(link)) if link is not None and not is_remote(link) else None
        if explicit is not None:
            spans[id_in(own)] = LiveSpan(span, own, parent, explicit)
        elif parent is not None:
            spans[id_in(own)] = LiveSpan(span, own, parent, parent.session)
        else:
            session, is_root = self._begin(span, link is None or is_remote(link), context)
            spans[id_in(own)] = (LiveRoot if is_root else LiveSpan)(span, own, None, session)

    def ended(self, span: ReadableSpan) -> LiveSpan | None:
        """Take out a span that ended; None where it was not kept."""
        return self._live.pop(id_in(span_context_of(span)), None)

    def clear(self) -> None:
        """Forget every span (in a forked child, where none of them will end)."""
        self._live.clear()
