"""Events that are decoded when they are asked for: a replay looks up a few of many, and finds them by signatures.

Most of an event is its answer, and nobody reads that before a call gets it. So what an event is found by is read from
the bytes of the file at once, and the rest stays there. That is done for files which were finished and whose checksum
fits: their events were written whole.
"""

from __future__ import annotations

import io
import threading
from typing import Any, Final

from msgpack import Unpacker, unpackb  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette.codec import DECODE_ERRORS, describe
from timetracer_otel.cassette.model import LATER, call_from, event_from, later_event
from timetracer_otel.cassette.sources import Layout, Source, refuse
from timetracer_otel.types import DependencyEvent

__all__ = ["events_for_later"]

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
_LENGTH_BITS: Final = 32
_LENGTH: Final = (1 << _LENGTH_BITS) - 1


def events_for_later(source: Source, layout: Layout) -> list[DependencyEvent] | None:
    """The events of a stream; None where they must be decoded at once, since something about them is unusual.

    They are as those that `event_from` gives, but for what is in `LATER`. That is decoded when it is first asked for,
    in any thread. Whatever is wrong there is a `CassetteError` then, which names the event.
    """
    data = source.data
    stream = Unpacker(io.BytesIO(data), read_size=1 << 16, max_buffer_size=0, ext_hook=_refuse_extension)
    unpack, skip, tell, entries = stream.unpack, stream.skip, stream.tell, stream.read_map_header
    rest = _Rest(source)
    events: list[DependencyEvent] = []
    try:
        skip()
        for start, end in layout.events:
            found: dict[str, Any] = {}
            has_result = False
            for _ in range(entries()):
                key = unpack()
                at = tell()
                first = data[at]
                if key in LATER:
                    if first not in _BEGINNINGS[key]:
                        return None
                    has_result = has_result or key == "result"
                    skip()
                elif first in _CONTAINERS:
                    skip()
                    part = data[at : tell()]
                    if len(part.translate(None, _NO_CONTAINERS)) > _FEW:
                        return None
                    found[key] = unpackb(part, ext_hook=_refuse_extension)
                else:
                    found[key] = unpack()
            if tell() != end or not has_result:
                return None
            events.append(later_event(found, rest, start << _LENGTH_BITS | end - start))
    except DECODE_ERRORS:
        return None
    return events


def _refuse_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"extension type {code} where none is expected")


class _Rest:
    """Decodes what events of one stream were left without. Safe from any thread."""

    __slots__ = ("_lock", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        # It can be entered twice: a collector of garbage may run in between, and with it anybody's code.
        self._lock = threading.RLock()

    def may_hold_body(self, place: int) -> bool:
        """Whether the word for a body stands anywhere in the event; else its call has none."""
        start, end = _span_of(place)
        return self._source.data.find(_BODY, start, end) >= 0

    def fill(self, event: DependencyEvent, place: int, name: str) -> None:
        """Decode the part ``name`` of an event, if it still lacks it. Of another part than ``call``, all of it."""
        with self._lock:
            if not event.lacks(name):
                return
            source = self._source
            start, end = _span_of(place)
            # The costs of the whole event were added when its call was decoded.
            is_charged = not event.lacks("call")
            try:
                if not is_charged:
                    source.charge(start, end)
                if name == "call":
                    at, to = _place_of_call(source.data, start, end)
                    found = source.decoded(at, to) if at < to else None
                    event.call = call_from(found) if found is not None else None
                    return
                whole = event_from(source.decoded(start, end, may_be_deep=is_charged))
            except DECODE_ERRORS as fault:
                refuse(source.name, start, f"event {event.eid}: {describe(fault)}")
            event.complete(whole)


def _span_of(place: int) -> tuple[int, int]:
    start = place >> _LENGTH_BITS
    return start, start + (place & _LENGTH)


def _place_of_call(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Start and end of the call in an event; an empty place where it has none."""
    stream = Unpacker(max_buffer_size=0, ext_hook=_refuse_extension)
    stream.feed(memoryview(data)[start:end])
    found = 0, 0
    for _ in range(stream.read_map_header()):
        key = stream.unpack()
        at = stream.tell()
        stream.skip()
        if key == "call":
            found = start + at, start + stream.tell()
    return found
