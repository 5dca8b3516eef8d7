"""What psycopg2 tells the kit about a call: the server that a connection goes to, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timetracer_otel.libraries.kits.dbapi.drivers.psycopg import libpq_address
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import how_many_learned, with_types
from timetracer_otel.libraries.kits.dbapi.target import NO_FACTS, StatementFacts, Target
from timetracer_otel.libraries.psycopg2.peer import Peer

__all__ = ["LIB", "ServerTarget"]

LIB = "psycopg2"
_ON_SERVER = StatementFacts(on_server=True)
_STATUSES = (
    *("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes"),
    *("standard_conforming_strings", "IntervalStyle", "application_name", "is_superuser", "session_authorization"),
)
_SECRET = frozenset({"password", "sslpassword"})


class ServerTarget(Target):
    """A database of PostgreSQL, over one connection.

    Args:
        psycopg2: The module.
        parameters: Of the connection, as libpq has them.
    """

    peer: Peer | None = None
    """The other end of the connection's socket, where it is one of a replay."""
    shown: Callable[[], Any] | None = None
    """Gives that connection."""

    def __init__(self, psycopg2: Any, parameters: Mapping[str, Any]) -> None:
        database = str(parameters.get("dbname") or "")
        host = str(parameters.get("host") or parameters.get("hostaddr") or "")
        # The folder of a socket differs from machine to machine.
        super().__init__(LIB, f"postgresql://{'' if host.startswith('/') else host}/{database}", psycopg2, database)
        self._address = libpq_address(parameters)
        self._facts: dict[str, Any] | None = None
        self._heard: dict[str, list[Any]] = {"notices": [], "notifies": []}

    @property
    def address(self) -> str | None:
        """Host and port, or the file of the socket."""
        return f"{'unix' if self._address.startswith('/') else 'postgresql'}://{self._address}"

    def statement_facts(self, context: Any) -> StatementFacts:
        """Whether the rows stay on the server."""
        return _ON_SERVER if context else NO_FACTS

    def state_of(self, connection: Any) -> list[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Its status, that of its transaction, and the notices and notifications that came since the last time."""
        notices = self._new("notices", connection)
        notified = [[one.pid, one.channel, one.payload] for one in self._new("notifies", connection)]
        return [connection.status, connection.get_transaction_status(), notices, notified]

    def _new(self, name: str, connection: Any) -> list[Any]:
        # psycopg2 appends, and takes the oldest away; apps take some away, too.
        known, now = self._heard[name], list(getattr(connection, name))
        self._heard[name] = now
        if not known:
            return now
        gone = next(
            gone
            for gone in range(len(known) + 1)
            if len(known) - gone <= len(now) and all(map(_same, known[gone:], now))
        )
        return now[len(known) - gone :]

    def first_facts(self) -> dict[str, Any] | None:
        """What the connection was told when it was opened."""
        return self._facts

    def facts(self) -> dict[str, Any] | None:
        """The same, and what was learned about types of the server."""
        return with_types(self._facts, self)

    @property
    def how_many_learned(self) -> int:
        """How many answers about types there are."""
        return how_many_learned(self)

    def connected(self, connection: Any) -> None:
        """Keep what libpq knows of the server by now."""
        info = connection.info
        self._facts = {
            "backend_pid": info.backend_pid,
            "statuses": {name: info.parameter_status(name) for name in _STATUSES},
            **{name: getattr(info, name) for name in ("user", "dbname", "host", "port")},
            "parameters": {name: value for name, value in info.dsn_parameters.items() if name not in _SECRET},
        }


def _same(one: Any, another: Any) -> bool:
    return one is another
