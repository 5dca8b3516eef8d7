"""What reading costs, known before anything is built: the one place that bounds memory by what was read.

A few bytes of msgpack may stand for a large object. An empty map is one byte, and a dictionary of 64; a gigabyte of
zeros packs into a megabyte. So the tokens of a stream are looked at first, and an estimate of the memory for what
they stand for is added up. A stream that would cost more than `allowance` of its file is refused. The writer adds up
the same, and where a recording packs too well for the reader, it adds bytes that do not pack (`padding`). Mostly it
need not look at each token: it bounds the sum by how many values there are, and of which kinds (`OwnCosts`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = [
    "MAX_STREAM_RATIO",
    "Account",
    "OwnCosts",
    "TooDenseError",
    "allowance",
    "at_most",
    "file_bytes_for",
    "most_levels",
    "padding",
    "stream_allowance",
]

_FREE_BYTES: Final = 512 << 10
_PER_BYTE: Final = 40
"""What may be built, for each byte of the file. The file itself, the stream, and the making of events of what was
built cost more: in all, less than 64 times the file and 1 MiB. `tests/unit/cassette/test_costs.py` measures it."""

MAX_STREAM_RATIO: Final = 16
"""How many bytes a byte of a compressed file may expand to. Two copies of the stream exist for a moment."""
_FREE_STREAM_BYTES: Final = 256 << 10


class TooDenseError(ValueError):
    """A stream would cost too much memory."""


def allowance(file_bytes: int) -> int:
    """How many bytes of objects may be built of a file of this size."""
    return _FREE_BYTES + _PER_BYTE * file_bytes


def stream_allowance(file_bytes: int) -> int:
    """How many bytes a compressed file of this size may expand to."""
    return _FREE_STREAM_BYTES + MAX_STREAM_RATIO * file_bytes


def file_bytes_for(cost: int, stream_bytes: int) -> int:
    """The size of the smallest file that may expand to so many bytes, and cost so much."""
    for_objects = -(-(cost - _FREE_BYTES) // _PER_BYTE)
    for_stream = -(-(stream_bytes - _FREE_STREAM_BYTES) // MAX_STREAM_RATIO)
    return max(0, for_objects, for_stream)


def padding(size: int, seed: int) -> bytes:
    """Bytes that nothing compresses, the same for the same arguments."""
    return hashlib.shake_128(b"timetracer padding %d" % seed).digest(size)


class Account:
    """Adds up what the objects of one stream cost. Serves one thread.

    Args:
        limit: `charge` raises beyond it; without one, the account only adds up.
    """

    __slots__ = ("_limit", "_loose", "_zones", "levels", "spent")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.spent: int = 0
        """Bytes, up to now: where there is a limit, a bound of them as long as that stays below it."""
        self.levels: int = 0
        """How many containers, at most, stand within one another in the object that was charged last."""
        self._zones: set[bytes] = set()
        self._loose: list[tuple[int, int, int]] = []
        """Start and end of the objects of which only a bound is in ``spent``, each with its bound."""

    def covers(self, data: bytes) -> bool:
        """Whether the limit allows all of a short stream, by one bound for everything in it. The bound is added then.

        Lengths within it need not be checked yet: what is built later lies between two offsets of this stream.
        """
        found = _bound(data) if len(data) <= _LONGEST_COVERED and self._limit is not None else None
        if found is None or self._limit is None or self.spent + found[0] > self._limit:
            return False
        self.spent += found[0]
        return True

    def charge(self, data: bytes, start: int, end: int) -> None:
        """Add what one object of a stream costs, whose lengths were checked.

        To look at each token takes longer than to build what the tokens stand for. So a bound is added first. Where
        the bounds exceed the limit, the tokens of as many objects are looked at as it takes to be below it again.

        Raises:
            TooDenseError: The limit is exceeded.
        """
        if self._limit is None:
            self.levels = self._scan(data, start, end, 0)
            return
        found = _bound(data[start:end]) if end - start <= _LONGEST_BOUNDED else None
        if found is not None and found[0] <= _LOOSEST * (end - start + _LOOSEST):
            bound, self.levels = found
            self.spent += bound
            self._loose.append((start, end, bound))
        else:
            # Nothing may be said of the limit while bounds stand in the sum.
            limit, self._limit = self._limit, None if self._loose else self._limit
            self.levels = self._scan(data, start, end, 0)
            self._limit = limit
        while self.spent > self._limit and self._loose:
            at, to, before = self._loose.pop()
            limit, self._limit = self._limit, None
            self._scan(data, at, to, 0)
            self._limit = limit
            self.spent -= before
        self._add(0)

    def _add(self, cost: int) -> None:
        self.spent += cost
        if self._limit is not None and self.spent > self._limit:
            raise TooDenseError(
                f"it would take more than {self._limit} bytes of memory, which is too much for a file of its size. "
                "A compressed file that you trust can be read when it is expanded (gunzip, unzstd)"
            )

    def _scan(self, data: bytes, at: int, end: int, depth: int) -> int:
        containers = deepest = 0
        while at < end:
            cost = 0
            stop = min(end, at + _AT_ONCE)
            while at < stop:
                first = data[at]
                length = _LENGTHS[first]
                if length:
                    at += length
                    cost += _COSTS[first]
                elif first in _EXTENSIONS:
                    width = _EXTENSIONS[first]
                    start = at + 2 + width
                    size = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else 1 << (first - 0xD4)
                    at = start + size
                    code = data[start - 1] if start <= end else 0
                    deepest = max(deepest, self._extension(data, code, start, min(at, end), depth))
                elif first not in _HEADED:
                    run = _SMALL.match(data, at, end)
                    if run is None:  # No object begins so; whoever builds it says that.
                        at = end
                        break
                    at = run.end()
                    cost += _STEP
                else:
                    width = _HEADED[first]
                    behind = at + 1 + width
                    count = int.from_bytes(data[at + 1 : behind], "big")
                    at = behind
                    if first >= 0xDE:
                        cost += _map(count) + _CONTAINER
                    elif first >= 0xDC:
                        cost += _array(count) + _CONTAINER
                    else:
                        at += count
                        cost += _text(data[behind : min(at, end)]) if first >= 0xD9 else _BYTES_OBJECT + count
            containers += cost >> _CONTAINER_BIT
            self._add(cost & _COST_BITS)
        return containers + deepest

    def _extension(self, data: bytes, code: int, start: int, end: int, depth: int) -> int:
        self._add(_of_extension(code, data, start, end))
        if code in _ZONED:
            self._add(_of_new_zone(data[start:end], self._zones))
        if code in _OF_MSGPACK and depth < _DEEPEST:
            return 1 + self._scan(data, start, end, depth + 1)
        return 0


class OwnCosts:
    """Adds up a bound of what one object costs, while a writer packs it. Serves one thread.

    The extension types are added one by one; what values stand in a tuple, a set or an error is left to `at_most`.
    """

    __slots__ = ("_zones", "known", "spent")

    def __init__(self) -> None:
        self.spent: int = 0
        """Bytes, up to now."""
        self.known: bool = False
        """Whether all of the object was added."""
        self._zones: set[bytes] = set()

    def add(self, code: int, payload: bytes) -> None:
        """Add one value of an extension type."""
        self.spent += _of_extension(code, payload, 0, len(payload)) + _WITHIN.get(code, 0)
        if code == _HEADERS:
            self.spent += (_BYTES_OBJECT + _ITEM) * _count(payload, 0, len(payload))
        if code in _ZONED:
            self.spent += _of_new_zone(payload, self._zones)

    def add_headers(self, items: int, size: int) -> None:
        """The same as `add` for headers of so many names and values, of which the payload has ``size`` bytes."""
        self.spent += _OF_HEADERS + _OF_HEADER_BYTE * size + _OF_HEADER_ITEM * items

    def add_tuples(self, number: int, items: int, size: int) -> None:
        """The same for so many tuples, which have so many items in all, and so many bytes as their payloads."""
        self.spent += _OF_TUPLE[0] * number + _OF_TUPLE[1] * size + _OF_TUPLE[2] * items

    def add_datetime(self, zone: object, payload: bytes) -> None:
        """The same for one time; of its zone it is told what stands in the payload, None where that has none."""
        self.spent += _OF_DATETIME + _OF_DATETIME_BYTE * len(payload)
        if type(zone) is str:
            self.spent += _of_new_zone(payload, self._zones)

    def add_surveyed(self, items: int, containers: int, pairs: int, size: int, costs: int) -> None:
        """Add an object, all of which is known now.

        Args:
            items: See `at_most`, as for the next three.
            containers: How many of them are containers.
            pairs: How many pairs its maps have.
            size: How many bytes it has.
            costs: Those of its extension types.
        """
        self.spent += at_most(items, containers, pairs, size) + costs
        self.known = True

    def clear(self) -> None:
        """Begin with another object."""
        self.spent = 0
        self.known = False
        if self._zones:
            self._zones.clear()


def at_most(items: int, containers: int, pairs: int, size: int) -> int:
    """A bound of what `Account.charge` adds for an object, without its extension types (`OwnCosts`).

    Args:
        items: How many values stand in its containers, the keys of maps and the containers among them.
        containers: How many of them are containers.
        pairs: How many pairs its maps have, all together.
        size: How many bytes the packed object has.
    """
    return (_TEXT_OBJECT + _ITEM) * items + _MAP * containers + _PAIR * pairs + _WIDEST * size


_CONTAINER_BIT: Final = 64
_CONTAINER: Final = 1 << _CONTAINER_BIT
_COST_BITS: Final = _CONTAINER - 1
"""Containers with items are counted in the bits above those of the costs, as that takes no time of its own."""
_STEP: Final = 56
"""The least that a step of the scan is charged, so that its time is bounded as well."""
_AT_ONCE: Final = 1 << 16
_BYTES_OBJECT: Final = 64
_TEXT_OBJECT: Final = 88
_ZONE_OBJECT: Final = 8 << 10
_MAP: Final = 240
_PAIR: Final = 128
_ITEM: Final = 8
_WIDEST: Final = 4
"""How many bytes a byte of text costs at most."""
_DEEPEST: Final = 128
"""Deeper than what is decoded."""

_SMALL: Final = re.compile(rb"[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]+")
"""Objects of one byte, of which Python has one for all: they cost their place in a container."""
_HEADED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""How many bytes the length or count has that follows the first byte of a long object."""
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4, **dict.fromkeys(range(0xD4, 0xD9), 0)}
"""The same of extension types; none where the first byte has it in it."""


