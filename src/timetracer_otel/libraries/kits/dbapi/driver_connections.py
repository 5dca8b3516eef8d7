"""The connections of a replay by driver: each has what its dialect, and its users, ask of such a connection.

One class for each family of drivers, since a dialect asks each in its own way; an unknown driver gets the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from timetracer_otel.libraries.kits.dbapi.call import Target, unrecorded
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.sqlalchemy.internals import await_

__all__ = ["replay_connection"]


class _Executing(ReplayConnection):
    def execute(self, operation: Any, parameters: Any = None, **options: Any) -> Any:
        """``connection.execute``, which some drivers have: on a cursor of its own."""
        cursor = self.cursor()
        cursor.execute(operation, parameters)
        return cursor


class _TwoPhase(ReplayConnection):
    def xid(self, *parts: Any) -> tuple[Any, ...]:
        return parts

    def tpc_begin(self, xid: Any) -> None:
        self.real.begins(lambda connection: connection.tpc_begin(_xid(connection, xid)))

    def tpc_prepare(self) -> None:
        self.real.do("tpc_prepare")

    def tpc_commit(self, xid: Any = None) -> None:
        self._end("tpc_commit", xid)

    def tpc_rollback(self, xid: Any = None) -> None:
        self._end("tpc_rollback", xid)

    def _end(self, name: str, xid: Any) -> None:
        connection = self.real.connection
        if connection is not None:
            getattr(connection, name)(*(() if xid is None else (_xid(connection, xid),)))
        self.real.ended(committed=name == "tpc_commit")


def _xid(connection: Any, xid: Any) -> Any:
    """A transaction's name as the driver has it, which `_TwoPhase.xid` left as its parts."""
    return connection.xid(*xid) if isinstance(xid, tuple) and hasattr(connection, "xid") else xid


def _taken(name: str) -> Callable[..., None]:
    """A method that takes something, which each name and kind has one of."""

    def take(self: ReplayConnection, *args: Any, **kwargs: Any) -> None:
        key = (name, args[0] if args and isinstance(args[0], str) else None)
        self.tell(key, lambda connection: getattr(connection, name)(*args, **kwargs))

    take.__name__ = name
    return take


class _Configurable(_Executing):
    """Takes functions and collations, as SQLite does."""

    create_function = _taken("create_function")
    create_aggregate = _taken("create_aggregate")
    create_collation = _taken("create_collation")
    create_window_function = _taken("create_window_function")
    set_authorizer = _taken("set_authorizer")
    set_progress_handler = _taken("set_progress_handler")
    set_trace_callback = _taken("set_trace_callback")
    enable_load_extension = _taken("enable_load_extension")


class SqliteConnection(_Configurable):
    """sqlite3, and what behaves like it."""

    in_transaction = False
    total_changes = 0
    row_factory: Any = None
    text_factory: Any = str

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.isolation_level = ""


class _Info(SimpleNamespace):
    """What psycopg and psycopg2 tell of a connection."""

    def __init__(self, target: Target, **facts: Any) -> None:
        super().__init__(dbname=target.database, **facts)
        self._dialect = target.dialect

    @property
    def server_version(self) -> int:
        """As libpq's ``PQserverVersion``; 0, as without a connection, until the dialect learned it."""
        version: tuple[int, ...] = tuple(getattr(self._dialect, "server_version_info", None) or (0,))
        major, second, third = (*version, 0, 0)[:3]
        # Before PostgreSQL 10 the second of three numbers was a major one.
        return major * 10_000 + (second if major >= 10 else second * 100 + third)


class PsycopgConnection(_TwoPhase, _Executing):
    """psycopg (3), sync."""

    forgets = True

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        from psycopg.adapt import AdaptersMap
        from psycopg.pq import TransactionStatus

        self.adapters = AdaptersMap(target.dialect.dbapi.adapters)
        self.read_only: Any = None
        self.deferrable: Any = None
        self.row_factory: Any = None
        self.info = _Info(target, transaction_status=TransactionStatus.IDLE, encoding="utf-8")

    @property
    def pgconn(self) -> Any:
        """What libpq knows of the connection: psycopg needs it for quoting (``Composed.as_string(cursor)``)."""
        raise unrecorded(self._target, "connection.pgconn")

    add_notice_handler = _taken("add_notice_handler")
    add_notify_handler = _taken("add_notify_handler")
    remove_notice_handler = _taken("remove_notice_handler")
    remove_notify_handler = _taken("remove_notify_handler")

    def set_autocommit(self, value: Any) -> None:
        self.configure("set_autocommit", value, autocommit=value)

    def set_isolation_level(self, value: Any) -> None:
        self.configure("set_isolation_level", value, isolation_level=value)

    def set_read_only(self, value: Any) -> None:
        self.configure("set_read_only", value, read_only=value)

    def set_deferrable(self, value: Any) -> None:
        self.configure("set_deferrable", value, deferrable=value)


