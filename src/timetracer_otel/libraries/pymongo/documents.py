"""Documents of BSON as plain values, and back to the same bytes.

A type that a cassette does not have becomes a map that names it and holds its parts. Times are aware, in UTC.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

import bson
from bson import (
    binary,
    code,
    codec_options,
    datetime_ms,
    decimal128,
    errors,
    int64,
    max_key,
    min_key,
    objectid,
    regex,
)
from bson import timestamp as timestamps

from timetracer_otel.cassette import Unencodable
from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE

__all__ = ["plain_document", "restored_document"]

_AS_STORED: Final = codec_options.CodecOptions(
    dict[str, Any],
    tz_aware=True,
    tzinfo=timezone.utc,
    uuid_representation=binary.UuidRepresentation.UNSPECIFIED,
    datetime_conversion=codec_options.DatetimeConversion.DATETIME_AUTO,
)
_DOCUMENT: Final = "document"
"""The type of a document that has our own key in it, and so could be taken for a value of another type."""
_INT32: Final = range(-(2**31), 2**31)
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, datetime})


def plain_document(data: bytes) -> dict[str, Any]:
    """A document as plain values.

    Raises:
        Unencodable: Its bytes would not be the same again. A document may have a key twice, or a type of before
            MongoDB 3.
    """
    try:
        document = bson.decode(data, _AS_STORED)
    except errors.InvalidBSON as reason:
        raise Unencodable(f"a BSON document that cannot be read: {reason}") from reason
    if bson.encode(document, codec_options=_AS_STORED) != data:
        raise Unencodable("a BSON document that has a key twice, or values of a type that is no longer used")
    return {key: value if type(value) in _PLAIN else _plain(value) for key, value in document.items()}


def restored_document(plain: Mapping[str, Any]) -> bytes:
    """The bytes of a document that `plain_document` was given."""
    return bson.encode({key: _restored(value) for key, value in plain.items()}, codec_options=_AS_STORED)


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        made = {key: _plain(item) for key, item in value.items()}
        return {DRIVER_TYPE: _DOCUMENT, DRIVER_VALUE: list(map(list, made.items()))} if DRIVER_TYPE in made else made
    if kind is list:
        return list(map(_plain, value))
    # Python looks through a range for a number of any other class than its own.
    if kind is int64.Int64 and int(value) not in _INT32:
        # BSON has no other type for such a number.
        return int(value)
    if kind is binary.Binary and value.subtype == binary.UUID_SUBTYPE and len(value) == _UUID_BYTES:
        return uuid.UUID(bytes=bytes(value))
    return {DRIVER_TYPE: kind.__name__, DRIVER_VALUE: _TYPES[kind.__name__][0](value)}


def _restored(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        if DRIVER_TYPE not in value:
            return {key: _restored(item) for key, item in value.items()}
        parts = value[DRIVER_VALUE]
        if value[DRIVER_TYPE] == _DOCUMENT:
            return {key: _restored(item) for key, item in parts}
        return _TYPES[value[DRIVER_TYPE]][1](parts)
    if kind is list or kind is tuple:
        return list(map(_restored, value))
    if kind is uuid.UUID:
        return binary.Binary(value.bytes, binary.UUID_SUBTYPE)
    return value


_UUID_BYTES: Final = 16
_TYPES: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "ObjectId": (str, objectid.ObjectId),
    "Int64": (int, int64.Int64),
    "Decimal128": (
        lambda value: str(value) if decimal128.Decimal128(str(value)) == value else value.bid,
        lambda parts: decimal128.Decimal128.from_bid(parts) if type(parts) is bytes else decimal128.Decimal128(parts),
    ),
    "Binary": (lambda value: [value.subtype, bytes(value)], lambda parts: binary.Binary(parts[1], parts[0])),
    "Regex": (lambda value: [value.pattern, value.flags], lambda parts: regex.Regex(*parts)),
    "Timestamp": (lambda value: [value.time, value.inc], lambda parts: timestamps.Timestamp(*parts)),
    "Code": (
        lambda value: [str(value), None if value.scope is None else _plain(dict(value.scope))],
        lambda parts: code.Code(parts[0], None if parts[1] is None else _restored(parts[1])),
    ),
    "DatetimeMS": (int, datetime_ms.DatetimeMS),
    "DBRef": (lambda value: _plain(dict(value.as_doc())), lambda parts: _restored(parts)),
    "MinKey": (lambda _: None, lambda _: min_key.MinKey()),
    "MaxKey": (lambda _: None, lambda _: max_key.MaxKey()),
}
"""By the name of a type of BSON: what gives its parts as plain values, and what makes a value of them."""
