"""What stands in the place of a secret value in a row: it tells nothing, and the app's own types still take it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final
from uuid import UUID

from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE, REDACTED

__all__ = ["stand_in"]

_FROM_ZERO: Final = frozenset(
    {int, float, Decimal, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network}
)
_EMPTY: Final = frozenset({list, tuple, dict, set, frozenset})

_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)?([ T]?)(\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(Z|[+-]\d\d(?::?\d\d)?)?")
"""A date, a time or both (ISO 8601), as SQLite keeps them."""
_DIGIT: Final = re.compile(r"\d")
_BITS: Final = re.compile(r"[01 ]+")
_BOUNDS: Final = frozenset({"[)", "(]", "()", "[]", ""})


def stand_in(value: Any) -> Any:
    """A value of the same type that is the same for all values of its kind.

    None and booleans stay. Text whose form an app's type may read (a UUID, a date or a time, a JSON document) has a
    stand-in of that form.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value)
    if kind in (bytes, bytearray, memoryview):
        return kind(REDACTED.encode())
    if kind in _FROM_ZERO:
        return kind(0)
    if kind is UUID:
        return UUID(int=0)
    if kind is datetime:
        return datetime(1970, 1, 1, tzinfo=value.tzinfo)
    if kind is date:
        return date(1970, 1, 1)
    if kind is time:
        return time(tzinfo=value.tzinfo)
    if kind is timedelta:
        return timedelta(0)
    if kind is dict and DRIVER_TYPE in value:
        name = value[DRIVER_TYPE]
        return {DRIVER_TYPE: name, DRIVER_VALUE: [] if name == "dict" else _of_driver(value[DRIVER_VALUE])}
    return kind() if kind in _EMPTY else REDACTED


def _text(value: str) -> str:
    if _UUID.fullmatch(value):
        return re.sub(r"[^-]", "0", value)
    found = _MOMENT.fullmatch(value)
    if found is not None and (found[1] or found[3]):
        day, between, clock, zone = (part or "" for part in found.groups())
        return ("1970-01-01" if day else "") + between + _DIGIT.sub("0", clock) + zone
    if value[:1] in ("{", "["):
        try:
            return "{}" if type(json.loads(value)) is dict else "[]"
        except (ValueError, RecursionError):
            return REDACTED
    return REDACTED


def _of_driver(parts: Any) -> Any:
    """The parts of a value of a driver's own type: as many, since its class asks for that."""
    if type(parts) in (list, tuple):
        return type(parts)(map(_of_driver, parts))
    if type(parts) is str:
        if parts in _BOUNDS:
            return parts
        if _UUID.fullmatch(parts):
            return _text(parts)
        return "0" if _BITS.fullmatch(parts) else str(IPv6Address(0) if ":" in parts else IPv4Address(0))
    return stand_in(parts)