class Psycopg2Connection(_TwoPhase):
    """psycopg2."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self.closed = 0
        self.readonly: Any = None
        self.deferrable: Any = None
        self.encoding = "UTF8"
        self.status = 1
        self.info = _Info(target, status=0)

    def answers_itself(self, text: str) -> bool:
        # How psycopg2 asks for the numbers of the hstore type, to read values which a replay has as they were read.
        return "typname = 'hstore'" in text

    def cursor_of_engine(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        cursor = super().cursor_of_engine(*args, **kwargs)
        cursor.__dict__.setdefault("name", None)
        return cursor

    def lose(self) -> None:
        self.closed = 2

    def set_isolation_level(self, level: Any) -> None:
        state = {"autocommit": level == 0, "isolation_level": None if level == 0 else level}
        self.configure("set_isolation_level", level, **state)

    def set_session(self, **settings: Any) -> None:
        for name, value in settings.items():
            if value is not None:
                setattr(self, name, value)

    def set_client_encoding(self, encoding: str) -> None:
        self.configure("set_client_encoding", encoding, encoding=encoding)


class _Driver:
    """Stands for the asyncio driver's own connection beneath an adapter of SQLAlchemy's."""

    def __init__(self, connection: ReplayConnection) -> None:
        self._of = connection

    def is_closed(self) -> bool:
        return bool(self._of.closed)

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        pass

    set_builtin_type_codec = reset_type_codec = add_listener = remove_listener = set_type_codec
    create_function = set_type_codec

    def add_log_listener(self, *args: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name!r}: the driver's own connection is not there in a replay; calls on it are not recorded"
        )


class _Adapted(ReplayConnection):
    shows_itself = False

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._connection = _Driver(self)

    await_ = staticmethod(await_)

    def cursor_of_engine(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        cursor = ReplayCursor(self._target, self, asked=(args, kwargs))
        cursor.server_side = bool(kwargs.get("server_side", False))
        return cursor

    @property
    def driver_connection(self) -> Any:
        """The stand-in for the asyncio driver's connection."""
        return self._connection

    def run_async(self, fn: Any) -> Any:
        return await_(fn(self._connection))


class AsyncpgConnection(_Adapted):
    """asyncpg, as SQLAlchemy adapts it."""

    readonly = False
    deferrable = False
    _setting: Any = None

    def set_isolation_level(self, level: Any) -> None:
        self.configure("set_isolation_level", level, isolation_level=level, _setting=level)

    @property
    def autocommit(self) -> Any:
        """As the adapter has it: one of the isolation levels."""
        return self.isolation_level == "autocommit"

    @autocommit.setter
    def autocommit(self, value: Any) -> None:
        self.isolation_level = "autocommit" if value else self._setting


class AiosqliteConnection(_Adapted, SqliteConnection):
    """aiosqlite, as SQLAlchemy adapts it."""


class AsyncPsycopgConnection(PsycopgConnection):
    """psycopg (3), asyncio, as SQLAlchemy adapts it."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._connection = self

    await_ = staticmethod(await_)

    @property
    def driver_connection(self) -> Any:
        """Itself: the adapter passes everything on."""
        return self

    def run_async(self, fn: Any) -> Any:
        return await_(fn(self))


class MySQLConnection(ReplayConnection):
    """The drivers for MySQL, whose ``autocommit`` is a function."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._autocommit = False
        self.autocommit = self._set_autocommit

    def _set_autocommit(self, value: Any) -> None:
        self.configure("autocommit", value, _autocommit=bool(value))

    def get_autocommit(self) -> bool:
        return self._autocommit

    set_charset = _taken("set_charset")
    set_character_set = _taken("set_character_set")
    set_charset_collation = _taken("set_charset_collation")


_BY_NAME: dict[tuple[str, str], type[ReplayConnection]] = {
    ("sqlite", "aiosqlite"): AiosqliteConnection,
    ("postgresql", "psycopg"): PsycopgConnection,
    ("postgresql", "psycopg_async"): AsyncPsycopgConnection,
    ("postgresql", "psycopg2"): Psycopg2Connection,
    ("postgresql", "asyncpg"): AsyncpgConnection,
}
_BY_DIALECT: dict[str, type[ReplayConnection]] = {
    "sqlite": SqliteConnection,
    "mysql": MySQLConnection,
    "mariadb": MySQLConnection,
}


def replay_connection(target: Target, real: RealConnection) -> ReplayConnection:
    """A connection for an engine; `made` is called when the pool's listeners have had it."""
    dialect = target.dialect
    driver = f"{dialect.driver}_async" if dialect.is_async and dialect.driver == "psycopg" else dialect.driver
    kind = _BY_NAME.get((dialect.name, driver)) or _BY_DIALECT.get(dialect.name, ReplayConnection)
    return kind(target, real)
