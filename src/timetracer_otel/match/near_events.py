"""`NearEvents`: the recorded events that may be nearest to a call without an answer, found without a look at all.

How alike two texts are is slow to say (`difflib`), and a recording may have many thousand events. So the events are
sorted once, by library and method, and then by what the call says: once from its beginning and once from its end.
Texts that differ little stand beside each other in one of the two orders. Only those are compared in full.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from timetracer_otel.redact.forms import form_of
from timetracer_otel.types import DependencyEvent, EventSignature

__all__ = ["FEW_EVENTS", "NearEvents"]

FEW_EVENTS: Final = 64
"""So many events are all compared with a call."""
_IN_ITS_GROUP: Final = 16
"""How many events of the call's own library and method are given, of each side of its place in each order."""
_IN_OTHERS: Final = 2
_MOST_GROUPS: Final = 32
_STEPS: Final = 4
"""How many events are looked at for each that is given, as others may be unwanted."""


_LONGEST_TEXT: Final = 200


class _Group(NamedTuple):
    """The events of one method of a library, sorted: each with the text that it is sorted by."""

    from_beginning: list[tuple[str, int]]
    from_end: list[tuple[str, int]]


class NearEvents:
    """The events of a recording, sorted. Immutable, so safe from any thread.

    Args:
        events: The events, in the form in which they are compared.
    """

    def __init__(self, events: Sequence[DependencyEvent]) -> None:
        self._events = events
        texts: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for at, event in enumerate(events):
            signature = event.signature
            args = event.call.args if event.call is not None else None
            texts.setdefault((signature.lib, signature.method), []).append((_text(signature, args), at))
        self._groups = {
            name: _Group(sorted(there), sorted((text[::-1], at) for text, at in there))
            for name, there in texts.items()
        }

    def around(
        self, signature: EventSignature, args: object, is_wanted: Callable[[int], bool]
    ) -> list[DependencyEvent]:
        """Some events that may be nearest to a call, in the order of the recording.

        Args:
            signature: That of the call.
            args: Its arguments, where it is no HTTP.
            is_wanted: Whether the event at a position among all may be given.
        """
        text = _text(signature, args)
        own = signature.lib, signature.method
        # Those of the same library first: where there are many groups, others are left out.
        names = sorted(self._groups, key=lambda name: (name != own, name[0] != own[0]))[:_MOST_GROUPS]
        found: set[int] = set()
        for name in names:
            group, most = self._groups[name], _IN_ITS_GROUP if name == own else _IN_OTHERS
            found.update(_beside(group.from_beginning, text, most, is_wanted))
            found.update(_beside(group.from_end, text[::-1], most, is_wanted))
        return [self._events[at] for at in sorted(found)]


def _text(signature: EventSignature, args: object) -> str:
    """What a call is sorted by: where it goes and what it says first, since that makes calls alike."""
    likeness = form_of(signature.lib).likeness(args) if args is not None else None
    query = sorted(signature.query.items()) if signature.query else ""
    return f"{signature.url}\n{(likeness or '')[:_LONGEST_TEXT]}\n{query}\n{signature.body_hash}"


def _beside(texts: list[tuple[str, int]], text: str, most: int, is_wanted: Callable[[int], bool]) -> Iterator[int]:
    """The positions of the wanted events on both sides of a text's place, ``most`` of each side."""
    place = bisect_left(texts, (text, -1))
    for side in (
        range(place, min(place + most * _STEPS, len(texts))),
        range(place - 1, place - 1 - most * _STEPS, -1),
    ):
        left = most
        for at in side:
            if at < 0 or not left:
                break
            if is_wanted(texts[at][1]):
                left -= 1
                yield texts[at][1]
