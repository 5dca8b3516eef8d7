"""The connection of a replay: opens nothing, and takes whatever drivers and dialects set on a connection.

One class for each family of drivers, since a dialect asks each in its own way; an unknown driver gets the plain one.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from timetracer_otel.plugins._sqlalchemy._internals import await_
from timetracer_otel.plugins._sqlalchemy._replay_cursor import ReplayCursor
from timetracer_otel.plugins._sqlalchemy._sites import Target

__all__ = ["ReplayConnection", "replay_connection"]


class ReplayConnection:
    """What every driver's connection has (PEP 249), without a server behind it.

    Attributes of any name can be set, and read again.
    """

    shows_itself = True
    """Whether cursors have it as ``connection``."""
    forgets = False
    """Whether a closed cursor says nothing more of its result."""
    isolation_level: Any
    autocommit: Any

    def __init__(self, target: Target) -> None:
        self.closed: Any = False
        self.broken = False
        self.notices: list[str] = []
        self.isolation_level = None
        self.autocommit = False
        self._target = target

    def cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor of the driver's user, not of SQLAlchemy's."""
        return ReplayCursor(self._target, self, raw=True)

    def cursor_of_engine(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """A cursor of SQLAlchemy's, asked for in the way of the driver: a name or a flag put it on the server."""
        cursor = ReplayCursor(self._target, self)
        if args or "name" in kwargs:
            cursor.name = args[0] if args else kwargs["name"]
        return cursor

    def answers_itself(self, text: str) -> bool:
        """Whether a statement on the connection itself is one whose empty answer is known."""
        return False

    def lose(self) -> None:
        """The recorded connection was gone: so is this."""
        self.closed = self.broken = True

    def begin(self) -> None:
        pass

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass

    def close(self, *args: Any, **kwargs: Any) -> None:
        self.closed = True

    def terminate(self) -> None:
        self.closed = True

    def ping(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> ReplayConnection:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<connection of a replay: {self._target.url}>"


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
        pass

    def tpc_prepare(self) -> None:
        pass

    def tpc_commit(self, xid: Any = None) -> None:
        pass

    def tpc_rollback(self, xid: Any = None) -> None:
        pass


class _Configurable(_Executing):
    """Takes functions and collations, as SQLite does."""

    def create_function(self, *args: Any, **kwargs: Any) -> None:
        pass

    create_aggregate = create_collation = create_window_function = create_function
    set_authorizer = set_progress_handler = set_trace_callback = enable_load_extension = create_function


class SqliteConnection(_Configurable):
    """sqlite3, and what behaves like it."""

    in_transaction = False
    total_changes = 0
    row_factory: Any = None
    text_factory: Any = str

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.isolation_level = ""


class PsycopgConnection(_TwoPhase, _Executing):
    """psycopg (3), sync."""

    forgets = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from psycopg.adapt import AdaptersMap
        from psycopg.pq import TransactionStatus

        self.adapters = AdaptersMap(target.dialect.dbapi.adapters)
        self.read_only: Any = None
        self.deferrable: Any = None
        self.row_factory: Any = None
        self.info = SimpleNamespace(
            dbname=target.database,
            transaction_status=TransactionStatus.IDLE,
            encoding="utf-8",
            server_version=0,
        )

    def add_notice_handler(self, handler: Any) -> None:
        pass

    add_notify_handler = remove_notice_handler = remove_notify_handler = add_notice_handler

    def set_autocommit(self, value: Any) -> None:
        self.autocommit = value

    def set_isolation_level(self, value: Any) -> None:
        self.isolation_level = value

    def set_read_only(self, value: Any) -> None:
        self.read_only = value

    def set_deferrable(self, value: Any) -> None:
        self.deferrable = value


class Psycopg2Connection(_TwoPhase):
    """psycopg2."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.closed = 0
        self.readonly: Any = None
        self.deferrable: Any = None
        self.encoding = "UTF8"
        self.status = 1
        self.info = SimpleNamespace(dbname=target.database, server_version=90000, status=0)

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
        self.autocommit = level == 0
        self.isolation_level = None if level == 0 else level

    def set_session(self, **settings: Any) -> None:
        for name, value in settings.items():
            if value is not None:
                setattr(self, name, value)

    def set_client_encoding(self, encoding: str) -> None:
        self.encoding = encoding


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

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._connection = _Driver(self)

    await_ = staticmethod(await_)

    def cursor_of_engine(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        cursor = super().cursor_of_engine()
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
        self.isolation_level = self._setting = level

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

    def __init__(self, target: Target) -> None:
        super().__init__(target)
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

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._autocommit = False
        self.autocommit = self._set_autocommit

    def _set_autocommit(self, value: Any) -> None:
        self._autocommit = bool(value)

    def get_autocommit(self) -> bool:
        return self._autocommit

    def set_charset(self, *args: Any) -> None:
        pass

    set_character_set = set_charset_collation = set_charset


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


def replay_connection(target: Target) -> ReplayConnection:
    """A connection for an engine."""
    dialect = target.dialect
    driver = f"{dialect.driver}_async" if dialect.is_async and dialect.driver == "psycopg" else dialect.driver
    kind = _BY_NAME.get((dialect.name, driver)) or _BY_DIALECT.get(dialect.name, ReplayConnection)
    return kind(target)
