"""Equality that looks at exact types, at every level, and at what ``==`` passes over."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import struct
from decimal import Decimal
from typing import Any

from timetracer_otel.types import HeaderMap


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal, with equal types, zones, folds, orders of keys and kinds of zero."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is float:
        return struct.pack(">d", left) == struct.pack(">d", right) or (math.isnan(left) and math.isnan(right))
    if kind is complex:
        return same(left.real, right.real) and same(left.imag, right.imag)
    if kind is Decimal:
        return bool(left.as_tuple() == right.as_tuple())
    if kind in (list, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if kind is dict:
        return same(list(left.items()), list(right.items()))
    if kind in (set, frozenset):
        rest = list(right)
        for item in left:
            found = next((other for other in rest if same(item, other)), rest)
            if found is rest:
                return False
            rest = [other for other in rest if other is not found]
        return not rest
    if kind in (dt.datetime, dt.time):
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.fold == right.fold
            and _zone(left.tzinfo) == _zone(right.tzinfo)
        )
    if kind is HeaderMap:
        return bool(left.pairs == right.pairs) and dict(left) == dict(right)
    if kind is memoryview:
        return bool(left == right) and left.readonly == right.readonly
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in dataclasses.fields(left))
    return bool(left == right)


def _zone(zone: dt.tzinfo | None) -> object:
    return type(zone), str(zone), zone.utcoffset(None) if isinstance(zone, dt.timezone) else None
