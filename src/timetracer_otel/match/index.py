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
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeAlias

from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.signature import PARTIAL_BODY, Key, canonical_json, key_of
from timetracer_otel.types import DependencyEvent, header_pairs

__all__ = ["Accepts", "EventIndex"]


Accepts = Callable[[DependencyEvent], bool]
_Queues: TypeAlias = "dict[Hashable, list[DependencyEvent]]"


_MOST_TAKEN_FIRST: Final = 500
_identity: Final[Callable[[object], int]] = object.__hash__
"""As `id`: another number for each object that is alive. `id` asks the audit hooks each time, and the guard of a
replay has one."""


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
        self._last: dict[Key, DependencyEvent] = {}
        self._taken_first: list[DependencyEvent] = []
        self._arrange()

    def _arrange(self) -> None:
        """Put the events into queues by their keys."""
        self._queues: dict[Key, list[DependencyEvent]] = {}
        for event in self._events:
            self._queues.setdefault(self._keys[_identity(event)], []).append(event)
        self._further: dict[Hashable, _Queues] = {}
        """The further queues, by what they are made by."""
        self._first: dict[Hashable, int] = {}
        """Of each queue, by its name: how many events at its beginning have been taken; 0 where it is missing."""
        self._in_order: dict[Hashable, bool] = {}
        """Of a queue, by its name: whether its events began one after the other."""

    def key_anew(self, key: Callable[[DependencyEvent], Key]) -> bool:
        """Give the events other keys; True where any differs from the one that its event had.

        The events that calls have taken stay taken, and equal ones are in the order of the recording again.
        """
        with self._lock:
            keys = {_identity(event): key(event) for event in self._events}
            if keys == self._keys:
                return False
            before, self._keys = self._keys, keys
            self._arrange()
            self._last = {keys[_identity(event)]: event for old, event in self._last.items() if old == before[_identity(event)]}
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
        del self._left[_identity(event)]
        if len(self._taken_first) < _MOST_TAKEN_FIRST:
            self._taken_first.append(event)
        self._last[key] = event

    def _next(self, key: Key, path: tuple[str, ...], accepts: Accepts | None) -> DependencyEvent | None:
        queue = self._queues.get(key)
        if queue is None:
            return None
        event = self._first_of(key, queue, accepts)
        if event is not None and path and len(queue) > 1 and event.path != path:
            there = self._of(("path", key), queue, _path_of).get(path)
            other = self._first_of((key, path), there, accepts) if there is not None else None
            event = event if other is None else other
        return event

    def _of(
        self, name: Hashable, events: list[DependencyEvent], what: Callable[[DependencyEvent], Hashable]
    ) -> _Queues:
        """Events in queues by what is said of each, in the order in which they are given."""
        queues = self._further.get(name)
        if queues is None:
            queues = self._further[name] = {}
            for event in events:
                queues.setdefault(what(event), []).append(event)
        return queues

    def _left_of(self, name: Hashable, queue: list[DependencyEvent]) -> Iterator[DependencyEvent]:
        """Those events of a queue that no call has taken. Those at its beginning that were are passed over once."""
        left = self._left
        for at in range(self._past_taken(name, queue), len(queue)):
            if _identity(queue[at]) in left:
                yield queue[at]

    def _past_taken(self, name: Hashable, queue: list[DependencyEvent]) -> int:
        """Where the first event of a queue stands that no call has taken; behind its end where there is none."""
        before = at = self._first.get(name, 0)
        while at < len(queue) and _identity(queue[at]) not in self._left:
            at += 1
        if at != before:
            self._first[name] = at
        return at

    def _first_of(
        self, name: Hashable, queue: list[DependencyEvent], accepts: Accepts | None = None
    ) -> DependencyEvent | None:
        if accepts is None:
            at = self._past_taken(name, queue)
            return queue[at] if at < len(queue) else None
        return next(filter(accepts, self._left_of(name, queue)), None)

    def take_event(self, event: DependencyEvent) -> bool:
        """Take this very event; False where another call had it first."""
        with self._lock:
            if _identity(event) not in self._left:
                return False
            self._take(self._keys[_identity(event)], event)
            return True

    def _but_for_body(self, key: Key) -> tuple[Hashable, list[DependencyEvent]]:
        """The queue of the events that are equal to ``key`` in all but the body, and its name."""
        name = key._replace(body=None)
        in_order = self._of("but for the body", self._events, lambda event: self._keys[_identity(event)]._replace(body=None))
        return ("but for the body", name), in_order.get(name, [])

    def first_but_for_body(self, key: Key, path: tuple[str, ...] = ()) -> DependencyEvent | None:
        """The first event still waiting that is equal to ``key`` in all but the body; rather one with this path."""
        with self._lock:
            name, queue = self._but_for_body(key)
            event = self._first_of(name, queue)
            if event is not None and event.path != path:
                there = self._of(("path", name), queue, _path_of).get(path)
                other = self._first_of((name, path), there) if there is not None else None
                event = event if other is None else other
            return event

    def waiting_but_for_body(self, key: Key, before_ms: float | None = None) -> list[DependencyEvent]:
        """The events still waiting that are equal to ``key`` in all but the body, in the order of the recording.

        Args:
            key: The signature.
            before_ms: Only those that began before this time.
        """
        with self._lock:
            name, queue = self._but_for_body(key)
            left = self._left_of(name, queue)
            if before_ms is None:
                return list(left)
            found: list[DependencyEvent] = []
            if name not in self._in_order:
                self._in_order[name] = _began_in_order(queue)
            for event in left:
                if event.start_offset_ms < before_ms:
                    found.append(event)
                elif self._in_order[name]:
                    break
            return found

    def same_json(self, key: Key, body: bytes) -> Key | None:
        """The key of a waiting event whose JSON body has the same content as this one; None where there is none."""
        content = canonical_json(body)
        if content is None:
            return None
        digest = hashlib.sha256(content).digest()
        with self._lock:
            name, queue = self._but_for_body(key)
            there = self._of(("json", name), queue, _json_of).get(digest)
            event = self._first_of(("json", name, digest), there) if there is not None else None
            return None if event is None else self._keys[_identity(event)]

    def first_with(
        self,
        name: Hashable,
        what: Callable[[DependencyEvent], Hashable],
        wanted: Hashable,
        accepts: Accepts,
    ) -> DependencyEvent | None:
        """The first event still waiting of which ``what`` says what is wanted.

        Args:
            name: Stands for ``what``, which is asked once of each event.
            what: Says something of an event.
            wanted: What it says of those that are wanted.
            accepts: Whether one of these is wanted indeed.
        """
        with self._lock:
            there = self._of(("with", name), self._events, what).get(wanted)
            return self._first_of(("with", name, wanted), there, accepts) if there is not None else None

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
            return sorted(self._taken_first, key=lambda event: event.eid)

    def unused(self) -> list[DependencyEvent]:
        """The events that no call has taken although calls were expected to, in the order of the recording."""
        return self.waiting()

    def taken_of(self, key: Key) -> list[DependencyEvent]:
        """The events with this signature that were taken."""
        with self._lock:
            return [event for event in self._queues.get(key, ()) if _identity(event) not in self._left]

    def equal_calls(self) -> dict[Key, list[DependencyEvent]]:
        """The events of each key that several have, whether taken or not."""
        return {key: events for key, events in self._queues.items() if len(events) > 1}

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

    def partial(self, key: Key) -> Key:
        """The key of the same call with a body that was not sent to its end."""
        return key._replace(body=PARTIAL_BODY)


def _key(event: DependencyEvent) -> Key:
    return key_of(event.signature)


def _path_of(event: DependencyEvent) -> tuple[str, ...]:
    return event.path


def _began_in_order(events: list[DependencyEvent]) -> bool:
    starts = [event.start_offset_ms for event in events]
    return starts == sorted(starts)


def _json_of(event: DependencyEvent) -> bytes | None:
    """The digest of an event's body in its canonical form; None where that is no JSON."""
    body = event.call.body if event.call is not None else None
    if event.call is None or body is None or not isinstance(body.data, bytes):
        return None
    content = canonical_json(plain_body(body.data, header_pairs(event.call.headers)))
    return None if content is None else hashlib.sha256(content).digest()
