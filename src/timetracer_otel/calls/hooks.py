"""What `flow` asks of the rooms above it: the span that a call belongs to, and permission to connect.

The rooms ``otel`` and ``guard`` set these hooks, so that nothing below them imports OpenTelemetry's SDK. The hooks
are plain attributes of this module: every call reads them, and a function in between would make each call slower.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from opentelemetry import trace

from timetracer_otel.base.otel_context import current_context, span_around
from timetracer_otel.base.patching import SeamFailure, Undoable

__all__ = [
    "NOWHERE",
    "Guard",
    "Unseen",
    "Whereabouts",
    "carries_telemetry",
    "closed_replays",
    "guard",
    "let_out",
    "watch_spans",
    "whereabouts",
]


class Whereabouts(Protocol):
    """The place of a call in the traces: its span, and the spans around that."""

    @property
    def context(self) -> trace.SpanContext:
        """The ids; `opentelemetry.trace.INVALID_SPAN_CONTEXT`, with zeros, where there is no span."""
        ...

    @property
    def span(self) -> trace.Span | None:
        """The span that the call belongs to."""
        ...

    def path(self) -> tuple[str, ...]:
        """Names of the spans around the call, outermost first."""
        ...


class Unseen(NamedTuple):
    """The whereabouts of a call under no span, or under a span whose start our span processor did not see."""

    context: trace.SpanContext = trace.INVALID_SPAN_CONTEXT
    span: trace.Span | None = None

    def path(self) -> tuple[str, ...]:
        """Empty, as the spans around such a call are not known."""
        return ()


NOWHERE = Unseen()


def _by_the_api(span: trace.Span | None = None) -> Whereabouts:
    """The whereabouts as far as OpenTelemetry's API knows them: the ids of the given or the current span."""
    span = span_around(current_context()) if span is None else span
    if span is None:
        return NOWHERE
    context = span.get_span_context()
    return Unseen(context, span) if context.is_valid else NOWHERE


whereabouts: Callable[[trace.Span | None], Whereabouts] = _by_the_api
"""Gives the whereabouts of a call by its span; None stands for the current span. The function that the room ``otel``
sets knows the spans around it as well."""


def _nobody_watches() -> None:
    """Do nothing: the room ``otel`` is not loaded."""


watch_spans: Callable[[], None] = _nobody_watches
"""Lets us see the spans of the app's tracer provider from now on, also where the app sets the provider later."""


def _none_is_known() -> bool:
    return False


carries_telemetry: Callable[[], bool] = _none_is_known
"""Whether what runs now sends logs, traces or errors, and does not suppress instrumentation: that is no call of the
app's. Asked by the seams of libraries by which such transports send (urllib3: Sentry's). The room ``process`` sets
it, which knows the transports."""


class Guard(Protocol):
    """Refuses connections that no plugin makes."""

    def let(self) -> Any:
        """Allow connections in this context, as a plugin makes a real call. Give the result to `unlet`."""
        ...

    def unlet(self, token: Any) -> None:
        """Undo `let`."""
        ...

    def client_span_began(self, span: Any) -> None:
        """Look at the span of a call that goes out, before the call is made.

        Raises:
            NetworkBlockedError: No plugin captures the call, it is made in a replay, and nobody allowed it.
        """
        ...


guard: Guard | None = None
"""Set while connections are refused; None otherwise."""


@contextmanager
def let_out() -> Generator[None, None, None]:
    """While it lasts, connections of this context are a plugin's own, and are let out."""
    current = guard
    token = current.let() if current is not None else None
    try:
        yield
    finally:
        if current is not None:
            current.unlet(token)


class _OpenReplays:
    """Does nothing: the room ``guard`` is not loaded, so no session replays."""

    def __init__(self, failure: SeamFailure) -> None:
        self.failure = failure

    def apply(self) -> None:
        """Do nothing."""

    def undo(self) -> None:
        """Do nothing."""


closed_replays: Callable[[SeamFailure], Undoable] = _OpenReplays
"""Makes the patch that refuses connections in replays while the seams of a library cannot be installed."""
