"""`EventIndex`: finds the recorded event that answers a call. The signatures of both must be equal.

Events with equal signatures answer in the order of the recording. There is no cursor over the whole recording, so
concurrent calls may be made in any order. Where equal signatures were recorded under different spans, the event whose
span path is the caller's comes first.

No step of a call takes longer the more events there are. Events stand in queues, in the order of the recording: one
for each signature, and further ones (for a signature under one path, without its body, with the same JSON) which are
made when they are first asked for. An event that was taken stays in its queues, and is passed over once in each.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.signature import PARTIAL_BODY, Key, canonical_json, key_of
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = ["Accepts", "Among", "EventIndex"]


Accepts = Callable[[DependencyEvent], bool]


class Among(NamedTuple):
    """Some of the events with one signature: those of which something is said that is wanted.

    Attributes:
        name: Stands for ``what``, which is asked once of each event.
        what: Says something of an event.
        wanted: What it says of those that are wanted.
    """

    name: Hashable
    what: Callable[[DependencyEvent], Hashable]
    wanted: Sequence[Hashable]


_MOST_TAKEN: Final = 500
_identity: Final[Callable[[object], int]] = object.__hash__
"""As `id`: another number for each object that is alive. `id` asks the audit hooks each time, and the guard of a
replay has one."""


class _Queue:
    """Events of which one thing is equal, in the order of the recording. Those that were taken stay."""

    __slots__ = ("events", "first", "further", "is_by_start", "last")

    def __init__(self) -> None:
        self.events: list[DependencyEvent] = []
        self.first = 0
        """How many events at the beginning are known to be taken."""
        self.last: DependencyEvent | None = None
        """The event that was taken last, of a queue of equal signatures."""
        self.further: dict[Hashable, _Queues] = {}
        """Further queues of these events, by what they are made by."""
        self.is_by_start = False
        """Whether the events were put in order of their begin."""

    def by(self, name: Hashable, what: Callable[[DependencyEvent], Hashable]) -> _Queues:
        """These events in queues by what is said of each. They are made when they are first asked for.

        Args:
            name: Stands for ``what``.
            what: Says something of an event.
        """
        queues = self.further.get(name)
        if queues is None:
            queues = self.further[name] = {}
            for event in self.events:
                said = what(event)
                queue = queues.get(said)
                if queue is None:
                    queue = queues[said] = _Queue()
                queue.events.append(event)
        return queues


_Queues: TypeAlias = "dict[Any, _Queue]"


class EventIndex:
    """The events of one replay, by signature. Safe from any thread and task."""

    def __init__(
        self, events: Iterable[DependencyEvent], key: Callable[[DependencyEvent], Key] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self.repeats = 0
        self._events = list(events)
        key = key if key is not None else _key
        self._keys = {_identity(event): key(event) for event in self._events}
        self._left = {_identity(event): event for event in self._events}
        """By identity, in the order of the recording: those that no call has taken."""
        self._taken: list[DependencyEvent] = []
        """In the order in which calls took them."""
        self._arrange()

    def _arrange(self) -> None:
        """Put the events into queues by their keys."""
        self._all = _Queue()
        self._all.events = self._events
        self._queues = self._all.by("key", lambda event: self._keys[_identity(event)])

    def add(self, key: Key, events: Sequence[DependencyEvent]) -> None:
        """Add all events with one key, in an index that has none of it."""
        with self._lock:
            queue = self._queues[key] = _Queue()
            queue.events += events
            self._events += events
            for event in events:
                self._keys[_identity(event)] = key
                self._left[_identity(event)] = event

    def go_on_from(self, other: EventIndex) -> None:
        """Take what calls have taken from another index, which has some of these events."""
        for event in other._taken:
            self.take_event(event)
        self.repeats = other.repeats

    def key_anew(self, key: Callable[[DependencyEvent], Key]) -> bool:
        """Give the events other keys; True where any differs from the one that its event had.

        The events that calls have taken stay taken, and equal ones are in the order of the recording again.
        """
        with self._lock:
            keys = {_identity(event): key(event) for event in self._events}
            if keys == self._keys:
                return False
            self._keys, before = keys, self._queues
            self._arrange()
            for queue in before.values():
                if queue.last is not None:
                    self._queues[keys[_identity(queue.last)]].last = queue.last
            return True

    def take(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """Take the next event with this signature; None where none is left.

        Args:
            key: The signature.
            path: Names of the spans around the call.
            accepts: Whether an event with this signature may be taken. Without it, all may.
            among: Only one of these.
        """
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                return None
            if accepts is None and among is None and (not path or len(queue.events) == 1):
                # What `_next` and `_take` come to for nearly every call. They are not called for it, since a replay
                # answers each call here.
                events, at, left = queue.events, queue.first, self._left
                while at < len(events):
                    event = events[at]
                    at += 1
                    if left.pop(_identity(event), None) is not None:
                        queue.first, queue.last = at, event
                        self._taken.append(event)
                        return event
                queue.first = at
                return None
            found = self._next(queue, path, accepts, among)
            if found is not None:
                self._take(queue, found)
            return found

    def peek(
        self,
        key: Key,
        path: tuple[str, ...] = (),
        accepts: Accepts | None = None,
        among: Among | None = None,
    ) -> DependencyEvent | None:
        """The event that `take` would take. It is not taken."""
        with self._lock:
            queue = self._queues.get(key)
            return self._next(queue, path, accepts, among) if queue is not None else None

    def again(self, key: Key, accepts: Accepts | None = None, among: Among | None = None) -> DependencyEvent | None:
        """The event with this signature that was taken last, for one more call; None where none was taken."""
        with self._lock:
            queue = self._queues.get(key)
            event = queue.last if queue is not None else None
            if event is None or (accepts is not None and not accepts(event)):
                return None
            if among is not None and among.what(event) not in among.wanted:
                return None
            self.repeats += 1
            return event

    def _take(self, queue: _Queue, event: DependencyEvent) -> None:
        del self._left[_identity(event)]
        self._taken.append(event)
        queue.last = event

    def _next(
        self, queue: _Queue, path: tuple[str, ...], accepts: Accepts | None, among: Among | None = None
    ) -> DependencyEvent | None:
        if among is not None:
            queues = queue.by(among.name, among.what)
            firsts = (self._next(queues[said], path, accepts) for said in among.wanted if said in queues)
            found = [event for event in firsts if event is not None]
            return min(found, key=lambda event: (path != () and event.path != path, event.eid), default=None)
        event = self._first_of(queue, accepts)
        if event is not None and path and len(queue.events) > 1 and event.path != path:
            there = queue.by("path", _path_of).get(path)
            other = self._first_of(there, accepts) if there is not None else None
            event = event if other is None else other
        return event

    def _left_of(self, queue: _Queue) -> Iterator[DependencyEvent]:
        """Those events of a queue that no call has taken. Those at its beginning that were are passed over once."""
        self._first_of(queue)
        for event in islice(queue.events, queue.first, None):
            if _identity(event) in self._left:
                yield event

    def _first_of(self, queue: _Queue, accepts: Accepts | None = None) -> DependencyEvent | None:
        """The first event of a queue that no call has taken, and that is accepted; None where there is none."""
        if accepts is not None:
            return next(filter(accepts, self._left_of(queue)), None)
        events, at = queue.events, queue.first
        while at < len(events):
            event = events[at]
            if _identity(event) in self._left:
                queue.first = at
                return event
            at += 1
        queue.first = at
        return None

    def take_event(self, event: DependencyEvent) -> bool:
        """Take this very event; False where another call had it first."""
        with self._lock:
            if _identity(event) not in self._left:
                return False
            self._take(self._queues[self._keys[_identity(event)]], event)
            return True

    def _but_for_body(self, key: Key) -> _Queue:
        """The queue of the events that are equal to ``key`` in all but the body."""
        queues = self._all.by("but for the body", lambda event: self._keys[_identity(event)]._replace(body=None))
        found = queues.get(key._replace(body=None))
        return found if found is not None else _Queue()

    def first_but_for_body(self, key: Key, path: tuple[str, ...] = ()) -> DependencyEvent | None:
        """The first event still waiting that is equal to ``key`` in all but the body; rather one with this path."""
        with self._lock:
            queue = self._but_for_body(key)
            event = self._first_of(queue)
            if event is not None and event.path != path:
                there = queue.by("path", _path_of).get(path)
                other = self._first_of(there) if there is not None else None
                event = event if other is None else other
            return event

    def earliest_but_for_body(
        self, key: Key, name: Hashable, what: Callable[[DependencyEvent], bool]
    ) -> DependencyEvent | None:
        """Of the events still waiting that are equal to ``key`` in all but the body, and of which ``what`` is true,
        the one that began first; None where there is none.

        Args:
            key: The signature.
            name: Stands for ``what``, which is asked once of each event.
            what: Says something of an event.
        """
        with self._lock:
            there = self._but_for_body(key).by(name, what).get(True)
            if there is None:
                return None
            if not there.is_by_start:
                there.events.sort(key=attrgetter("start_offset_ms"))
                there.is_by_start = True
            return self._first_of(there)

    def waiting_but_for_target(self, key: Key) -> list[DependencyEvent]:
        """Of each target, the first event still waiting that is equal to ``key`` in all but the target, in the order
        of the recording.
        """
        with self._lock:
            queues = self._all.by(
                "but for the target", lambda event: self._keys[_identity(event)]._replace(target=None)
            )
            there = queues.get(key._replace(target=None))
            if there is None:
                return []
            by_target = there.by("target", lambda event: self._keys[_identity(event)].target)
            found = (self._first_of(queue) for queue in by_target.values())
            return sorted((event for event in found if event is not None), key=lambda event: event.eid)

    def same_json(self, key: Key, body: bytes) -> Key | None:
        """The key of a waiting event whose JSON body has the same content as this one; None where there is none."""
        content = canonical_json(body)
        if content is None:
            return None
        digest = hashlib.sha256(content).digest()
        with self._lock:
            there = self._but_for_body(key).by("json", _json_of).get(digest)
            event = self._first_of(there) if there is not None else None
            return None if event is None else self._keys[_identity(event)]

    def first_with(
        self,
        name: Hashable,
        what: Callable[[DependencyEvent], Hashable],
        wanted: Hashable,
        accepts: Accepts | None = None,
    ) -> DependencyEvent | None:
        """The first event still waiting of which ``what`` says what is wanted.

        Args:
            name: Stands for ``what``, which is asked once of each event.
            what: Says something of an event.
            wanted: What it says of those that are wanted.
            accepts: Whether one of these is wanted indeed. Without it, all are.
        """
        with self._lock:
            there = self._all.by(("with", name), what).get(wanted)
            return self._first_of(there, accepts) if there is not None else None

    @property
    def taken_count(self) -> int:
        """How many events were taken."""
        return len(self._events) - len(self._left)

    @property
    def is_exhausted(self) -> bool:
        """Whether every event was taken of which calls were expected to."""
        return not self._left

    def waiting(self) -> list[DependencyEvent]:
        """The events that no call has taken, in the order of the recording."""
        with self._lock:
            return list(self._left.values())

    def some_waiting(self, most: int) -> list[DependencyEvent]:
        """The first of the events that no call has taken."""
        with self._lock:
            return list(islice(self._left.values(), most))

    def some_taken(self) -> list[DependencyEvent]:
        """The events that were taken first, in the order of the recording."""
        with self._lock:
            return sorted(self._taken[:_MOST_TAKEN], key=lambda event: event.eid)

    @property
    def mark(self) -> int:
        """What `unused` takes for the events that are unused now."""
        return len(self._taken)

    def unused(self, mark: int | None = None) -> list[DependencyEvent]:
        """The events that no call has taken although calls were expected to, in the order of the recording.

        Args:
            mark: Up to when; without it, up to now.
        """
        with self._lock:
            taken = set(map(_identity, self._taken[:mark]))
            return [event for event in self._events if _identity(event) not in taken]

    def has(self, key: Key) -> bool:
        """Whether any event has this signature, be it taken or not."""
        return key in self._queues

    def taken_of(self, key: Key, most: int) -> tuple[list[DependencyEvent], int]:
        """The first events with this signature that were taken, and how many were."""
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                return [], 0
            if self._first_of(queue) is None:
                return queue.events[:most], len(queue.events)
            found = [event for event in queue.events if _identity(event) not in self._left]
            return found[:most], len(found)

    def equal_calls(self) -> dict[Key, list[DependencyEvent]]:
        """The events of each key that several have, whether taken or not."""
        return {key: queue.events for key, queue in self._queues.items() if len(queue.events) > 1}

    def is_taken(self, event: DependencyEvent) -> bool:
        """Whether a call has taken this very event."""
        return _identity(event) not in self._left and _identity(event) in self._keys

    def holds(self, event: DependencyEvent) -> bool:
        """Whether this very event is one of these."""
        return _identity(event) in self._keys

    def taken(self) -> list[DependencyEvent]:
        """The events that were taken, in the order of the recording."""
        with self._lock:
            return [event for event in self._events if _identity(event) not in self._left]

    def in_order_taken(self) -> list[DependencyEvent]:
        """The events that were taken, in the order in which calls took them."""
        with self._lock:
            return list(self._taken)

    def partial(self, key: Key) -> Key:
        """The key of the same call with a body that was not sent to its end."""
        return key._replace(body=PARTIAL_BODY)


def _key(event: DependencyEvent) -> Key:
    return key_of(event.signature)


def _path_of(event: DependencyEvent) -> tuple[str, ...]:
    return event.path


def _json_of(event: DependencyEvent) -> bytes | None:
    """The digest of an event's body in its canonical form; None where that is no JSON."""
    body = event.call.body if event.call is not None else None
    if event.call is None or body is None or not isinstance(body.data, bytes):
        return None
    content = canonical_json(plain_body(body.data, header_pairs(event.call.headers)))
    return None if content is None else hashlib.sha256(content).digest()