def _map(count: int) -> int:
    # A dictionary grows by steps; while it does, its old and its new table are there.
    return 64 if not count else _MAP + _PAIR * count


def _array(count: int) -> int:
    return 64 + _ITEM * count


_FIXED: Final = {
    **dict.fromkeys((0xCC, 0xD0), (2, _STEP)),
    **dict.fromkeys((0xCD, 0xD1), (3, _STEP)),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), (5, _STEP)),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), (9, _STEP)),
    **{0x80 + count: (1, _map(count) + (_CONTAINER if count else 0)) for count in range(16)},
    **{0x90 + count: (1, _array(count) + (_CONTAINER if count else 0)) for count in range(16)},
    **{0xA0 + size: (1 + size, _STEP if size < 2 else _TEXT_OBJECT + 2 * size) for size in range(32)},
}
_LENGTHS: Final = [_FIXED.get(first, (0, 0))[0] for first in range(256)]
_COSTS: Final = [_FIXED.get(first, (0, 0))[1] for first in range(256)]
"""How far it is from the first byte of an object to the next one, and what it costs, where that byte tells."""


_LONGEST_BOUNDED: Final = 1 << 16
"""How long the objects are at most of which a bound is made. In a longer one, the tokens of a body or of many rows
are few for its length, and the bytes that are no tokens are many."""
_LONGEST_COVERED: Final = 1 << 13
"""The same of whole streams. Of a longer one, somebody may want the header only."""
_NO_TOKENS: Final = bytes({*range(0x80), 0xC0, 0xC2, 0xC3, *range(0xE0, 0x100)})
"""The bytes that begin an object of one byte, and most bytes of text: a run of them is one step of the scan."""
_SCALARS: Final = bytes({*range(0xA0, 0xC0), *range(0xC4, 0xC7), *range(0xCA, 0xD4), *range(0xD9, 0xDC)})
_SHORT_CONTAINERS: Final = bytes(range(0x80, 0xA0))
_NO_CONTAINERS: Final = _NO_TOKENS + _SCALARS
_LOOSEST: Final = 64
"""How much a byte may cost by a bound that is of use. Bytes of numbers may look like very long containers."""
_MOST_MARKS: Final = 64
"""How many bytes that may begin an extension or a long container are looked at one by one."""
_OF_A_SCALAR: Final = _STEP + _TEXT_OBJECT
"""What one costs at most beside its bytes, with the step for the run of small objects that may follow it."""
_OF_A_CONTAINER: Final = [_STEP + (_COSTS[first] & _COST_BITS or _map(0)) for first in range(256)]


