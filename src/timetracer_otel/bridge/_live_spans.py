"""The side table: which span belongs to which session, while it is live.

Payload never rides on spans. A call finds its session through the id of the span it is made in, and a span that
ended finds its calls through the same id; bodies and rows stay out of the spans, and so out of the backend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanContext, SpanKind

from timetracer_otel import _counters
from timetracer_otel._otel_internals import (
    SPAN_KEY,
    current_context,
    id_in,
    is_remote,
    kind_of,
    parent_of,
    span_context_of,
)
from timetracer_otel.context import session_in
from timetracer_otel.session import BaseSession

__all__ = ["MAX_LIVE_SPANS", "LiveSpan", "LiveSpans", "SessionOf"]

SessionOf: TypeAlias = "Callable[[Span, LiveSpan | None, Context | None], tuple[BaseSession | None, bool] | None]"
"""Gives the session of a span whose context has none, and whether it begins with the span; None where the span need
not be kept. It is told the live parent, and the parent context (None: the current one)."""

_CLIENT, _PRODUCER = SpanKind.CLIENT, SpanKind.PRODUCER

MAX_LIVE_SPANS = 100_000
"""Spans kept at once. A span that never ends is a leak of the app's; beyond this number new ones are not kept."""


class LiveSpan(NamedTuple):
    """One span between its start and its end."""

    span: Span
    context: SpanContext
    parent: LiveSpan | None
    session: BaseSession | None
    """None where the request is left out of recording (by sampling or by its path), with all below it."""
    is_client: bool
    """Whether the span stands for a call to somebody else."""
    is_root: bool
    """Whether the session began with this span, and ends with it."""

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


_live_span: Callable[[tuple[Any, ...]], LiveSpan] = partial(tuple.__new__, LiveSpan)
"""Makes one without a function in Python, of which `NamedTuple` has one: this is done at every call."""


class LiveSpans:
    """All live spans of the process, by span id. Safe from any thread: each change is one step of a dictionary."""

    def __init__(self, session_of: SessionOf) -> None:
        self._session_of = session_of
        self._live: dict[int, LiveSpan] = {}
        self.take = self._live.pop
        """Takes out the span with an id that has ended; gives the second argument where it was not kept."""

    def __len__(self) -> int:
        return len(self._live)

    def get(self, span_id: int) -> LiveSpan | None:
        """The live span with this id."""
        return self._live.get(span_id)

    def current(self) -> LiveSpan | None:
        """The live span that code which runs here is in."""
        span = current_context().get(SPAN_KEY)
        try:
            return self._live.get(id_in(span_context_of(span)))
        except AttributeError:
            return self.of(span) if isinstance(span, trace.Span) else None

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

    def started(self, span: Span, context: Context | None = None) -> None:
        """Enter a span that starts, if it belongs to a session.

        Args:
            span: The span.
            context: Its parent context; None: the current one, that is how implicit parents arrive. A session that is
                set in it wins over the parent span's.
        """
        spans = self._live
        if len(spans) >= MAX_LIVE_SPANS:
            _counters.event_dropped("spans over the limit")
            return
        own, link, kind = span_context_of(span), parent_of(span), kind_of(span)
        parent = spans.get(id_in(link)) if link is not None and not is_remote(link) else None
        # By identity: an enum's hash is Python code, and this is asked of every span.
        is_client = kind is _CLIENT or kind is _PRODUCER
        session, is_root = session_in(context), False
        if session is None:
            found = self._session_of(span, parent, context)
            if found is None:
                return
            session, is_root = found
        spans[id_in(own)] = _live_span((span, own, parent, session, is_client, is_root))

    def clear(self) -> None:
        """Forget every span (in a forked child, where none of them will end)."""
        self._live.clear()
