"""What an app sees of a database, as plain values that can be compared: values with their types, rows, errors."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg2.extensions import Diagnostics  # type: ignore[import-untyped,unused-ignore]
from sqlalchemy.engine import Row

__all__ = ["attempt", "seen"]

_DIAGNOSTICS = (psycopg.errors.Diagnostic, Diagnostics)
_SCALARS = (type(None), bool, int, str, bytes)


def seen(value: Any) -> Any:
    """A value with the types of all its parts."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {str(seen(key)): seen(item) for key, item in value.items()}
    if isinstance(value, Row):
        return ["row", list(value._fields), [seen(item) for item in value]]
    if kind in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return [_name(kind) if kind not in (list, tuple) else kind.__name__, *map(seen, value)]
    if kind in (set, frozenset):
        return [kind.__name__, *sorted(map(repr, value))]
    if kind is memoryview:
        return ["memoryview", bytes(value)]
    if isinstance(value, BaseException):
        return _seen_error(value)
    if hasattr(value, "all") and hasattr(value, "keys"):
        return seen(list(value))
    return f"{_name(kind)}: {value!r}"


def attempt(function: Any, *args: Any) -> Any:
    """What a function returns, or what it raises."""
    try:
        return seen(function(*args))
    except Exception as error:
        return _seen_error(error)


_OF_DRIVERS = (
    "pgcode",
    "sqlstate",
    "pgerror",
    "sqlite_errorcode",
    "sqlite_errorname",
    "constraint_name",
    "table_name",
)
_OF_DIAG = (
    "constraint_name",
    "table_name",
    "column_name",
    "message_primary",
    "message_detail",
    "severity",
    "sqlstate",
)


def _seen_error(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {
        "class": _name(type(error)),
        "text": str(error),
        "args": [repr(arg) for arg in error.args],
        "suppresses its context": error.__suppress_context__,
        "has": sorted(name for name in dir(error) if not name.startswith("_") and hasattr(error, name)),
    }
    for name in ("statement", "params", "connection_invalidated", "code", "hide_parameters"):
        if hasattr(error, name):
            found[name] = repr(getattr(error, name))
    for name in _OF_DRIVERS:
        if hasattr(error, name):
            found[name] = getattr(error, name)
    if hasattr(error, "diag"):
        found["diag is"] = isinstance(error.diag, _DIAGNOSTICS)
        found["diag"] = {name: getattr(error.diag, name) for name in _OF_DIAG}
    for name in ("orig", "__cause__"):
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException):
            found[name] = _seen_error(inner)
    return found


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
