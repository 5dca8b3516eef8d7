"""The side table: which span belongs to which session, while it is live.

Payload never rides on spans. A call finds its session through the id of the span it is made in, and a span that
ended finds its calls through the same id; bodies and rows stay out of the spans, and so out of the backend.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanContext

from timetracer_otel._otel_internals import name_of
from timetracer_otel.session import BaseSession

__all__ = ["MAX_LIVE_SPANS", "LiveSpan", "LiveSpans", "live_span"]

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
            return (name_of(node.span),)
        names = []
        while node is not None:
            names.append(name_of(node.span))
            node = node.parent
        names.reverse()
        return tuple(names)


live_span: Callable[[tuple[Any, ...]], LiveSpan] = partial(tuple.__new__, LiveSpan)
"""Makes one without a function in Python, of which `NamedTuple` has one: this is done at every call."""


class LiveSpans:
    """All live spans of the process, by span id. Safe from any thread: each change is one step of a dictionary."""

    def __init__(self) -> None:
        self.by_id: dict[int, LiveSpan] = {}

    def __len__(self) -> int:
        return len(self.by_id)

    def sessions(self) -> set[BaseSession | None]:
        """The sessions that have live spans."""
        # A list first: other threads change the dictionary.
        return {live.session for live in list(self.by_id.values())}

    def root_of(self, span_id: int) -> LiveSpan | None:
        """The live span that began the session which the span with this id is part of."""
        live = self.by_id.get(span_id)
        while live is not None and not live.is_root:
            live = live.parent
        return live

    def clear(self) -> None:
        """Forget every span (in a forked child, where none of them will end)."""
        self.by_id.clear()
