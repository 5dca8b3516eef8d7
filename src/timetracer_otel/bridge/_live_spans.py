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

from timetracer_otel import _counters
from timetracer_otel.bridge._span_facts import is_client
from timetracer_otel.session import BaseSession

__all__ = ["MAX_LIVE_SPANS", "LiveSpan", "LiveSpans", "OpenRoot"]

OpenRoot: TypeAlias = Callable[[Span, Context | None], BaseSession | None]
"""Makes the session that begins with a span, which has this parent context (None: the current one)."""

MAX_LIVE_SPANS = 100_000
"""Spans kept at once. A span that never ends is a leak of the app's; beyond this number new ones are not kept."""


class LiveSpan:
    """One span between its start and its end."""

    __slots__ = ("is_client", "is_root", "parent", "session", "span", "span_id", "trace_id")

    def __init__(self, span: Span, parent: LiveSpan | None, session: BaseSession | None, is_root: bool) -> None:
        context = span.get_span_context()
        self.trace_id = context.trace_id
        self.span_id = context.span_id
        self.span = span
        self.parent = parent
        self.session = session
        """None where the request is left out of recording (by sampling or by its path), with all below it."""
        self.is_client = is_client(span)
        self.is_root = is_root
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


class LiveSpans:
    """All live spans of the process, by span id. Safe from any thread: each change is one step of a dictionary."""

    def __init__(self) -> None:
        self._live: dict[int, LiveSpan] = {}
        self._by_span: dict[trace.Span, LiveSpan] = {}

    def __len__(self) -> int:
        return len(self._live)

    def get(self, span_id: int) -> LiveSpan | None:
        """The live span with this id."""
        return self._live.get(span_id)

    def of(self, span: trace.Span) -> LiveSpan | None:
        """The live span of this very object, without asking it for its id."""
        return self._by_span.get(span)

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
        open_root: OpenRoot | None,
        outside: Callable[[], BaseSession | None],
        context: Context | None = None,
    ) -> LiveSpan | None:
        """Enter a span that starts.

        Args:
            span: The span.
            explicit: The session set in its parent context; wins over the parent span's.
            open_root: Makes the session of a local root; None where roots begin none.
            outside: Gives the session of calls outside any request.
            context: Its parent context; None: the current one.
        """
        if len(self._live) >= MAX_LIVE_SPANS:
            _counters.event_dropped("spans over the limit")
            return None
        link = span.parent
        is_local_root = link is None or link.is_remote
        parent = None if link is None or is_local_root else self._live.get(link.span_id)
        is_root = False
        if explicit is not None:
            session: BaseSession | None = explicit
        elif parent is not None:
            session = parent.session
        elif is_local_root and open_root is not None and not is_client(span):
            # A client span that is a root of its own is a call outside any request, no request.
            session, is_root = open_root(span, context), True
        else:
            session = outside()
        live = LiveSpan(span, parent, session, is_root)
        self._live[live.span_id] = self._by_span[span] = live
        return live

    def ended(self, span: ReadableSpan) -> LiveSpan | None:
        """Take out a span that ended; None where it was not kept."""
        context = span.get_span_context()
        live = self._live.pop(context.span_id, None) if context is not None else None
        if live is not None:
            self._by_span.pop(live.span, None)
        return live

    def clear(self) -> None:
        """Forget every span (in a forked child, where none of them will end)."""
        self._live.clear()
        self._by_span.clear()
