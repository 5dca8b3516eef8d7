"""Which values can be packed: one walk over a value before msgpack sees it. It looks at types and writes no bytes.

msgpack packs ``bytearray`` and ``memoryview`` as plain bytes, and its own ``ExtType`` under any code, without asking
our hook. So the types must be looked at beforehand. The walk takes the types of a whole container at once
(``set(map(type, items))``), which runs at the speed of C for rows and lists of scalars.
"""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, Final

from timetracer_otel.cassette.zones import are_plain
from timetracer_otel.types import HeaderMap, RecordedError, SentRows

__all__ = ["MAX_DEPTH", "NATIVE", "Survey", "Unencodable", "check_levels", "children"]

MAX_DEPTH: Final = 100
"""How deep containers may stand within containers. A value that holds itself is refused by this limit too."""

_MAX_CONTAINERS: Final = 10_000_000
"""How many containers one value may have. Thirty lists, each of which holds the next one twice, unfold to a billion;
this limit ends the walk."""

NATIVE: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types that msgpack packs by itself, each value of them."""
LOWERED: Final = frozenset({bytearray, memoryview})
"""Types that msgpack packs as ``bytes`` without asking our hook. `codec` lowers them to extension types before."""
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset, RecordedError})
_FIELDS_OF_ERROR: Final = len(tuple(RecordedError.__slots__))
_KNOWN: Final = (
    NATIVE
    | LOWERED
    | _CONTAINERS
    | {
        complex,
        dt.date,
        dt.datetime,
        dt.time,
        dt.timedelta,
        decimal.Decimal,
        HeaderMap,
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
        range,
        SentRows,
        uuid.UUID,
    }
)
_SEQUENCES: Final[frozenset[type]] = frozenset({list, tuple})
_MOST_AT_ONCE: Final = 1 << 20
"""Of how many values there is a list for a moment, beside the value itself."""
_TEXT_KEYS: Final[frozenset[type]] = frozenset({str})
_DOUBTFUL: Final[frozenset[type]] = frozenset({dt.datetime, dt.time, memoryview, HeaderMap, RecordedError})
"""Types of which some values have no encoding, such as a time with a zone that has no name."""
_DATETIMES: Final[frozenset[type]] = frozenset({dt.datetime})


class Unencodable(TypeError):  # noqa: N818 - a public name
    """A value has no faithful encoding in a cassette; the text says where it stands in what was packed, and why.

    Attributes:
        reason: Why, without the place.
        where: The place as a subscript (``['rows'][3]``); empty for the packed value itself.
    """

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"value{where}: {reason}" if where else reason)
        self.reason = reason
        self.where = where


class Survey:
    """One walk over a value. It raises `Unencodable` at the first type that cannot be packed."""

    __slots__ = ("containers", "doubtful", "items", "lower", "pairs")

    def __init__(self) -> None:
        self.lower = False
        """True if parts of the value must be converted before msgpack sees it (see `LOWERED`)."""
        self.doubtful = False
        """True if only packing tells whether each part has an encoding."""
        self.items = 0
        """How many values stand in containers, keys of maps and the containers included."""
        self.containers = 0
        self.pairs = 0
        """How many pairs the maps have, all together."""

    def look_at(self, value: Any, room: int) -> None:
        """`look` at one value. It is quick for maps and lists of scalars, of rows, and of such maps and lists."""
        kind = type(value)
        if kind is dict and room > 0 and NATIVE.issuperset(map(type, value)):
            pairs = len(value)
            self.containers += 1
            self.pairs += pairs
            self.items += 1 + 2 * pairs
            if NATIVE.issuperset(map(type, value.values())):
                return
            if self.containers > _MAX_CONTAINERS:
                self._bound()
            for item in value.values():
                if type(item) not in NATIVE:
                    self.look_at(item, room - 1)
            return
        if (kind is list or kind is tuple) and room > 1:
            self.containers += 1
            self.items += 1 + len(value)
            if NATIVE.issuperset(map(type, value)):
                return
            # Rows: what stands in all of them is looked at in one go.
            if _SEQUENCES.issuperset(map(type, value)) and sum(map(len, value)) <= _MOST_AT_ONCE:
                self.containers += len(value)
                if self.containers > _MAX_CONTAINERS:
                    self._bound()
                self.look([*chain.from_iterable(value)], room - 2)
                return
            self.look(value, room - 1)
            return
        self.look((value,), room)

    def look(self, items: Collection[Any], room: int) -> None:
        """Walk over values and all below them, ``room`` levels deep.

        Raises:
            Unencodable: A type is not one of the format's, or the levels do not suffice.
        """
        self.items += len(items)
        if NATIVE.issuperset(map(type, items)):
            return
        kinds = set(map(type, items))
        if not kinds <= _KNOWN:
            raise Unencodable(_stranger(min(kinds - _KNOWN, key=lambda kind: kind.__qualname__)))
        if not kinds.isdisjoint(LOWERED):
            self.lower = True
        if not kinds.isdisjoint(_DOUBTFUL) and not self.doubtful:
            # Times in rows are many, and their zones are few.
            times = [item for item in items if type(item) is dt.datetime]
            self.doubtful = not kinds & _DOUBTFUL <= _DATETIMES or not are_plain(times)
        if kinds.isdisjoint(_CONTAINERS):
            return
        if room <= 0:
            raise Unencodable(f"nested deeper than {MAX_DEPTH} levels, or it holds itself")
        if kinds <= _SEQUENCES and len(items) > 1 and sum(map(len, items)) <= _MOST_AT_ONCE:
            # Rows: what stands in all of them is looked at in one go.
            self.containers += len(items)
            self._bound()
            self.look([*chain.from_iterable(items)], room - 1)
            return
        for item in items:
            kind = type(item)
            if kind in _CONTAINERS:
                self.containers += 1
                if kind is dict:
                    self.pairs += len(item)
                    if item and frozenset(map(type, item)) != _TEXT_KEYS:
                        self.look(item, room - 1)
                    else:
                        self.items += len(item)
                    self.look(item.values(), room - 1)
                elif kind is RecordedError:
                    # It is packed as a map.
                    self.pairs += _FIELDS_OF_ERROR
                    self.items += _FIELDS_OF_ERROR
                    self.look([part for _, part in children(item)], room - 1)
                else:
                    self.look(item, room - 1)
        self._bound()

    def _bound(self) -> None:
        if self.containers > _MAX_CONTAINERS:
            raise Unencodable(f"more than {_MAX_CONTAINERS} containers")


def check_levels(value: Any, most: int) -> None:
    """Refuse a value whose containers nest deeper, without going down it by recursion.

    Raises:
        ValueError: They do.
    """
    level = [value]
    for _ in range(most):
        level = [
            part
            for item in level
            if type(item) in _CONTAINERS or type(item) is HeaderMap
            for part in _parts(item)
            if type(part) in _CONTAINERS
        ]
        if not level:
            return
    raise ValueError(f"containers nested deeper than {most} levels")


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif type(value) is RecordedError:
        yield from (value.args, value.attributes, value.cause)
    else:
        yield from value


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a container, each with its place as a subscript or an attribute."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            yield f".keys()[{_short(key)}]", key
            yield f"[{_short(key)}]", item
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif kind is set or kind is frozenset:
        for item in value:
            yield f"{{{_short(item)}}}", item
    elif kind is RecordedError:
        for name in RecordedError.__slots__:
            yield f".{name}", getattr(value, name)


def _short(key: Any) -> str:
    text = repr(key) if type(key) in NATIVE else f"<{type(key).__qualname__}>"
    return text if len(text) <= 40 else f"{text[:37]}…"


def _stranger(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    for base in kind.__mro__[1:]:
        if base in _KNOWN:
            return f"{name} is a subclass of {base.__name__}, and would come back as plain {base.__name__}"
    return f"{name} has no encoding"
