"""Events that are decoded when they are asked for: a replay looks up a few of many, and finds them by signatures.

Most of an event is its answer, and nobody reads that before a call gets it. So what an event is found by is read from
the bytes of the file at once, and the rest stays there. That is done for files which were finished and whose checksum
fits: their events were written whole.
"""

from __future__ import annotations

import io
import threading
from array import array
from bisect import bisect_right
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final

from msgpack import Unpacker, unpackb  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette.codec import DECODE_ERRORS, describe
from timetracer_otel.cassette.frames import BOUNDARIES_KEY
from timetracer_otel.cassette.model import LATER, arranged, event_from, later_event, part_from
from timetracer_otel.cassette.sources import Layout, Source, refuse
from timetracer_otel.types import DependencyEvent

__all__ = ["LaterEvents"]

_CONTAINERS: Final = frozenset({*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)})
_NO_CONTAINERS: Final = bytes({*range(0x100)} - _CONTAINERS)
_FEW: Final = 8
"""How many containers may seem to stand in what an event is found by, without a look at what they cost. The largest
of them cost 64 times their bytes and some more, and are a small part of an event."""
_MAPS: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
_ARRAYS: Final = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
_NIL: Final = 0xC0
_BEGINNINGS: Final = {"result": _MAPS, "call": _MAPS | {_NIL}, "span": _MAPS | {_NIL}, "within": _ARRAYS | {_NIL}}
assert frozenset(_BEGINNINGS) == LATER
_BODY: Final = b"\xa4body"
_PSEUDONYMS: Final = b"\xaapseudonyms"
_NO_ASCII: Final = 0x80
_LENGTH_BITS: Final = 32
_LENGTH: Final = (1 << _LENGTH_BITS) - 1


