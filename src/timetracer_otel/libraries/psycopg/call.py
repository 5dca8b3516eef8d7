"""What psycopg tells the kit about a call: the server that a connection goes to, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timetracer_otel.libraries.kits.dbapi.drivers.psycopg import libpq_address
from timetracer_otel.libraries.kits.dbapi.target import StatementFacts, Target

__all__ = ["LIB", "ServerTarget", "statuses_of"]

LIB = "psycopg"
_ON_SERVER = StatementFacts(on_server=True)
_STATUSES = (
    *("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes"),
    *("standard_conforming_strings", "IntervalStyle", "application_name", "is_superuser", "session_authorization"),
)
_ASKED = tuple((name, name.encode()) for name in _STATUSES)


def statuses_of(pgconn: Any) -> dict[str, bytes | None]:
    """What the server says of its parameters to one connection."""
    ask = pgconn.parameter_status
    return {name: ask(asked) for name, asked in _ASKED}


class ServerTarget(Target):
    """A database of PostgreSQL, over one connection.

    Args:
        psycopg: The module.
        parameters: Of the connection, as libpq has them.
    """

    def __init__(self, psycopg: Any, parameters: Mapping[str, Any]) -> None:
        database = str(parameters.get("dbname") or "")
        host = str(parameters.get("host") or parameters.get("hostaddr") or "")
        # The folder of a socket differs from machine to machine.
        super().__init__(LIB, f"postgresql://{'' if host.startswith('/') else host}/{database}", psycopg, database)
        self._address = libpq_address(parameters)
        self._facts: dict[str, Any] | None = None

    @property
    def address(self) -> str | None:
        """Host and port, or the file of the socket."""
        return f"{'unix' if self._address.startswith('/') else 'postgresql'}://{self._address}"

    @staticmethod
    def state_of(connection: Any) -> int | None:
        """The status of its transaction; None for the twin of a stand-in, which knows none."""
        pgconn = connection if getattr(connection, "is_stand_in", False) else getattr(connection, "pgconn", None)
        found: Any = getattr(pgconn, "transaction_status", None)
        return None if found is None else int(found)

    def statement_facts(self, context: Any) -> StatementFacts:
        """Whether the rows stay on the server."""
        return _ON_SERVER if context else StatementFacts()

    def facts(self) -> dict[str, Any] | None:
        """What the connection was told, for the first event of one that was opened before the recording."""
        return self._facts

    def first_facts(self) -> dict[str, Any] | None:
        """What the connection was told when it was opened."""
        return self._facts

    def process_of(self, connection: Any) -> int | None:
        """As libpq has it: apps cancel or end another connection's process by it."""
        # A replay that adds calls gives what answers, and opens a real one behind that.
        real = getattr(connection, "real", None)
        return int((connection if real is None else real.connection).pgconn.backend_pid)

    def connected(self, connection: Any) -> None:
        """Keep what libpq knows of the server by now."""
        told = connection.pgconn
        self._facts = {
            "server_version": told.server_version,
            "backend_pid": told.backend_pid,
            **{name: bytes(getattr(told, name) or b"") for name in ("user", "db", "host", "hostaddr", "port")},
            "statuses": statuses_of(told),
        }
