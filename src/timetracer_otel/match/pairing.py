"""Which calls of two recordings are the same: to compare the recordings. No replay answers a call by this."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from timetracer_otel.match.values import pieces_of, skeleton
from timetracer_otel.types import DependencyEvent

__all__ = ["Pairing", "counted", "paired", "place_of", "retried", "shape"]


_LONGEST = 1 << 16
_RETRIABLE = frozenset({408, 425, 429})
"""Statuses below 500 after which clients ask again (RFC 9110, 6585 and 8470)."""
_LOCAL_PORT = re.compile(r"(//(?:[^/@]*@)?(?:127\.0\.0\.1|localhost|\[::1\])):\d+")


class Pairing(NamedTuple):
    """The calls of two recordings."""

    pairs: list[tuple[DependencyEvent, DependencyEvent]]
    """The calls that both have, in the order of the second one."""
    gone: list[DependencyEvent]
    """Those that only the first one has."""
    added: list[DependencyEvent]
    """Those that only the second one has."""

    def moved(self) -> set[int]:
        """Those of the second recording that stand in another order, by identity: the fewest that may be taken out,
        so that the others stand in one order.
        """
        places = [was.eid for was, _ in self.pairs]
        # The longest rising subsequence (patience sorting): what is left out has moved.
        tails: list[int] = []
        previous: list[int] = []
        for at, place in enumerate(places):
            low, high = 0, len(tails)
            while low < high:
                middle = (low + high) // 2
                if places[tails[middle]] < place:
                    low = middle + 1
                else:
                    high = middle
            previous.append(tails[low - 1] if low else -1)
            tails[low:] = [at, *tails[low + 1 :]] if low < len(tails) else [at]
        stays: set[int] = set()
        at = tails[-1] if tails else -1
        while at >= 0:
            stays.add(at)
            at = previous[at]
        return {id(now) for at, (_, now) in enumerate(self.pairs) if at not in stays}


def paired(before: Sequence[DependencyEvent], after: Sequence[DependencyEvent]) -> Pairing:
    """Pair the calls of two recordings: first those that are equal, then those that are equal up to values that each
    run makes anew (UUIDs, times, random texts), then those that ask the same of the same place with other values.

    Several calls that are the same are paired in their order.
    """
    left, right = list(before), list(after)
    pairs: list[tuple[DependencyEvent, DependencyEvent]] = []
    for key in (_whole, _shaped, _asking):
        waiting: dict[Hashable, list[DependencyEvent]] = {}
        for event in reversed(left):
            waiting.setdefault(key(event), []).append(event)
        found = [(waiting[name].pop(), event) for event in right if waiting.get(name := key(event))]
        pairs += found
        taken = {id(event) for pair in found for event in pair}
        left = [event for event in left if id(event) not in taken]
        right = [event for event in right if id(event) not in taken]
    places = {id(event): place for place, event in enumerate(after)}
    pairs.sort(key=lambda pair: places[id(pair[1])])
    return Pairing(pairs, left, right)


def _shape_of_text(text: str) -> str:
    """A text without the values that each run makes anew.

    A long text stays as it is: to look for them takes 2 us a character.
    """
    return text if len(text) > _LONGEST else skeleton(pieces_of(text))


def place_of(url: str | None) -> Hashable:
    """An address without such values, and without the port where it is one of this machine: a server of a test has
    another port in each run.
    """
    return shape(_LOCAL_PORT.sub(r"\1", url)) if url is not None else None


def shape(value: Any) -> Hashable:
    """A value of arguments as something to compare, without such values."""
    if isinstance(value, str):
        return _shape_of_text(value)
    if isinstance(value, (bytes, bytearray)):
        return _shape_of_text(bytes(value).decode("latin-1"))
    if isinstance(value, Mapping):
        return tuple(sorted(((str(key), shape(item)) for key, item in value.items()), key=repr))
    if isinstance(value, (list, tuple)):
        return tuple(map(shape, value))
    return (type(value).__name__, _shape_of_text(str(value)))


def _whole(event: DependencyEvent) -> Hashable:
    signature = event.signature
    return signature.lib, signature.method, signature.url, repr(sorted(signature.query.items())), signature.body_hash


def _shaped(event: DependencyEvent) -> Hashable:
    signature, call = event.signature, event.call
    body = call.body.data if call is not None and call.body is not None else None
    args = shape(call.args) if call is not None else None
    return signature.lib, signature.method, place_of(signature.url), shape(signature.query), shape(body), args


def _asking(event: DependencyEvent) -> Hashable:
    """What is asked: a statement without its values, a path without its query and its body, a command and its key."""
    signature, call = event.signature, event.call
    args: Any = call.args if call is not None else None
    asked: Hashable = None
    if isinstance(args, dict):
        asked = shape(args["statement"]) if "statement" in args else shape(args.get(signature.method or ""))
    elif isinstance(args, (list, tuple)):
        asked = shape(args[:2])
    return signature.lib, signature.method, place_of(signature.url), asked


def counted(events: Iterable[DependencyEvent], name: Callable[[DependencyEvent], str]) -> dict[Hashable, list[str]]:
    """The names of calls that ask the same, by what they ask."""
    found: dict[Hashable, list[str]] = {}
    for event in events:
        found.setdefault(_asking(event), []).append(name(event))
    return found


def retried(events: Iterable[DependencyEvent]) -> list[tuple[DependencyEvent, DependencyEvent]]:
    """The calls that were made again after an equal one had failed, each behind the one that failed.

    A call failed where it has an error, or a status by which a server says that it cannot answer now.
    """
    found: list[tuple[DependencyEvent, DependencyEvent]] = []
    latest: dict[Hashable, DependencyEvent] = {}
    for event in sorted(events, key=lambda each: (each.start_offset_ms, each.eid)):
        key = _shaped(event)
        before = latest.get(key)
        if before is not None and _failed(before) and before.answered_offset_ms <= event.start_offset_ms:
            found.append((before, event))
        latest[key] = event
    return found


def _failed(event: DependencyEvent) -> bool:
    result = event.result
    status = result.status or 0
    return bool(result.error or result.error_type) or status >= 500 or status in _RETRIABLE
