"""`LaterIndex`: the events of a recording that are not read yet. Of a long recording, most replays ask for a few.

To read what all events are found by takes longer than to look through the bytes of the file for a text that must
stand in an event. So the first calls are looked for in that way, until it would have been quicker to read all events
once. Whatever takes more than an equal signature is asked of all events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Final, cast

from timetracer_otel.cassette.boundaries import BOUNDARIES
from timetracer_otel.match.index import Accepts, Among, EventIndex
from timetracer_otel.match.signature import PARTIAL_BODY, Key
from timetracer_otel.redact.urls import http_host_and_path
from timetracer_otel.types import DependencyEvent, LaterEvents

__all__ = ["LaterIndex"]

_MOST_LOOKS: Final = 16
"""How often the file is looked through. To read all events takes as long as some fifty looks."""
_MOST_FOUND: Final = 32
"""Of a text that stands in more events, all events are read."""
_LEAST_TEXT: Final = 4


class LaterIndex(EventIndex):
    """Reads events as calls ask for them. Safe from any thread and task.

    Args:
        later: The events.
        key: The key of an event, by the default rules: events with equal keys have the same host and path in their
            URLs, and the same hash of their bodies or arguments.
    """

    def __init__(self, later: LaterEvents, key: Callable[[DependencyEvent], Key]) -> None:
        super().__init__(())
        self._later = later
        self._key = key
        self._reading = threading.RLock()
        self._looks = 0
        self._found = EventIndex((), key)
        """The events of the keys that were looked for."""
        self._whole: EventIndex | None = None
        """All events, once they are read."""

    @property
    def repeats(self) -> int:
        """How many calls got an answer that another call had got before."""
        return self._now.repeats

    @repeats.setter
    def repeats(self, value: int) -> None:
        # The base class begins with 0.
        pass

    @property
    def _now(self) -> EventIndex:
        return self._whole if self._whole is not None else self._found

    @property
    def _all_of_it(self) -> EventIndex:
        """The index of all events."""
        with self._reading:
            if self._whole is None:
                whole, found = EventIndex(self._later.all(), self._key), self._found
                whole.go_on_from(found)
                self._whole = whole
            return self._whole

    def _index_of(self, key: Key) -> EventIndex:
        """An index that has all events with a key."""
        with self._reading:
            if self._whole is not None:
                return self._whole
            if self._found.has(key):
                return self._found
            found = self._looked_for(key)
            if not found:
                return self._all_of_it
            self._found.add(key, found)
            return self._found

    def _looked_for(self, key: Key) -> list[DependencyEvent] | None:
        """All events with a key; None where all events are to be read for that."""
        text = _text_of(key)
        if text is None or self._looks >= _MOST_LOOKS:
            return None
        if self._later.hold_boundaries and key.method in BOUNDARIES:
            return None  # These have no bytes of their own.
        self._looks += 1
        events = self._later.with_text(text.encode("utf-8", "surrogatepass"), _MOST_FOUND, is_whole=True)
        return events and [event for event in events if self._key(event) == key]

    def take(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.take`."""
        if self._whole is not None:
            return self._whole.take(key, path, accepts, among)
        with self._reading:
            return self._index_of(key).take(key, path, accepts, among)

    def peek(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.peek`."""
        return self._index_of(key).peek(key, path, accepts, among)

    def again(self, key: Key, accepts: Accepts | None = None, among: Among | None = None) -> DependencyEvent | None:
        """As `EventIndex.again`."""
        with self._reading:
            return self._index_of(key).again(key, accepts, among)

    def has(self, key: Key) -> bool:
        """As `EventIndex.has`. It may be False as well where only a look at all events would tell."""
        with self._reading:
            if self._whole is None and not self._found.has(key):
                found = self._looked_for(key)
                if found is not None:
                    if found:
                        self._found.add(key, found)
                    return bool(found)
            return self._index_of(key).has(key)

    def take_event(self, event: DependencyEvent) -> bool:
        """As `EventIndex.take_event`."""
        with self._reading:
            return self._index_with(event).take_event(event)

    def is_taken(self, event: DependencyEvent) -> bool:
        """As `EventIndex.is_taken`."""
        return self._index_with(event).is_taken(event)

    def _index_with(self, event: DependencyEvent) -> EventIndex:
        return self._found if self._whole is None and self._found.holds(event) else self._all_of_it

    @property
    def taken_count(self) -> int:
        """As `EventIndex.taken_count`."""
        return self._now.taken_count

    def taken(self) -> list[DependencyEvent]:
        """As `EventIndex.taken`."""
        return sorted(self._now.taken(), key=attrgetter("eid"))

    def in_order_taken(self) -> list[DependencyEvent]:
        """As `EventIndex.in_order_taken`."""
        return self._now.in_order_taken()

    def some_taken(self) -> list[DependencyEvent]:
        """As `EventIndex.some_taken`."""
        return self._now.some_taken()

    @property
    def mark(self) -> int:
        """As `EventIndex.mark`."""
        return self._now.mark

    def unused(self, mark: int | None = None) -> list[DependencyEvent]:
        """As `EventIndex.unused`."""
        return self._all_of_it.unused(mark)

    def key_anew(self, key: Callable[[DependencyEvent], Key]) -> bool:
        """As `EventIndex.key_anew`."""
        return self._all_of_it.key_anew(key)

    def equal_calls(self) -> dict[Key, list[DependencyEvent]]:
        """As `EventIndex.equal_calls`."""
        return self._all_of_it.equal_calls()

    def holds(self, event: DependencyEvent) -> bool:
        """As `EventIndex.holds`."""
        return self._all_of_it.holds(event)

    def first_but_for_body(self, key: Key, path: tuple[str, ...] = ()) -> DependencyEvent | None:
        """As `EventIndex.first_but_for_body`."""
        return self._all_of_it.first_but_for_body(key, path)

    def earliest_but_for_body(
        self, key: Key, name: Hashable, what: Callable[[DependencyEvent], bool]
    ) -> DependencyEvent | None:
        """As `EventIndex.earliest_but_for_body`."""
        return self._all_of_it.earliest_but_for_body(key, name, what)

    def waiting_but_for_target(self, key: Key) -> list[DependencyEvent]:
        """As `EventIndex.waiting_but_for_target`."""
        return self._all_of_it.waiting_but_for_target(key)

    def same_json(self, key: Key, body: bytes) -> Key | None:
        """As `EventIndex.same_json`."""
        return self._all_of_it.same_json(key, body)

    def first_with(
        self,
        name: Hashable,
        what: Callable[[DependencyEvent], Hashable],
        wanted: Hashable,
        accepts: Accepts | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.first_with`."""
        return self._all_of_it.first_with(name, what, wanted, accepts)

    @property
    def is_exhausted(self) -> bool:
        """As `EventIndex.is_exhausted`."""
        return self._all_of_it.is_exhausted

    def taken_of(self, key: Key, most: int) -> tuple[list[DependencyEvent], int]:
        """As `EventIndex.taken_of`."""
        return self._index_of(key).taken_of(key, most)

    def waiting(self) -> list[DependencyEvent]:
        """As `EventIndex.waiting`."""
        return self._all_of_it.waiting()

    def some_waiting(self, most: int) -> list[DependencyEvent]:
        """As `EventIndex.some_waiting`."""
        return self._all_of_it.some_waiting(most)


def _text_of(key: Key) -> str | None:
    """A text that stands in the bytes of each event with a key; None where there is none that few others have."""
    if key.body is not None and key.body != PARTIAL_BODY:
        # Where an older recorder has hashed compressed bytes, the hash stands in no event, and all events are read.
        return key.body
    place = http_host_and_path(key.target or "")
    if place is None:
        return None
    # Of the query, names and values stand there as they are compared.
    values = (value for _, value in cast("tuple[tuple[str, Hashable], ...]", key.query))
    text = max([place, *(value for value in values if isinstance(value, str))], key=len)
    return text if len(text) >= _LEAST_TEXT else None
