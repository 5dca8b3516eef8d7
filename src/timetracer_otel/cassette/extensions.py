"""The extension types: one row each, with the code that stands in the file. Specified in docs/cassette-format.md.

A code keeps its meaning in every later version of the format. A new code needs a new format version.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from operator import eq
from typing import Any, Final, NamedTuple, cast
from zoneinfo import ZoneInfo

from timetracer_otel.cassette.scan import Unencodable
from timetracer_otel.cassette.sent_rows import decode_sent, encode_sent
from timetracer_otel.cassette.zones import ZONE_KEY, plain_zone
from timetracer_otel.types import HeaderMap, HeaderPairs, RecordedError, SentRows

__all__ = [
    "EXTENSIONS",
    "DATETIME_CODE",
    "HEADERS_CODE",
    "TUPLE_CODE",
    "Extension",
    "Pack",
    "Unpack",
    "check_hashes",
    "clock_items_of",
    "escaped_text",
    "header_parts_of",
]

Pack = Callable[[Any], bytes]
"""Packs a part of a payload."""
Unpack = Callable[[bytes], Any]
"""Unpacks a payload that is itself msgpack, one level deeper."""


class Extension(NamedTuple):
    """How one Python type stands in the file."""

    code: int
    kind: type
    encode: Callable[[Any, Pack], bytes]
    decode: Callable[[bytes, Unpack], Any]
    """Raises ValueError, TypeError, ArithmeticError, LookupError or OSError where the payload is not of this type."""


_LONGEST_INT: Final = 1785
"""Bytes of the longest whole number. Python prints no longer one (`sys.set_int_max_str_digits`, 4300 digits)."""


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(f"not the payload of {what}")


def _array(payload: bytes, unpack: Unpack, what: str) -> list[Any]:
    items = unpack(payload)
    _require(type(items) is list, what)
    return items  # type: ignore[no-any-return]


def _integers(payload: bytes, unpack: Unpack, what: str) -> list[int]:
    items = _array(payload, unpack, what)
    _require(len(items) == 3 and all(type(item) is int for item in items), what)
    return items


def _encode_int(value: int, _: Pack) -> bytes:
    size = value.bit_length() // 8 + 1
    if size > _LONGEST_INT:
        raise Unencodable(f"a whole number of {size} bytes has no encoding")
    return value.to_bytes(size, "big", signed=True)


def _decode_int(payload: bytes, _: Unpack) -> int:
    _require(len(payload) <= _LONGEST_INT, f"a whole number: it has more than {_LONGEST_INT} bytes")
    return int.from_bytes(payload, "big", signed=True)


_WITHOUT_TOTAL_ORDER: Final = frozenset({frozenset, tuple})
"""Types of items that ``sorted`` takes, and leaves in any order: sets are less than others if these hold them, and a
tuple may have a set in it."""


def _encode_set(value: set[Any] | frozenset[Any], pack: Pack) -> bytes:
    if not _WITHOUT_TOTAL_ORDER.isdisjoint(map(type, value)):
        return pack(sorted(value, key=pack))
    try:
        items = sorted(value)
    except (TypeError, ArithmeticError):  # The items have no order; Decimal("NaN") raises when it is compared.
        items = sorted(value, key=pack)
    return pack(items)


_MOST_OF_ONE_HASH: Final = 32
"""How many keys of one hash a map or a set may have: a search among them takes as many steps. Text and bytes have
hashes that nobody can foretell. Those of numbers, and of what is made of numbers, are the same in every process."""
_KEYED: Final[frozenset[type]] = frozenset({str, bytes})


def check_hashes(keys: list[Any]) -> None:
    """Refuse keys that were chosen so that a dictionary of them takes for ever to be made.

    Raises:
        ValueError: Many have the same hash.
        TypeError: One cannot be hashed.
    """
    if len(keys) > _MOST_OF_ONE_HASH and not _KEYED.issuperset(map(type, keys)):
        hashes = sorted(map(hash, keys))
        if any(map(eq, hashes, hashes[_MOST_OF_ONE_HASH:])):
            # They may be one key many times, as no writer writes it.
            raise ValueError(f"more than {_MOST_OF_ONE_HASH} keys have the same hash")


def _items_of_set(payload: bytes, unpack: Unpack, what: str) -> list[Any]:
    items = _array(payload, unpack, what)
    check_hashes(items)
    return items


def _encode_zone(zone: dt.tzinfo) -> Any:
    plain = plain_zone(zone)
    if plain is not None:
        return plain
    kind = type(zone)
    raise Unencodable(f"its time zone is a {kind.__module__}.{kind.__qualname__}, no timezone and no named ZoneInfo")


def _decode_zone(zone: Any) -> dt.tzinfo | None:
    if zone is None:
        return None
    if type(zone) is str:
        _require(ZONE_KEY.fullmatch(zone) is not None, "a time zone")
        return ZoneInfo(zone)
    _require(type(zone) is list and len(zone) in (1, 2) and type(zone[0]) is int, "a time zone")
    offset_us, *name = cast("list[Any]", zone)
    return dt.timezone(dt.timedelta(microseconds=offset_us), *name)


def clock_items_of(value: dt.datetime | dt.time) -> list[Any]:
    """What the payload of a time is an array of: values that msgpack packs by itself.

    Raises:
        Unencodable: Its zone has no name.
    """
    items: list[Any] = [value.replace(tzinfo=None).isoformat()]
    if value.tzinfo is not None or value.fold:
        items.append(_encode_zone(value.tzinfo) if value.tzinfo is not None else None)
    if value.fold:
        items.append(1)
    return items


def _encode_clock(value: dt.datetime | dt.time, pack: Pack) -> bytes:
    return pack(clock_items_of(value))


def _clock_decoder(kind: Any, what: str) -> Callable[[bytes, Unpack], Any]:
    def decode(payload: bytes, unpack: Unpack) -> Any:
        items = _array(payload, unpack, what)
        _require(1 <= len(items) <= 3 and type(items[0]) is str, what)
        text, zone, fold = (*items, None, 0)[:3] if len(items) < 3 else items
        value = kind.fromisoformat(text)
        # From Python 3.11 on, fromisoformat takes more forms. The format allows only the one that isoformat writes.
        _require(value.tzinfo is None and value.isoformat() == text, what)
        _require(type(fold or 0) is int and fold in (0, 1, None), what)
        return value.replace(tzinfo=_decode_zone(zone), fold=fold or 0)

    return decode


def _decode_date(payload: bytes, _: Unpack) -> dt.date:
    text = payload.decode("ascii")
    value = dt.date.fromisoformat(text)
    _require(value.isoformat() == text, "a date")
    return value


def _decode_timedelta(payload: bytes, unpack: Unpack) -> dt.timedelta:
    days, seconds, microseconds = _integers(payload, unpack, "a timedelta")
    return dt.timedelta(days, seconds, microseconds)


def _decode_memoryview(payload: bytes, _: Unpack) -> memoryview:
    _require(payload[:1] in (b"\0", b"\1"), "a memoryview")
    return memoryview(bytearray(payload[1:]) if payload[0] else payload[1:])


def _encode_memoryview(value: memoryview, _: Pack) -> bytes:
    if value.format != "B" or value.ndim != 1:
        raise Unencodable("a memoryview of anything but single bytes has no encoding")
    return (b"\0" if value.readonly else b"\1") + value.tobytes()


TUPLE_CODE: Final = 2
DATETIME_CODE: Final = 6
HEADERS_CODE: Final = 22


def header_parts_of(pairs: HeaderPairs) -> list[bytes]:
    """Names and values of headers, in turn.

    Raises:
        Unencodable: They are no bytes.
    """
    flat = [*chain.from_iterable(pairs)]
    if len(flat) != 2 * len(pairs) or not set(map(type, flat)) <= _BYTES:
        raise Unencodable("pairs of a HeaderMap are (bytes, bytes)")
    return flat


_BYTES: Final[frozenset[type]] = frozenset({bytes})


def _encode_headers(value: HeaderMap, pack: Pack) -> bytes:
    return pack(header_parts_of(value.pairs))


def _decode_headers(payload: bytes, unpack: Unpack) -> HeaderMap:
    flat = _array(payload, unpack, "headers")
    _require(len(flat) % 2 == 0 and all(type(part) is bytes for part in flat), "headers")
    return HeaderMap(zip(flat[::2], flat[1::2], strict=True))


def _encode_error(value: RecordedError, pack: Pack) -> bytes:
    if type(value.args) is not tuple or type(value.attributes) is not dict or type(value.enums) is not dict:
        raise Unencodable("args of a RecordedError are a tuple, attributes and enums a dict")
    entries = {
        "class": value.cls,
        "message": value.message,
        "args": list(value.args) or None,
        "attributes": value.attributes or None,
        "cause": value.cause,
        "unfaithful": value.unfaithful,
        "enums": value.enums or None,
    }
    return pack({key: item for key, item in entries.items() if item is not None})


def _decode_error(payload: bytes, unpack: Unpack) -> RecordedError:
    found = unpack(payload)
    _require(type(found) is dict, "an error")
    args, attributes, enums = found.get("args") or [], found.get("attributes") or {}, found.get("enums") or {}
    error = RecordedError(
        cls=found.get("class"),
        message=found.get("message"),
        args=tuple(args),
        attributes=attributes,
        cause=found.get("cause"),
        unfaithful=found.get("unfaithful"),
        enums=enums,
    )
    _require(type(error.cls) is str and type(error.message) is str and type(args) is list, "an error")
    _require(type(attributes) is dict and all(type(name) is str for name in attributes), "an error")
    _require(type(enums) is dict and set(map(type, (*enums, *enums.values()))) <= {str}, "an error")
    _require(type(error.cause) in (RecordedError, type(None)), "an error")
    _require(type(error.unfaithful) in (str, type(None)), "an error")
    return error


def escaped_text(value: str) -> bytes:
    """The payload of text that UTF-8 cannot hold: its code points, surrogates included, in the manner of UTF-8."""
    return value.encode("utf-8", "surrogatepass")


def _encode_text(value: Any, _: Pack) -> bytes:
    return str(value).encode("utf-8")


def _from_text(kind: Callable[[str], Any]) -> Callable[[bytes, Unpack], Any]:
    return lambda payload, _: kind(payload.decode("utf-8"))


EXTENSIONS: Final = (
    Extension(1, int, _encode_int, _decode_int),
    Extension(
        TUPLE_CODE,
        tuple,
        lambda value, pack: pack(list(value)),
        lambda payload, unpack: tuple(_array(payload, unpack, "a tuple")),
    ),
    Extension(3, set, _encode_set, lambda payload, unpack: set(_items_of_set(payload, unpack, "a set"))),
    Extension(
        4,
        frozenset,
        _encode_set,
        lambda payload, unpack: frozenset(_items_of_set(payload, unpack, "a frozenset")),
    ),
    Extension(5, Decimal, _encode_text, _from_text(Decimal)),
    Extension(DATETIME_CODE, dt.datetime, _encode_clock, _clock_decoder(dt.datetime, "a datetime")),
    Extension(7, dt.date, _encode_text, _decode_date),
    Extension(8, dt.time, _encode_clock, _clock_decoder(dt.time, "a time")),
    Extension(
        9,
        dt.timedelta,
        lambda value, pack: pack([value.days, value.seconds, value.microseconds]),
        _decode_timedelta,
    ),
    Extension(10, uuid.UUID, lambda value, _: value.bytes, lambda payload, _: uuid.UUID(bytes=payload)),
    Extension(11, ipaddress.IPv4Address, _encode_text, _from_text(ipaddress.IPv4Address)),
    Extension(12, ipaddress.IPv6Address, _encode_text, _from_text(ipaddress.IPv6Address)),
    Extension(13, ipaddress.IPv4Network, _encode_text, _from_text(ipaddress.IPv4Network)),
    Extension(14, ipaddress.IPv6Network, _encode_text, _from_text(ipaddress.IPv6Network)),
    Extension(15, ipaddress.IPv4Interface, _encode_text, _from_text(ipaddress.IPv4Interface)),
    Extension(16, ipaddress.IPv6Interface, _encode_text, _from_text(ipaddress.IPv6Interface)),
    Extension(
        17,
        complex,
        lambda value, _: struct.pack(">dd", value.real, value.imag),
        lambda payload, _: complex(*struct.unpack(">dd", payload)),
    ),
    Extension(18, bytearray, lambda value, _: bytes(value), lambda payload, _: bytearray(payload)),
    Extension(19, memoryview, _encode_memoryview, _decode_memoryview),
    Extension(
        20,
        range,
        lambda value, pack: pack([value.start, value.stop, value.step]),
        lambda payload, unpack: range(*_integers(payload, unpack, "a range")),
    ),
    Extension(
        21,
        str,
        lambda value, _: escaped_text(value),
        lambda payload, _: payload.decode("utf-8", "surrogatepass"),
    ),
    Extension(HEADERS_CODE, HeaderMap, _encode_headers, _decode_headers),
    Extension(23, RecordedError, _encode_error, _decode_error),
    Extension(24, SentRows, encode_sent, decode_sent),
)
"""Every extension type of format version 1."""
