"""psycopg (3)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from timetracer_otel.base.hosts import address_of_url
from timetracer_otel.calls.guarded_objects import ReplayObject
from timetracer_otel.calls.registry import Connector
from timetracer_otel.libraries.kits.dbapi.call import unrecorded
from timetracer_otel.libraries.kits.dbapi.driver import Driver, ValueType
from timetracer_otel.libraries.kits.dbapi.owners import is_answered
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import (
    ExecutingConnection,
    TwoPhaseConnection,
    passed_on,
)
from timetracer_otel.libraries.kits.dbapi.statements import quoted_identifier
from timetracer_otel.libraries.kits.dbapi.target import Target

__all__ = ["PSYCOPG", "LibpqInfo", "PsycopgConnection", "libpq_address"]

_PORT = 5432


class LibpqInfo(ReplayObject, SimpleNamespace):
    """``connection.info`` of psycopg and psycopg2: what libpq knows about the server."""

    def __init__(self, target: Target, **facts: Any) -> None:
        super().__init__(dbname=target.database, **facts)
        self._target = target
        self._lib = target.lib

    @property
    def server_version(self) -> int:
        """As ``PQserverVersion`` of libpq gives it: 160004 for 16.4.

        0, as without a connection, until it is known.
        """
        major, second, third = (*(self._target.server_version or (0,)), 0, 0)[:3]
        # Before PostgreSQL 10 the first two of three numbers named the major release.
        return major * 10_000 + (second if major >= 10 else second * 100 + third)

    @property
    def host(self) -> str:
        """Where connections go: a host, or the folder of a socket. Empty where nothing names it.

        OpenTelemetry's instrumentation of SQLAlchemy asks for it where the engine's URL has no host.
        """
        return self._address[0]

    @property
    def port(self) -> int:
        """The port, which is also the end of a socket's name."""
        return self._address[1]

    @property
    def _address(self) -> tuple[str, int]:
        address = address_of_url(self._target.address or "")
        if address is None:
            return "", _PORT
        if not address.is_path:
            return address.host, int(address.port or _PORT)
        folder, _, port = address.host.rpartition("/.s.PGSQL.")
        return (folder, int(port)) if port.isdigit() else (address.host, _PORT)


class PsycopgConnection(TwoPhaseConnection, ExecutingConnection):
    """A connection of psycopg."""

    forgets = True
    connection = None
    """psycopg asks a context of adapters for its connection. Without one, texts are UTF-8 and nothing asks libpq."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        from psycopg.adapt import AdaptersMap
        from psycopg.pq import TransactionStatus

        self.adapters = AdaptersMap(target.dbapi.adapters)
        self.read_only: Any = None
        self.deferrable: Any = None
        self.row_factory: Any = None
        self.info = LibpqInfo(target, transaction_status=TransactionStatus.IDLE, encoding="utf-8")

    @property
    def pgconn(self) -> Any:
        """Libpq's own connection, which psycopg needs for quoting (``Composed.as_string(cursor)``): not there."""
        raise unrecorded(self._target, "connection.pgconn")

    add_notice_handler = passed_on("add_notice_handler")
    add_notify_handler = passed_on("add_notify_handler")
    remove_notice_handler = passed_on("remove_notice_handler")
    remove_notify_handler = passed_on("remove_notify_handler")

    def set_autocommit(self, value: Any) -> None:
        """Set whether each statement is a transaction of its own."""
        self.configure("set_autocommit", value, autocommit=value)

    def set_isolation_level(self, value: Any) -> None:
        """Set the isolation level of the transactions that follow."""
        self.configure("set_isolation_level", value, isolation_level=value)

    def set_read_only(self, value: Any) -> None:
        """Set whether the transactions that follow may write."""
        self.configure("set_read_only", value, read_only=value)

    def set_deferrable(self, value: Any) -> None:
        """Set whether the transactions that follow are deferrable."""
        self.configure("set_deferrable", value, deferrable=value)


def _range(cls: Any, parts: Any) -> Any:
    lower, upper, bounds = parts
    return cls(lower, upper, bounds) if bounds else cls(empty=True)


def _keep_error(error: BaseException, attributes: dict[str, Any]) -> None:
    """Keep what the server said, in the form in which psycopg pickles it: by number of the field, its bytes.

    The result of libpq (``pgresult``) that the error refers to is an object in C, which cannot be kept.
    """
    if not hasattr(error, "pgresult"):
        return
    result: Any = getattr(error, "pgresult", None)
    attributes["_info"] = (
        {int(field): result.error_field(field) for field in import_module("psycopg.pq").DiagnosticField}
        if result is not None
        else None
    )
    for name in ("sqlstate", "pgcode", "pgconn", "pgresult"):
        attributes.pop(name, None)
    attributes.update({"_encoding": getattr(error, "_encoding", "utf-8"), "pgconn": None})
    if hasattr(error, "_pgconn"):
        # What the property ``pgconn`` reads. psycopg leaves it out as well when it pickles an error.
        attributes["_pgconn"] = None
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate != getattr(type(error), "sqlstate", None):
        attributes["sqlstate"] = sqlstate


def _composed_text(statement: Any) -> str:
    """The text of an object of ``psycopg.sql``.

    psycopg quotes identifiers without a connection only from 3.2 on; a replay has none.
    """
    kind = type(statement).__name__
    if kind == "Composed":
        return "".join(map(_composed_text, statement._obj))
    if kind == "Identifier":
        return ".".join(map(quoted_identifier, statement._obj))
    return str(statement.as_string(None))


def libpq_address(parameters: Mapping[str, Any]) -> str:
    """Where libpq connects by these parameters.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    """
    host = parameters.get("hostaddr") or parameters.get("host") or "the local PostgreSQL"
    port = parameters.get("port") or _PORT
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"


def _connectors(module: ModuleType) -> list[Connector]:
    """What asks libpq for a connection in psycopg 3.1 to 3.3, and what waits for all that goes over one."""

    def address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        conninfo = args[1] if len(args) > 1 else kwargs.get("conninfo")
        return libpq_address(module.conninfo.conninfo_to_dict(conninfo or ""))

    def of_open(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        if is_answered("psycopg", args[0]):
            return None
        try:
            info = args[0].info
            return libpq_address({"host": info.host, "port": info.port})
        except Exception:
            # It is closed, and nothing goes over it.
            return None

    return [
        Connector("BaseConnection._connect_gen", address),
        Connector("Connection.wait", of_open, is_open=True),
        Connector("AsyncConnection.wait", of_open, is_open=True),
    ]


PSYCOPG: Final = Driver(
    packages=("psycopg",),
    statement_texts={"psycopg.sql": _composed_text},
    value_types=(
        ValueType(
            "psycopg.Range",
            ("psycopg.types.range", "Range"),
            parts=lambda value: [value.lower, value.upper, value._bounds or ""],
            build=_range,
        ),
        ValueType("psycopg.Multirange", ("psycopg.types.multirange", "Multirange"), parts=list),
    ),
    wrapped=("obj",),
    named_tuple_modules={"psycopg.rows": "", "psycopg.types.composite": "_make_nt"},
    error_attributes=("sqlstate",),
    keep_error=_keep_error,
    cursor_attributes={"lastrowid": False},
    cursor_class=lambda dbapi, args, kwargs: dbapi.ServerCursor if (args or kwargs.get("name")) else dbapi.Cursor,
    connectors=_connectors,
)
