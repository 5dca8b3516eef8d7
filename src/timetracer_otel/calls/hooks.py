"""What `flow` asks of the rooms above it: where in the traces a call is made, and leave to connect.

The rooms ``otel`` and ``guard`` set these hooks, so that nothing below them imports OpenTelemetry's SDK. They are
plain attributes of this module: a call reads them, and each function in between would cost it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from opentelemetry import trace

from timetracer_otel.base.patching import SeamFailure, Undoable

__all__ = [
    "NOWHERE",
    "Guard",
    "Unseen",
    "Whereabouts",
    "closed_replays",
    "guard",
    "watch_spans",
    "whereabouts",
]


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
        """Empty: nobody knows the spans around it."""
        return ()


NOWHERE = Unseen()


def _by_the_api(span: trace.Span | None = None) -> Whereabouts:
    """What OpenTelemetry's API alone tells: the ids of the current span, or of the one that is given."""
    span = trace.get_current_span() if span is None else span
    context = span.get_span_context()
    return Unseen(context, span) if context.is_valid else NOWHERE


whereabouts: Callable[[trace.Span | None], Whereabouts] = _by_the_api
"""Gives the whereabouts of a call by its span; None stands for the current span. The room ``otel`` knows the spans
around it as well."""


def _nobody_watches() -> None:
    """Nothing: no room above is loaded."""


watch_spans: Callable[[], None] = _nobody_watches
"""Sees to it that the spans of the provider there is, or of the one that comes, are seen from now on."""


class Guard(Protocol):
    """Who refuses connections that no plugin makes."""

    def let(self) -> Any:
        """Allow connections in this context: a plugin makes a call for real. Give the result to `unlet`."""

    def unlet(self, token: Any) -> None:
        """Undo `let`."""


guard: Guard | None = None
"""Set while connections are refused; None otherwise."""


class _OpenReplays:
    """Stands where no room above is loaded, and so no session replays."""

    def __init__(self, failure: SeamFailure) -> None:
        self.failure = failure

    def apply(self) -> None:
        """Nothing."""

    def undo(self) -> None:
        """Nothing."""


closed_replays: Callable[[SeamFailure], Undoable] = _OpenReplays
"""Makes what refuses the connections of replays while the seams of a library cannot be installed."""
