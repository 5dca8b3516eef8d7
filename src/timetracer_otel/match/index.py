"""`EventIndex`: finds the recorded event that answers a call. The signatures of both must be equal.

Events with equal signatures answer in the order of the recording. There is no cursor over the whole recording, so
concurrent calls may be made in any order. Where equal signatures were recorded under different spans, the event whose
span path is the caller's comes first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.signature import PARTIAL_BODY, Key, canonical_json, key_of
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = ["Accepts", "EventIndex"]


Accepts = Callable[[DependencyEvent], bool]


class EventIndex:
    """The events of one replay, by signature. Safe from any thread and task."""

    def __init__(
        self, events: Iterable[DependencyEvent], key: Callable[[DependencyEvent], Key] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Key, deque[DependencyEvent]] = {}
        self._taken: set[int] = set()
        self._last: dict[Key, DependencyEvent] = {}
        self.repeats = 0
        self._events = list(events)
        key = key if key is not None else _key
        self._keys = {id(event): key(event) for event in self._events}
        for event in self._events:
            self._waiting.setdefault(self._keys[id(event)], deque()).append(event)

    def key_anew(self, key: Callable[[DependencyEvent], Key]) -> bool:
        """Give the events other keys; True where any differs from the one that its event had.

        The events that calls have taken stay taken, and equal ones are in the order of the recording again.
        """
        with self._lock:
            keys = {id(event): key(event) for event in self._events}
            if keys == self._keys:
                return False
            before, self._keys, self._waiting = self._keys, keys, {}
            for event in self._events:
                if id(event) not in self._taken:
                    self._waiting.setdefault(keys[id(event)], deque()).append(event)
            self._last = {keys[id(event)]: event for old, event in self._last.items() if old == before[id(event)]}
            return True

    def take(self, key: Key, path: tuple[str, ...] = (), accepts: Accepts | None = None) -> DependencyEvent | None:
        """Take the next event with this signature; None where none is left.

        Args:
            key: The signature.
            path: Names of the spans around the call.
            accepts: Whether an event with this signature may be taken. Without it, all may.
        """
        with self._lock:
            event = self._next(key, path, accepts)
            if event is not None:
                self._take(key, event)
            return event

    def peek(self, key: Key, path: tuple[str, ...] = (), accepts: Accepts | None = None) -> DependencyEvent | None:
        """The event that `take` would take. It is not taken."""
        with self._lock:
            return self._next(key, path, accepts)

    def again(self, key: Key, accepts: Accepts | None = None) -> DependencyEvent | None:
        """The event with this signature that was taken last, for one more call; None where none was taken."""
        with self._lock:
            event = self._last.get(key)
            if event is None or (accepts is not None and not accepts(event)):
                return None
            self.repeats += 1
            return event

    def _take(self, key: Key, event: DependencyEvent) -> None:
        self._waiting[key].remove(event)
        self._taken.add(id(event))
        self._last[key] = event

    def _next(self, key: Key, path: tuple[str, ...], accepts: Accepts | None) -> DependencyEvent | None:
        queue: Sequence[DependencyEvent] | None = self._waiting.get(key)
        if queue and accepts is not None:
            queue = [event for event in queue if accepts(event)]
        if not queue:
            return None
        event = queue[0]
        if path and len(queue) > 1 and event.path != path:
            event = next((other for other in queue if other.path == path), event)
        return event

    def take_event(self, event: DependencyEvent) -> bool:
        """Take this very event; False where another call had it first."""
        with self._lock:
            if id(event) in self._taken:
                return False
            self._take(self._keys[id(event)], event)
            return True

    def waiting_but_for_body(self, key: Key) -> list[DependencyEvent]:
        """The events still waiting that are equal to ``key`` in all but the body."""
        with self._lock:
            return [
                event
                for other, queue in self._waiting.items()
                if queue and other._replace(body=key.body) == key
                for event in queue
            ]

    def same_json(self, key: Key, body: bytes) -> Key | None:
        """The key of a waiting event whose JSON body has the same content as this one; None where there is none."""
        content = canonical_json(body)
        if content is None:
            return None
        for event in self.waiting():
            if self._keys[id(event)]._replace(body=key.body) != key or event.call is None:
                continue
            recorded = event.call.body
            if recorded is None or not isinstance(recorded.data, bytes):
                continue
            if canonical_json(plain_body(recorded.data, header_pairs(event.call.headers))) == content:
                return self._keys[id(event)]
        return None

    def waiting(self) -> list[DependencyEvent]:
        """The events that no call has taken, in the order of the recording."""
        with self._lock:
            return [event for event in self._events if id(event) not in self._taken]

    def unused(self) -> list[DependencyEvent]:
        """The events that no call has taken although calls were expected to, in the order of the recording."""
        return self.waiting()

    def equal_calls(self) -> dict[Key, list[DependencyEvent]]:
        """The events of each key that several have, whether taken or not."""
        found: dict[Key, list[DependencyEvent]] = {}
        for event in self._events:
            found.setdefault(self._keys[id(event)], []).append(event)
        return {key: events for key, events in found.items() if len(events) > 1}

    def is_taken(self, event: DependencyEvent) -> bool:
        """Whether a call has taken this very event."""
        return id(event) in self._taken

    def holds(self, event: DependencyEvent) -> bool:
        """Whether this very event is one of these."""
        return id(event) in self._keys

    def taken(self) -> list[DependencyEvent]:
        """The events that were taken, in the order of the recording."""
        with self._lock:
            return [event for event in self._events if id(event) in self._taken]

    def partial(self, key: Key) -> Key:
        """The key of the same call with a body that was not sent to its end."""
        return key._replace(body=PARTIAL_BODY)


def _key(event: DependencyEvent) -> Key:
    return key_of(event.signature)
