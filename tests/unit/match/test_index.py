"""`EventIndex` finds what a search through all events would find, in whatever order calls come."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.constants import EventType
from timetracer_otel.match.index import Among, EventIndex
from timetracer_otel.match.signature import Key
from timetracer_otel.types import BodySnapshot, CallSnapshot, DependencyEvent, EventResult, EventSignature

PATHS = ((), ("a",), ("b",))
BODIES = (None, "1", "2")


def event_of(eid: int, method: str, body: str | None, path: tuple[str, ...], start_ms: float) -> DependencyEvent:
    data = None if body is None else json.dumps({"a": 1, "b": body}).encode()
    sent = None if data is None else BodySnapshot(True, data=data)
    return DependencyEvent(
        eid,
        EventType.CUSTOM,
        start_ms,
        1.0,
        EventSignature("x", method, body_hash=body),
        EventResult(),
        CallSnapshot(body=sent),
        path=path,
    )


EVENTS = st.lists(
    st.tuples(st.sampled_from("GP"), st.sampled_from(BODIES), st.sampled_from(PATHS), st.floats(0, 9)), max_size=25
).map(lambda rows: [event_of(eid, *row) for eid, row in enumerate(rows, 1)])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "peek", "picky", "very", "earliest", "among", "first", "json", "with", "anew"]),
        st.sampled_from("GP"),
        st.sampled_from(BODIES),
        st.sampled_from(PATHS),
        st.integers(0, 24),
    ),
    max_size=60,
)


def key_of(event: DependencyEvent) -> Key:
    return Key("x", event.signature.method, None, (), event.signature.body_hash)


def is_other(number: int | None, event: DependencyEvent) -> bool:
    return number is None or event.eid % 3 != number % 3


class Searched:
    """The same as an index, by a search through all events each time."""

    def __init__(self, events: list[DependencyEvent]) -> None:
        self.left = list(events)

    def next(
        self, key: Key, path: tuple[str, ...], accepts: Callable[[DependencyEvent], bool]
    ) -> DependencyEvent | None:
        fitting = [event for event in self.left if key_of(event) == key and accepts(event)]
        there = [event for event in fitting if event.path == path]
        return next(iter(there if path and there else fitting), None)

    def but_for_body(self, key: Key) -> list[DependencyEvent]:
        return [event for event in self.left if key_of(event)._replace(body=None) == key._replace(body=None)]


def is_read(event: DependencyEvent) -> bool:
    return event.eid % 2 == 0


def of_three(event: DependencyEvent) -> int:
    return event.eid % 3


def run(events: list[DependencyEvent], steps: list[Any]) -> None:
    index, searched = EventIndex(events, key_of), Searched(events)
    for step, method, body, path, number in steps:
        key = Key("x", method, None, (), body)
        accepts = partial(is_other, number if step == "picky" else None)
        expected = searched.next(key, path, accepts)
        like = searched.but_for_body(key)
        if step in ("take", "picky"):
            found = index.take(key, path, accepts if step == "picky" else None)
            if found is not None:
                searched.left.remove(found)
            assert found is expected
        elif step == "peek":
            assert index.peek(key, path) is expected
        elif step == "very" and number < len(events):
            event = events[number]
            was_left = any(event is each for each in searched.left)
            assert index.is_taken(event) is not was_left
            assert index.take_event(event) is was_left
            searched.left = [each for each in searched.left if each is not event]
        elif step == "earliest":
            read = [event for event in like if is_read(event)]
            first = min(read, key=lambda event: event.start_offset_ms, default=None)
            assert index.earliest_but_for_body(key, "is read", is_read) is first
        elif step == "among":
            wanted = [number % 3, (number + 1) % 3]
            expected = searched.next(key, path, partial(is_other, number + 2))
            found = index.take(key, path, among=Among("of three", of_three, wanted))
            assert found is expected
            if found is not None:
                searched.left = [each for each in searched.left if each is not found]
                assert index.again(key, among=Among("of three", of_three, wanted)) is found
                assert index.again(key, among=Among("of three", of_three, [])) is None
        elif step == "first":
            there = [event for event in like if event.path == path] or like
            assert index.first_but_for_body(key, path) is (there[0] if there else None)
        elif step == "json":
            same = next((event for event in like if event.signature.body_hash == body is not None), None)
            sent = json.dumps({"b": body, "a": 1}, indent=2).encode() if body is not None else b"no JSON"
            assert index.same_json(key, sent) == (key_of(same) if same is not None else None)
        elif step == "with":
            picky = partial(is_other, number)
            fitting = (event for event in searched.left if event.path == path and picky(event))
            found = index.first_with("path", lambda event: event.path, path, picky)
            assert found is next(fitting, None)
        elif step == "anew":
            assert not index.key_anew(key_of)
            assert index.key_anew(lambda event: key_of(event)._replace(lib="y"))
            assert index.key_anew(key_of)
        assert index.waiting() == searched.left
        assert index.taken() == [event for event in events if all(event is not each for each in searched.left)]
        assert index.taken_count == len(index.taken())
        assert index.some_waiting(3) == searched.left[:3]
        taken = [event for event in index.taken() if key_of(event) == key]
        assert index.taken_of(key, 2) == (taken[:2], len(taken))
        assert index.is_exhausted is (not searched.left)


@given(EVENTS.filter(bool), STEPS)
def test_an_index_finds_what_a_search_through_all_events_would_find(
    events: list[DependencyEvent], steps: list[Any]
) -> None:
    run(events, steps)
