"""How libpq quotes values for a connection, where a stand-in is in its place."""

from __future__ import annotations

from typing import Any

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import Done, guarded
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.session import BaseSession

__all__ = ["escaping"]


class _Escaping(ReplayObject):
    """Stands for psycopg's `Escaping`, which quotes by libpq's connection.

    Args:
        stand_in: In the place of that.
    """

    _lib = LIB

    def __init__(self, stand_in: Any) -> None:
        self._is_standard = stand_in.parameter_status(b"standard_conforming_strings") != b"off"

    def escape_literal(self, data: Any) -> bytes:
        """A string, with its quotes (``PQescapeLiteral``)."""
        made = bytes(data).replace(b"'", b"''")
        return b" E'%b'" % made.replace(b"\\", b"\\\\") if b"\\" in made else b"'%b'" % made

    def escape_identifier(self, data: Any) -> bytes:
        """A name, with its quotes (``PQescapeIdentifier``)."""
        return b'"%b"' % bytes(data).replace(b'"', b'""')

    def escape_string(self, data: Any) -> bytes:
        """A string, without its quotes (``PQescapeStringConn``)."""
        made = bytes(data).replace(b"'", b"''")
        return made if self._is_standard else made.replace(b"\\", b"\\\\")

    def escape_bytea(self, data: Any) -> bytes:
        """Bytes, without quotes (``PQescapeByteaConn``)."""
        return (b"\\x" if self._is_standard else b"\\\\x") + bytes(data).hex().encode()


def escaping(original: Function) -> Function:
    """Something asks for what quotes values by a connection."""

    def begin(_: BaseSession | None, conn: Any = None) -> Done | None:
        return Done(_Escaping(conn)) if getattr(conn, "is_stand_in", False) else None

    return guarded(LIB, original, begin, outside=True)
