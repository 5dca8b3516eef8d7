"""A driver's errors as values, and back: with their SQLSTATE and diagnostics, in the driver's own classes."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from timetracer_otel.cassette import rebuild_error as rebuild
from timetracer_otel.cassette import record_error as record
from timetracer_otel.types import RecordedError

__all__ = ["DISCONNECTED", "rebuild_error", "record_error"]

DISCONNECTED = "timetracer_disconnected"
"""Attribute of a recorded error after which the connection was gone."""

_DIAG = "timetracer_diag"
_EXTRA = ("pgcode", "pgerror", "sqlstate", "sqlite_errorcode", "sqlite_errorname")
_DIAG_FIELDS = (
    "column_name",
    "constraint_name",
    "context",
    "datatype_name",
    "internal_position",
    "internal_query",
    "message_detail",
    "message_hint",
    "message_primary",
    "schema_name",
    "severity",
    "severity_nonlocalized",
    "source_file",
    "source_function",
    "source_line",
    "sqlstate",
    "statement_position",
    "table_name",
)
_DRIVERS = frozenset(
    {
        "aiomysql",
        "aiosqlite",
        "asyncmy",
        "asyncpg",
        "mariadb",
        "mysql",
        "MySQLdb",
        "oracledb",
        "pg8000",
        "psycopg",
        "psycopg2",
        "pymysql",
        "pyodbc",
        "sqlalchemy",
    }
)


def record_error(error: BaseException) -> RecordedError:
    """A driver's error, with what lies outside its own dictionary."""
    made = record(error, _EXTRA)
    module = type(error).__module__
    if module.startswith("psycopg2"):
        diag = getattr(error, "diag", None)
        made.attributes[_DIAG] = {name: getattr(diag, name, None) for name in _DIAG_FIELDS}
    elif module.startswith("psycopg") and hasattr(error, "pgresult"):
        # The form in which psycopg itself pickles what the server said: number of the field to its bytes.
        result = error.pgresult
        made.attributes["_info"] = (
            {int(field): result.error_field(field) for field in import_module("psycopg.pq").DiagnosticField}
            if result is not None
            else None
        )
        for name in ("sqlstate", "pgcode", "pgconn", "pgresult"):
            made.attributes.pop(name, None)
        made.attributes.update({"_encoding": getattr(error, "_encoding", "utf-8"), "pgconn": None})
        sqlstate = getattr(error, "sqlstate", None)
        if sqlstate != getattr(type(error), "sqlstate", None):
            made.attributes["sqlstate"] = sqlstate
    return made


def rebuild_error(error: RecordedError, driver: str) -> tuple[BaseException, bool]:
    """The error again, and whether its connection was gone.

    Args:
        error: What was recorded.
        driver: Top-level package of the driver in use.

    Raises:
        CassetteError: It cannot be rebuilt.
    """
    attributes = dict(error.attributes)
    disconnected = bool(attributes.pop(DISCONNECTED, False))
    diag = attributes.pop(_DIAG, None)
    made = rebuild(replace(error, attributes=attributes), _DRIVERS | {driver})
    if diag is not None:
        made = _with_diag(made, diag, attributes)
    return made, disconnected


class Diagnostics:
    """What psycopg2 says of an error in ``diag``; its own class can only be filled by a server."""

    def __init__(self, fields: dict[str, Any]) -> None:
        for name in _DIAG_FIELDS:
            setattr(self, name, fields.get(name))


_WITH_DIAG: dict[type[BaseException], type[BaseException]] = {}


def _with_diag(error: BaseException, fields: dict[str, Any], attributes: dict[str, Any]) -> BaseException:
    """The same error in a class of the same name whose ``diag`` can be read; psycopg2's own is read-only."""
    kind = type(error)
    made = _WITH_DIAG.get(kind)
    if made is None:
        body = {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
            "diag": property(lambda self: self.__dict__.get(_DIAG)),
        }
        made = _WITH_DIAG[kind] = type(kind.__name__, (kind,), body)
    copy = made.__new__(made, *error.args)
    copy.args = error.args
    copy.__cause__, copy.__dict__ = error.__cause__, dict(vars(error))
    copy.__dict__[_DIAG] = Diagnostics(fields)
    # The one way in; what is left out is cleared.
    copy.__setstate__({name: attributes.get(name) for name in ("pgcode", "pgerror")})
    return copy
