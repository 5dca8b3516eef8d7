"""The calls of a replay that no plugin captures: which went out, and what the cassette knows of such calls.

Where OpenTelemetry instruments the library, its spans are counted: each stands for one call. Where it does not, the
connections are counted that the network guard saw. So the account names every library of which something went out.
"""

# pyright: strict

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from timetracer_otel.base.hosts import Address, address_of_url
from timetracer_otel.base.plugin_names import is_covered_scope, library_of_scope
from timetracer_otel.match.leaves import joined_texts
from timetracer_otel.match.nearest import describe
from timetracer_otel.session.base import EndedSpan
from timetracer_otel.session.models import PaidCalls
from timetracer_otel.session.span_roles import is_of_model, message_of
from timetracer_otel.types import Cassette

__all__ = ["UncoveredCalls"]


def _parent_id(span: EndedSpan) -> int:
    return span.parent.span_id if span.parent is not None else 0


def _goes_to(url: str, asked: Address) -> bool:
    """Whether an observed call went to an address. Its URL may be a host alone, as spans of databases have it."""
    there = address_of_url(url) or Address.parsed(url)
    return there.host == asked.host and (there.port == asked.port or None in (there.port, asked.port))


class UncoveredCalls:
    """Counts the calls of one replay that no plugin captures. Safe from any thread.

    Args:
        cassette: What is replayed.
        paid: Counts those of them that are paid.
    """

    def __init__(self, cassette: Cassette, paid: PaidCalls) -> None:
        self._cassette = cassette
        self._paid = paid
        self._lock = threading.Lock()
        self._spans: Counter[str] = Counter()
        self._connections: Counter[str] = Counter()
        self._over_open: Counter[str] = Counter()
        self.accounted: set[int] = set()
        """Ids of client spans, while they are live, whose calls are in the account already: a plugin answered them or
        counted them as live, the guard refused them, or the call beneath them is counted."""
        self._uncaptured: set[int] = set()
        """Ids of live client spans whose calls no plugin captures, as the guard saw when they began."""
        self.open: dict[int, dict[int, bool]] = {}
        """Live client spans of libraries without a plugin by their parent's id: whether a captured call was made
        since the span began, beneath the same parent. Nearly always empty."""

        self.messages: dict[str, str] = {}
        """Ids of messages, each with the library whose span has ended without a captured call that sends it."""

    def connected(self, library: str, *, is_open: bool = False) -> None:
        """Count a connection that went out; with ``is_open``, a call over one that is open."""
        with self._lock:
            (self._over_open if is_open else self._connections)[library] += 1

    def span_began(self, span: EndedSpan) -> None:
        """Take note of a client span of a call that no plugin captures."""
        with self._lock:
            self._uncaptured.add(span.span_id)
            self.open.setdefault(_parent_id(span), {})[span.span_id] = False

    def called(self, span: EndedSpan | None) -> None:
        """Note that a captured call was made in a span (None: in none), where any span is in `open`."""
        with self._lock:
            while True:
                beside = self.open.get(span.span_id if span is not None else 0, {})
                beside.update(dict.fromkeys(beside, True))
                if span is None:
                    return
                span = span.parent

    def span_ended(self, span: EndedSpan) -> None:
        """Count the call of a client span, unless it is in the account already."""
        span_id, has_call = span.span_id, False
        with self._lock:
            is_uncaptured = span_id in self._uncaptured or not is_covered_scope(span.scope)
            self._uncaptured.discard(span_id)
            if self.open:
                beside = self.open.get(_parent_id(span), {})
                has_call = beside.pop(span_id, False)
                if not beside:
                    self.open.pop(_parent_id(span), None)
            if span_id in self.accounted:
                self.accounted.discard(span_id)
            elif has_call and is_of_model(span.facts()):
                # Its HTTP request is in the account (see `session.span_roles`).
                pass
            elif is_uncaptured:
                library, message = library_of_scope(span.scope), message_of(span.facts())
                if message is None:
                    self._spans[library] += 1
                    if is_of_model(span.facts()):
                        self._paid.add()
                else:
                    self.messages[message] = library
            # A client library may stand on another one: the span around this one is the same call.
            around = span.parent
            while around is not None:
                if around.is_client:
                    if around.span_id in self.accounted:
                        return
                    self.accounted.add(around.span_id)
                around = around.parent

    def called_with(self, args: Any) -> None:
        """Note the arguments of a captured call, which may send one of the `messages`."""
        sent = joined_texts(args)
        with self._lock:
            for message in [each for each in self.messages if each in sent]:
                del self.messages[message]

    def live(self) -> Mapping[str, int]:
        """How many calls of each library without a plugin went out up to now."""
        with self._lock:
            # What opened a connection and then used it made the call once.
            unseen = self._connections | self._over_open
            return {**unseen, **(self._spans + Counter(self.messages.values()))}

    def of_library(self, library: str, *addresses: str) -> str | None:
        """What the cassette has of a library's calls, or else of calls to an address; None where it has nothing."""
        observed = [event for event in self._cassette.events if event.is_observed_only]
        found = [event for event in observed if event.signature.lib == library]
        if not found:
            asked = [Address.parsed(address) for address in addresses if address]
            found = [event for event in observed if any(_goes_to(event.signature.url or "", each) for each in asked)]
        if not found:
            return None
        first = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"#{first.eid} {first.signature.lib} {describe(first.signature)} (observed only){more}"

    @cached_property
    def that_connect(self) -> frozenset[str]:
        """Libraries whose calls the recording only observed, and beneath whose spans it has no captured call.

        They have connections of their own.
        """
        events = self._cassette.events
        above = {event.span.parent_span_id for event in events if event.span is not None}
        observed = [event for event in events if event.is_without_plugin]
        return frozenset(
            event.signature.lib for event in observed if event.span is not None and event.span.span_id not in above
        )