def _bound(data: bytes) -> tuple[int, int] | None:
    """A bound of what the scan of an object would add, and of its levels; None where the scan is as quick.

    Each byte is counted as if it began an object, wherever it stands. Nearly all of it runs at the speed of C.
    """
    tokens = data.translate(None, _NO_TOKENS)
    containers = tokens.translate(None, _SCALARS)
    marks = containers.translate(None, _SHORT_CONTAINERS)
    if len(marks) > _MOST_MARKS:
        return None
    cost = _STEP + _OF_A_SCALAR * (len(tokens) - len(containers)) + _WIDEST * len(data)
    cost += sum(map(_OF_A_CONTAINER.__getitem__, containers))
    counted: list[int] = []
    payloads: list[tuple[int, int]] = []
    for first in {*marks}:
        at = data.find(first)
        while at >= 0:
            if first in _EXTENSIONS:
                width = _EXTENSIONS[first]
                start = at + 2 + width
                size = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else 1 << (first - 0xD4)
                if start + size <= len(data):  # Lengths were checked, so that it is no extension otherwise.
                    cost += _of_extension(data[start - 1], data, start, start + size)
                    cost += _ZONE_OBJECT if data[start - 1] in _ZONED else 0
                    if data[start - 1] in _OF_MSGPACK:
                        payloads.append((start, start + size))
            elif first in _HEADED:
                counted.append(at)
            at = data.find(first, at + 1)
    for at in counted:
        first = data[at]
        count = int.from_bytes(data[at + 1 : at + 1 + _HEADED[first]], "big")
        # In the payload of an extension, nobody has checked yet whether so many items are there.
        if count <= len(data) - at or any(start <= at < end for start, end in payloads):
            cost += _map(count) if first >= 0xDE else _array(count)
    return cost, len(containers)


