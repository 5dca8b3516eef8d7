"""Values of drivers as plain data, and back: what a row holds besides the types that a cassette knows."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from timetracer_otel.constants import DRIVER_TYPE as _TYPE
from timetracer_otel.constants import DRIVER_VALUE as _VALUE

__all__ = ["PLAIN", "plain", "plain_parameter", "plain_row", "restored", "restored_row"]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types that need no look and no copy."""

_GEOMETRIC: Final = ("Point", "Box", "Line", "LineSegment", "Path", "Polygon", "Circle")


def plain_row(row: Any) -> tuple[Any, ...]:
    """A fetched row as a tuple that later changes by the app do not reach."""
    items = tuple(row)
    if PLAIN.issuperset(map(type, items)):
        return items
    return tuple(map(plain, items))


def plain(value: Any) -> Any:
    """A value as plain data: containers copied, a driver's own types as maps that name them.

    What has no such form comes back as it is; encoding it later says what it was.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list or kind is tuple:
        return kind(map(plain, value))
    if kind is dict:
        if _TYPE in value:
            return {_TYPE: "dict", _VALUE: [[plain(key), plain(item)] for key, item in value.items()]}
        return {key: plain(item) for key, item in value.items()}
    if kind is memoryview:
        # The driver may reuse the buffer.
        return memoryview(value.tobytes())
    take = _TAKERS.get((kind.__module__, kind.__qualname__))
    if take is not None:
        name, parts = take(value)
        return {_TYPE: name, _VALUE: plain(parts)}
    return value


def restored_row(row: Any) -> tuple[Any, ...]:
    """What `plain_row` made, with the driver's own types again."""
    if PLAIN.issuperset(map(type, row)):
        return tuple(row)
    return tuple(map(restored, row))


def restored(value: Any) -> Any:
    """What `plain` made, with the driver's own types again."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(map(restored, value))
    if kind is not dict:
        return value
    if _TYPE not in value:
        return {key: restored(item) for key, item in value.items()}
    parts = restored(value[_VALUE])
    if value[_TYPE] == "dict":
        return {key: item for key, item in parts}  # noqa: C416 - pairs are lists, which dict() takes as well, unsaid
    return _MAKERS[value[_TYPE]](parts)


def plain_parameter(value: Any) -> Any:
    """A bound value in a form that is compared and shown, and never given to a driver again."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, enum.Enum):
        return f"{kind.__qualname__}.{value.name}"
    if isinstance(value, Mapping):
        return {plain_parameter(key): plain_parameter(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and (kind.__module__, kind.__qualname__) not in _TAKERS:
        return [plain_parameter(item) for item in value]
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    for inner in ("obj", "adapted", "wrapped"):
        # Wrappers around a value: psycopg's Json and Jsonb, psycopg2's Json and Binary.
        if kind.__module__.startswith(("psycopg", "psycopg2")) and hasattr(value, inner):
            return {_TYPE: kind.__qualname__, _VALUE: plain_parameter(getattr(value, inner))}
    taken = plain(value)
    if type(taken) is dict:
        return {_TYPE: taken[_TYPE], _VALUE: plain_parameter(taken[_VALUE])}
    return taken


Taker = Callable[[Any], "tuple[str, Any]"]


def _takers() -> dict[tuple[str, str], Taker]:
    takers: dict[tuple[str, str], Taker] = {
        ("psycopg.types.range", "Range"): lambda v: ("psycopg.Range", [v.lower, v.upper, v._bounds or ""]),
        ("psycopg.types.multirange", "Multirange"): lambda v: ("psycopg.Multirange", list(v)),
        ("asyncpg.pgproto.pgproto", "UUID"): lambda v: ("asyncpg.UUID", str(v)),
        ("asyncpg.types", "Range"): lambda v: (
            "asyncpg.Range",
            [v.lower, v.upper, v.lower_inc, v.upper_inc, v.isempty],
        ),
        ("asyncpg.pgproto.types", "BitString"): lambda v: ("asyncpg.BitString", v.as_string()),
        ("psycopg2.extras", "Inet"): lambda v: ("psycopg2.Inet", v.addr),
    }
    for name in ("NumericRange", "DateRange", "DateTimeRange", "DateTimeTZRange"):
        takers["psycopg2._range", name] = lambda v: (
            f"psycopg2.{type(v).__name__}",
            [v.lower, v.upper, v._bounds or ""],
        )
    for name in _GEOMETRIC:
        takers["asyncpg.pgproto.types", name] = lambda v: (f"asyncpg.{type(v).__name__}", _parts(v))
    return takers


def _parts(shape: Any) -> list[Any]:
    kind = type(shape).__name__
    if kind == "Path":
        return [bool(shape.is_closed), [tuple(point) for point in shape.points]]
    if kind == "Polygon":
        return [tuple(point) for point in shape.points]
    return [tuple(part) if isinstance(part, tuple) else part for part in shape]


def _made(module: str, name: str, build: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    return lambda parts: build(getattr(importlib.import_module(module), name), parts)


def _range(cls: Any, parts: Any) -> Any:
    lower, upper, bounds = parts
    return cls(lower, upper, bounds) if bounds else cls(empty=True)


def _makers() -> dict[str, Callable[[Any], Any]]:
    makers = {
        "psycopg.Range": _made("psycopg.types.range", "Range", _range),
        "psycopg.Multirange": _made("psycopg.types.multirange", "Multirange", lambda cls, parts: cls(parts)),
        "asyncpg.UUID": _made("asyncpg.pgproto.pgproto", "UUID", lambda cls, parts: cls(parts)),
        "asyncpg.Range": _made(
            "asyncpg",
            "Range",
            lambda cls, p: cls(empty=True) if p[4] else cls(p[0], p[1], lower_inc=p[2], upper_inc=p[3]),
        ),
        "asyncpg.BitString": _made("asyncpg", "BitString", lambda cls, parts: cls(parts)),
        "psycopg2.Inet": _made("psycopg2.extras", "Inet", lambda cls, parts: cls(parts)),
        "asyncpg.Path": _made("asyncpg", "Path", lambda cls, parts: cls(*parts[1], is_closed=parts[0])),
    }
    for name in ("NumericRange", "DateRange", "DateTimeRange", "DateTimeTZRange"):
        makers[f"psycopg2.{name}"] = _made("psycopg2.extras", name, _range)
    for name in ("Point", "Box", "Line", "LineSegment", "Polygon", "Circle"):
        makers[f"asyncpg.{name}"] = _made("asyncpg", name, lambda cls, parts: cls(*parts))
    return makers


_TAKERS: Final = _takers()
_MAKERS: Final = _makers()
