"""Statements put together with ``psycopg2.sql``, as text: psycopg2 itself needs a connection for that.

A replay has none, so both sides use this text, which is for matching and showing. Identifiers are as libpq quotes
them; literals are as they can be read.
"""

from __future__ import annotations

from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.values import plain_parameter

__all__ = ["composed_text", "is_composed", "quoted_identifier"]

_MODULE: Final = "psycopg2.sql"


def is_composed(statement: Any) -> bool:
    """Whether a statement is an object of ``psycopg2.sql``."""
    return type(statement).__module__ == _MODULE


def composed_text(statement: Any) -> str:
    """The text of such an object."""
    kind = type(statement).__name__
    if kind == "Composed":
        return "".join(map(composed_text, statement.seq))
    if kind == "Identifier":
        return ".".join(map(quoted_identifier, statement.strings))
    if kind == "Literal":
        return _literal(plain_parameter(statement.wrapped))
    return str(statement.as_string(None))


def quoted_identifier(name: str) -> str:
    """A name in quotes, as SQL has it and ``PQescapeIdentifier`` of libpq makes it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) in (bool, int, float):
        return str(value)
    if type(value) is list:
        return f"ARRAY[{', '.join(map(_literal, value))}]"
    text = value.hex() if type(value) is bytes else str(value)
    return "'" + text.replace("'", "''") + "'"