def most_levels(data: bytes) -> int:
    """How many containers may stand within one another in an object, at most."""
    return len(data.translate(None, _NO_CONTAINERS))


def _text(data: bytes) -> int:
    if data.isascii():
        return _TEXT_OBJECT + len(data)
    widest = max(data)
    return _TEXT_OBJECT + len(data) * (1 if widest < 0xC4 else 2 if widest < 0xF0 else 4)


_OTHER: Final = (_STEP, 4, 0)
_OF_CODE: Final = {
    1: (160, 1, 0),
    2: (160, 4, 8),
    3: (240, 4, 96),
    4: (240, 4, 96),
    5: (160, 1, 0),
    6: (240, 4, 0),
    7: (160, 4, 0),
    8: (240, 4, 0),
    9: (160, 4, 0),
    10: (160, 1, 0),
    11: (160, 4, 0),
    12: (160, 4, 0),
    13: (480, 4, 0),
    14: (480, 4, 0),
    15: (800, 4, 0),
    16: (800, 4, 0),
    17: (160, 1, 0),
    18: (160, 2, 0),
    19: (360, 2, 0),
    20: (160, 4, 0),
    21: (_TEXT_OBJECT, 4, 0),
    22: (360, 4, 130),
    23: (480, 4, 0),
    24: (360, 16, 0),
}
"""What an extension type costs beside the objects that stand in it: for itself, for each byte of its payload (which
is copied and checked), and for each item of the array in it. Those that take long to make cost more than their
memory. See `timetracer_otel.cassette.extensions`."""
_OF_MSGPACK: Final = frozenset({2, 3, 4, 6, 8, 9, 20, 22, 23})
_DATETIME: Final = 6
_ZONED: Final = frozenset({_DATETIME, 8})
_HEADERS: Final = 22
_WITHIN: Final = {_DATETIME: 512, 8: 512, 9: 320, 20: 320, _HEADERS: 64}
"""A bound of what stands in the payload, of those that hold a few values of which a `Survey` does not know."""


_OF_TUPLE: Final = _OF_CODE[2]
_OF_DATETIME: Final = _OF_CODE[_DATETIME][0] + _WITHIN[_DATETIME]
_OF_DATETIME_BYTE: Final = _OF_CODE[_DATETIME][1]
_OF_HEADERS: Final = _OF_CODE[_HEADERS][0] + _WITHIN[_HEADERS]
_OF_HEADER_BYTE: Final = _OF_CODE[_HEADERS][1]
_OF_HEADER_ITEM: Final = _OF_CODE[_HEADERS][2] + _BYTES_OBJECT + _ITEM


def _of_extension(code: int, data: bytes, start: int, end: int) -> int:
    base, each_byte, each_item = _OF_CODE.get(code, _OTHER)
    items = _count(data, start, end) if each_item else 0
    return base + each_byte * max(0, end - start) + each_item * items


def _of_new_zone(payload: bytes, known: set[bytes]) -> int:
    """What the zone of a time costs, which is none of the known ones; it is one of them from now on."""
    zone = _zone(payload)
    if zone is None or zone in known:
        return 0
    known.add(zone)
    return _ZONE_OBJECT


def _count(data: bytes, start: int, end: int) -> int:
    """How many items an array claims to have, where one begins here."""
    first = data[start] if start < end else 0
    if 0x90 <= first < 0xA0:
        return first & 0x0F
    return int.from_bytes(data[start + 1 : start + 1 + _HEADED[first]], "big") if first in (0xDC, 0xDD) else 0


def _zone(payload: bytes) -> bytes | None:
    """The second item of the array that a time is, where that is text: a table of many times is loaded for it."""
    at = 1
    if payload[:1] not in (b"\x92", b"\x93"):
        return None
    first = payload[at] if at < len(payload) else 0
    if 0xA0 <= first < 0xC0:
        at += 1 + (first & 0x1F)
    elif first == 0xD9 and at + 1 < len(payload):
        at += 2 + payload[at + 1]
    else:
        at = len(payload)
    second = payload[at] if at < len(payload) else 0
    return payload[at:] if 0xA0 <= second < 0xC0 or second in (0xD9, 0xDA, 0xDB) else None