class LaterEvents:
    """The events of a finished stream, which are read when they are asked for. Safe from any thread.

    They are as those that `event_from` gives, but for what is in `LATER`. That is decoded when it is first asked for.
    Whatever is wrong in an event is a `CassetteError` when the event is read, or that part of it.

    Args:
        source: The stream.
        layout: Where its events are.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        self._source = source
        self._bounds = array("Q", layout.bounds[1:])
        self._rest = _Rest(source)
        self._lock = self._rest.lock
        self._read: dict[int, DependencyEvent] = {}
        """By their places among the events of the file."""
        self._all: list[DependencyEvent] | None = None
        boundaries = (layout.footer or {}).get(BOUNDARIES_KEY)
        self.hold_boundaries: bool = bool(boundaries)
        """Whether beginnings and ends of transactions stand within other events."""
        self.number = len(self._bounds) - 1 + (boundaries if type(boundaries) is int else 0)
        """How many they are, as the end of the file says of those within others."""

    @property
    def hold_pseudonyms(self) -> bool:
        """Whether an event may hold pseudonyms that the header does not have."""
        return self._source.data.find(_PSEUDONYMS, self._bounds[0]) >= 0

    def all(self) -> list[DependencyEvent]:
        """All events, in the order of a cassette; the same list each time."""
        with self._lock:
            if self._all is None:
                self._all = arranged(self._read_all())
            return self._all

    def with_text(self, text: bytes, most: int, *, is_whole: bool = False) -> list[DependencyEvent] | None:
        """The events in whose bytes a text stands, in the order of the recording; None where there are more than
        ``most``.

        Those that stand within another event are not among them.

        Args:
            text: Encoded.
            most: How many may be found.
            is_whole: Only where it is the end of a text of msgpack.
        """
        data, bounds = self._source.data, self._bounds
        places: list[int] = []
        end = bounds[-1]
        at = data.find(text, bounds[0], end)
        while at >= 0:
            behind = at + len(text)
            # Behind a text stands a key or the next event, and neither begins as a letter of ASCII does.
            if not is_whole or behind >= end or data[behind] >= _NO_ASCII:
                places.append(bisect_right(bounds, at) - 1)
                if len(places) > most:
                    return None
                behind = bounds[places[-1] + 1]
            at = data.find(text, behind, end)
        with self._lock:
            return sorted(map(self._event_at, places), key=attrgetter("eid"))

    def _event_at(self, place: int) -> DependencyEvent:
        event = self._read.get(place)
        if event is None:
            start, end = self._bounds[place], self._bounds[place + 1]
            stream = Unpacker(max_buffer_size=0, ext_hook=_refuse_extension)
            stream.feed(memoryview(self._source.data)[start:end])
            event = self._read[place] = self._next_of(stream, start, start, end)
        return event

    def _read_all(self) -> list[DependencyEvent]:
        bounds, read = self._bounds, self._read
        data = self._source.data
        stream = Unpacker(io.BytesIO(data), read_size=1 << 16, max_buffer_size=0, ext_hook=_refuse_extension)
        stream.skip()
        for place, (start, end) in enumerate(pairwise(bounds)):
            if place in read:
                stream.skip()
                continue
            read[place] = self._next_of(stream, 0, start, end)
            if stream.tell() != end:
                break  # Something about this event is unusual, so that it was not read from the stream.
        return [*map(self._event_at, range(len(bounds) - 1))]

    def _next_of(self, stream: Any, offset: int, start: int, end: int) -> DependencyEvent:
        """The event that a stream has next, which begins so many bytes behind the beginning of the file."""
        try:
            found = _in_part(stream, self._source.data, offset)
            if found is not None and offset + stream.tell() == end:
                return later_event(found, self._rest, start << _LENGTH_BITS | end - start)
        except DECODE_ERRORS:
            pass  # What is wrong is found again, and named, where the whole event is decoded.
        source = self._source
        whole = source.object_at(start, end)
        try:
            return event_from(whole)
        except DECODE_ERRORS as fault:
            refuse(source.name, start, describe(fault))


def _in_part(stream: Any, data: bytes, offset: int) -> dict[str, Any] | None:
    """What an event is found by, of the map that a stream has next; None where something about it is unusual."""
    unpack, skip, tell = stream.unpack, stream.skip, stream.tell
    found: dict[str, Any] = {}
    has_result = False
    for _ in range(stream.read_map_header()):
        key = unpack()
        at = offset + tell()
        first = data[at]
        if key in LATER:
            if first not in _BEGINNINGS[key]:
                return None
            has_result = has_result or key == "result"
            skip()
        elif first in _CONTAINERS:
            skip()
            part = data[at : offset + tell()]
            if len(part.translate(None, _NO_CONTAINERS)) > _FEW:
                return None
            found[key] = unpackb(part, ext_hook=_refuse_extension)
        else:
            found[key] = unpack()
    return found if has_result else None


def _refuse_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code} where none is expected")


class _Rest:
    """Decodes what events of one stream were left without. Safe from any thread."""

    __slots__ = ("_source", "lock")

    def __init__(self, source: Source) -> None:
        self._source = source
        # It can be entered twice: a collector of garbage may run in between, and with it anybody's code.
        self.lock = threading.RLock()

    def may_hold_body(self, place: int) -> bool:
        """Whether the word for a body stands anywhere in the event; else its call has none."""
        start, end = _span_of(place)
        return self._source.data.find(_BODY, start, end) >= 0

    def fill(self, event: DependencyEvent, place: int, name: str) -> None:
        """Decode the part ``name`` of an event, if it still lacks it."""
        with self.lock:
            if not event.lacks(name):
                return
            source = self._source
            start, end = _span_of(place)
            try:
                at, to = _place_of(name, source.data, start, end)
                found = None
                if at < to:
                    source.charge(at, to)
                    found = source.decoded(at, to)
                setattr(event, name, part_from(name, found))
            except DECODE_ERRORS as fault:
                refuse(source.name, start, f"event {event.eid}: {describe(fault)}")
            if not any(map(event.lacks, LATER)):
                event.is_whole_now()


def _span_of(place: int) -> tuple[int, int]:
    start = place >> _LENGTH_BITS
    return start, start + (place & _LENGTH)


def _place_of(name: str, data: bytes, start: int, end: int) -> tuple[int, int]:
    """Start and end of a part of an event; an empty place where it has none."""
    stream = Unpacker(max_buffer_size=0, ext_hook=_refuse_extension)
    stream.feed(memoryview(data)[start:end])
    found = 0, 0
    for _ in range(stream.read_map_header()):
        key = stream.unpack()
        at = stream.tell()
        stream.skip()
        if key == name:
            found = start + at, start + stream.tell()
    return found
