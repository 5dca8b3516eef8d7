"""The spans of this process while they are live: the side table that the span processor keeps. Needs no SDK.

Bodies and rows are never put on spans, and so never reach the backend. A call finds its session through the id of the
span that it is made in, and an ended span finds its calls through the same id.

Private attributes of the SDK's spans (``_context``, ``_parent``, ``_kind``, ``_name``, ``_instrumentation_scope``,
``_attributes``) are read here, in the processor and in `span_facts`. The public properties say the same, but each is
a function, which costs a call about a microsecond. Where a release of OpenTelemetry has renamed an attribute, or a
vendor's span has none of them, the properties are asked: a `try` that catches nothing costs nothing. A span context
is a tuple: its item 1 is the span's id, and its item 2 says whether the span is remote.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanContext

from timetracer_otel.base.otel_context import SPAN_KEY, current_context, span_around
from timetracer_otel.calls.hooks import NOWHERE, Unseen, Whereabouts
from timetracer_otel.otel.span_facts import facts_of
from timetracer_otel.session import BaseSession
from timetracer_otel.types import SpanFacts

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

__all__ = ["LiveSpan", "LiveSpans", "live_span"]

_LATEST = 256
"""How many live spans are looked at to find those of one session: a service may have many thousands of others."""


class LiveSpan(NamedTuple):
    """One span between its start and its end, and, in its session, after that (an `EndedSpan`)."""

    span: Span
    context: SpanContext
    parent: LiveSpan | None
    session: BaseSession | None
    """None where the request is left out of recording (by sampling or by its path), with all spans below it."""
    is_client: bool
    """Whether the span stands for a call to another service."""
    is_root: bool
    """Whether the session began with this span, and ends with it."""
    thread: int
    """In which the span of a call began; 0 for other spans."""

    @property
    def span_id(self) -> int:
        """The span's id, as a number."""
        return self.context[1]

    @property
    def scope(self) -> str | None:
        """The name of the tracer that made the span."""
        found = self.span.instrumentation_scope
        return found.name if found else None

    def facts(self) -> SpanFacts:
        """What the span says, once it has ended."""
        return facts_of(self.span)

    def path(self) -> tuple[str, ...]:
        """Names of the spans from the outermost to this one, without the client span of the call itself."""
        node = self.parent if self.is_client else self
        if node is None:
            return ()
        if node.parent is None:
            try:
                return (node.span._name,)
            except AttributeError:
                return (node.span.name,)
        names = []
        while node is not None:
            try:
                names.append(node.span._name)
            except AttributeError:
                names.append(node.span.name)
            node = node.parent
        names.reverse()
        return tuple(names)


live_span: Callable[[tuple[Any, ...]], LiveSpan] = partial(tuple.__new__, LiveSpan)
"""Makes a `LiveSpan` from a tuple. The class itself would call a function written in Python, which takes longer."""


def _count_nothing(_: object) -> int:
    return 0


_references: Callable[[object], int] = getattr(sys, "getrefcount", _count_nothing)
"""How many references there are to an object. Not every Python counts them."""


def _of_one_entry() -> int:
    entry = live_span((object(), None, None, None, False, False, 0))
    return _references(entry[0]) or -1


_OURS_ALONE = _of_one_entry()
"""How many there are to a span which nothing but the table refers to."""


class LiveSpans:
    """All live spans of the process, by span id. Safe from any thread: each change is one step of a dictionary.

    Args:
        watch: Called where a call is made in a recording span that the processor has not seen: a provider was set
            that the processor is not attached to.
    """

    def __init__(self, watch: Callable[[], None]) -> None:
        self.by_id: dict[int, LiveSpan] = {}
        self._watch = watch

    def __len__(self) -> int:
        return len(self.by_id)

    def whereabouts(self, span: ApiSpan | None = None) -> Whereabouts:
        """Where in the traces a call is made: in the given span, or else in the current one."""
        if span is None:
            context = current_context()
            # The first half of `span_around`, without a function call.
            span = context.get(SPAN_KEY)  # type: ignore[assignment]
            if span is None:
                span = span_around(context)
                if span is None:
                    return NOWHERE
        try:
            live = self.by_id.get(span._context[1])  # type: ignore[attr-defined]
        except (AttributeError, TypeError, LookupError):
            # A vendor's span may keep its context elsewhere.
            live = None
        return live if live is not None else self._unseen(span)

    def _unseen(self, span: ApiSpan) -> Whereabouts:
        context = span.get_span_context()
        if not context.is_valid:
            return NOWHERE
        live = self.by_id.get(context.span_id)
        if live is not None:
            return live
        if span.is_recording():
            # The app has set a provider without our noticing. The spans that start after this call are seen.
            self._watch()
        return Unseen(context, span)

    def sessions(self) -> set[BaseSession | None]:
        """The sessions that have live spans. Spans that nobody can end any more are forgotten.

        Example: OpenTelemetry's instrumentation of SQLAlchemy listens twice to an async engine that was made after
        it. Of the two spans of a statement it loses the first one.
        """
        found = set()
        # Other threads change the dictionary. A copy is made in one step; a list of pairs is not, since each pair may
        # set off a collection of garbage, and with it anybody's code.
        for span_id, live in self.by_id.copy().items():
            if _references(live[0]) == _OURS_ALONE:
                self.by_id.pop(span_id, None)
            else:
                found.add(live[3])
        return found

    def clients_of(self, session: BaseSession) -> list[LiveSpan]:
        """The live client spans of a session, among the latest live spans of the process; the latest first."""
        latest = islice(reversed(self.by_id.copy().values()), _LATEST)
        return [live for live in latest if live[4] and live[3] is session]

    def root_of(self, span_id: int) -> LiveSpan | None:
        """The live span that began the session which the span with this id is part of."""
        live = self.by_id.get(span_id)
        while live is not None and not live.is_root:
            live = live.parent
        return live

    def clear(self) -> None:
        """Forget every span (in a forked child, where none of them will end)."""
        self.by_id.clear()
