"""asyncpg: its types of values.

Its connections are not those of PEP 249; a library that adapts them states its own.
"""

from __future__ import annotations

from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.driver import Driver, ValueType

__all__ = ["ASYNCPG"]

_TYPES = "asyncpg.pgproto.types"


def _range_parts(value: Any) -> list[Any]:
    return [value.lower, value.upper, value.lower_inc, value.upper_inc, value.isempty]


def _range(cls: Any, parts: Any) -> Any:
    lower, upper, lower_inc, upper_inc, isempty = parts
    return cls(empty=True) if isempty else cls(lower, upper, lower_inc=lower_inc, upper_inc=upper_inc)


def _points(shape: Any) -> list[Any]:
    return [tuple(part) if isinstance(part, tuple) else part for part in shape]


def _geometric(name: str) -> ValueType:
    # The classes are public in the package itself, and name another module as their own.
    return ValueType(
        f"asyncpg.{name}", (_TYPES, name), parts=_points, build=lambda cls, parts: cls(*parts), module="asyncpg"
    )


ASYNCPG: Final = Driver(
    packages=("asyncpg",),
    value_types=(
        ValueType("asyncpg.UUID", ("asyncpg.pgproto.pgproto", "UUID"), parts=str),
        ValueType("asyncpg.Range", ("asyncpg.types", "Range"), parts=_range_parts, build=_range, module="asyncpg"),
        ValueType(
            "asyncpg.BitString", (_TYPES, "BitString"), parts=lambda value: value.as_string(), module="asyncpg"
        ),
        ValueType(
            "asyncpg.Path",
            (_TYPES, "Path"),
            parts=lambda path: [bool(path.is_closed), [tuple(point) for point in path.points]],
            build=lambda cls, parts: cls(*parts[1], is_closed=parts[0]),
            module="asyncpg",
        ),
        ValueType(
            "asyncpg.Polygon",
            (_TYPES, "Polygon"),
            parts=lambda polygon: [tuple(point) for point in polygon.points],
            build=lambda cls, parts: cls(*parts),
            module="asyncpg",
        ),
        *map(_geometric, ("Point", "Box", "Line", "LineSegment", "Circle")),
    ),
    usual_rows=("asyncpg.protocol.record.Record", "asyncpg.Record"),
    error_attributes=("sqlstate",),
    cursor_attributes={"lastrowid": False},
)
