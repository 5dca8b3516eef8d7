"""`JointIndex`: the events of a request's cassette, and beside them those that its process recorded outside it.

A call that is made inside spans (in a request) is looked for in the cassette first. One that is made outside any span
(while the service starts) is looked for among the recordings of the process first. Where only one side has an event
with the same path of spans, that one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from timetracer_otel.match.index import Accepts, Among, EventIndex
from timetracer_otel.match.signature import Key
from timetracer_otel.types import DependencyEvent

__all__ = ["JointIndex"]


class JointIndex(EventIndex):
    """Two indexes that answer as one. Safe from any thread and task.

    Args:
        own: The events of the cassette.
        beside: Those of the recordings beside it. They are there to answer, and are never unused.
    """

    def __init__(self, own: EventIndex, beside: EventIndex) -> None:
        super().__init__(())
        self._own = own
        self._beside = beside

    @property
    def repeats(self) -> int:
        """How many calls got an answer that another call had got before."""
        return self._own.repeats + self._beside.repeats

    @repeats.setter
    def repeats(self, value: int) -> None:
        # The base class begins with 0.
        pass

    def key_anew(self, key: Callable[[DependencyEvent], Key]) -> bool:
        """As `EventIndex.key_anew`, of both."""
        own = self._own.key_anew(key)
        return self._beside.key_anew(key) or own

    def take(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.take`."""
        first, second = self._ordered(key, path, accepts, among)
        event = first.take(key, path, accepts, among)
        return event if event is not None else second.take(key, path, accepts, among)

    def peek(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.peek`."""
        first, second = self._ordered(key, path, accepts, among)
        event = first.peek(key, path, accepts, among)
        return event if event is not None else second.peek(key, path, accepts, among)

    def again(self, key: Key, accepts: Accepts | None = None, among: Among | None = None) -> DependencyEvent | None:
        """As `EventIndex.again`; the cassette's own answers come first."""
        event = self._own.again(key, accepts, among)
        return event if event is not None else self._beside.again(key, accepts, among)

    def take_event(self, event: DependencyEvent) -> bool:
        """As `EventIndex.take_event`."""
        return (self._own if self._own.holds(event) else self._beside).take_event(event)

    def equal_calls(self) -> dict[Key, list[DependencyEvent]]:
        """As `EventIndex.equal_calls`, of both."""
        found = self._own.equal_calls()
        for key, events in self._beside.equal_calls().items():
            found[key] = [*found.get(key, ()), *events]
        return found

    def is_taken(self, event: DependencyEvent) -> bool:
        """As `EventIndex.is_taken`."""
        return (self._own if self._own.holds(event) else self._beside).is_taken(event)

    def holds(self, event: DependencyEvent) -> bool:
        """Whether the event is one of either side."""
        return self._own.holds(event) or self._beside.holds(event)

    def first_but_for_body(self, key: Key, path: tuple[str, ...] = ()) -> DependencyEvent | None:
        """As `EventIndex.first_but_for_body`."""
        event = self._own.first_but_for_body(key, path)
        return event if event is not None else self._beside.first_but_for_body(key, path)

    def earliest_but_for_body(
        self, key: Key, name: Hashable, what: Callable[[DependencyEvent], bool]
    ) -> DependencyEvent | None:
        """As `EventIndex.earliest_but_for_body`."""
        side = self._own if self._own.first_but_for_body(key) is not None else self._beside
        return side.earliest_but_for_body(key, name, what)

    def waiting_but_for_target(self, key: Key) -> list[DependencyEvent]:
        """As `EventIndex.waiting_but_for_target`, of the cassette alone."""
        return self._own.waiting_but_for_target(key)

    def same_json(self, key: Key, body: bytes) -> Key | None:
        """As `EventIndex.same_json`."""
        found = self._own.same_json(key, body)
        return found if found is not None else self._beside.same_json(key, body)

    def first_with(
        self,
        name: Hashable,
        what: Callable[[DependencyEvent], Hashable],
        wanted: Hashable,
        accepts: Accepts | None = None,
    ) -> DependencyEvent | None:
        """As `EventIndex.first_with`."""
        event = self._own.first_with(name, what, wanted, accepts)
        return event if event is not None else self._beside.first_with(name, what, wanted, accepts)

    @property
    def taken_count(self) -> int:
        """As `EventIndex.taken_count`, of both."""
        return self._own.taken_count + self._beside.taken_count

    @property
    def is_exhausted(self) -> bool:
        """Whether every event of the cassette was taken."""
        return self._own.is_exhausted

    def has(self, key: Key) -> bool:
        """As `EventIndex.has`."""
        return self._own.has(key) or self._beside.has(key)

    def taken_of(self, key: Key, most: int) -> tuple[list[DependencyEvent], int]:
        """As `EventIndex.taken_of`, of both."""
        sides = [side.taken_of(key, most) for side in (self._own, self._beside)]
        return [event for events, _ in sides for event in events][:most], sum(count for _, count in sides)

    def waiting(self) -> list[DependencyEvent]:
        """The events of both sides that no call has taken."""
        return [*self._own.waiting(), *self._beside.waiting()]

    def some_waiting(self, most: int) -> list[DependencyEvent]:
        """As `EventIndex.some_waiting`, of each side."""
        return [*self._own.some_waiting(most), *self._beside.some_waiting(most)]

    def some_taken(self) -> list[DependencyEvent]:
        """As `EventIndex.some_taken`, of each side."""
        return [*self._own.some_taken(), *self._beside.some_taken()]

    @property
    def mark(self) -> int:
        """As `EventIndex.mark`."""
        return self._own.mark

    def unused(self, mark: int | None = None) -> list[DependencyEvent]:
        """As `EventIndex.unused`, of those of the cassette alone."""
        return self._own.unused(mark)

    def in_order_taken(self) -> list[DependencyEvent]:
        """As `EventIndex.in_order_taken`, of each side."""
        return [*self._own.in_order_taken(), *self._beside.in_order_taken()]

    def taken(self) -> list[DependencyEvent]:
        """The events of both sides that were taken."""
        return [*self._own.taken(), *self._beside.taken()]

    def _ordered(
        self, key: Key, path: tuple[str, ...], accepts: Accepts | None, among: Among | None
    ) -> tuple[EventIndex, EventIndex]:
        sides = (self._own, self._beside) if path else (self._beside, self._own)
        there = (side.peek(key, path, accepts, among) for side in sides)
        fitting = [event is not None and event.path == path for event in there]
        return sides if fitting[0] or not fitting[1] else (sides[1], sides[0])
