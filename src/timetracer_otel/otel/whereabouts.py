"""Where in the traces a call is made."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from opentelemetry import trace

__all__ = ["NOWHERE", "Unseen", "Whereabouts"]


class Whereabouts(Protocol):
    """Where in the traces a call is made."""

    @property
    def context(self) -> trace.SpanContext:
        """The ids; `opentelemetry.trace.INVALID_SPAN_CONTEXT`, with zeros, where there is no span."""

    @property
    def span(self) -> trace.Span | None:
        """The span that the call belongs to."""

    def path(self) -> tuple[str, ...]:
        """Names of the spans around the call."""


class Unseen(NamedTuple):
    """The whereabouts of a call under a span that we did not see start, or under none."""

    context: trace.SpanContext = trace.INVALID_SPAN_CONTEXT
    span: trace.Span | None = None

    def path(self) -> tuple[str, ...]:
        return ()


NOWHERE = Unseen()
