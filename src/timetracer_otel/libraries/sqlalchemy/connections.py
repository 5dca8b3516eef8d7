"""The connections of a replay as SQLAlchemy's dialects need them.

SQLAlchemy adapts the asyncio drivers (asyncpg, aiosqlite, psycopg) to PEP 249, so that its engine runs the same code
for them. Those adapters have attributes of their own, which dialects ask for: they are here. The connections of
drivers that need no adapter are the kit's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.libraries.kits.dbapi.drivers.mysql import MySQLConnection
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg import PsycopgConnection
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2 import Psycopg2Connection
from timetracer_otel.libraries.kits.dbapi.drivers.sqlite import SqliteConnection
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor, replay_cursor
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.libraries.sqlalchemy.call import LIB, EngineTarget
from timetracer_otel.libraries.sqlalchemy.internals import await_, driver_name

__all__ = ["EngineCursor", "replay_connection"]


class EngineCursor(ReplayCursor, called=("_async_soft_close",)):
    """A cursor as SQLAlchemy wants it."""

    def _async_soft_close(self) -> Any:
        """Called by async results whose rows stay on the server, when the app is done with them; it is awaited."""
        if isinstance(self._answer, RecordingCursor):
            return outside(self._answer._async_soft_close)
        return _DONE


class _Done:
    """Gives None to whoever awaits it, at once."""

    __await__ = staticmethod(partial(iter, ()))


_DONE = _Done()


class _AsyncDriver(ReplayObject):
    """Stands for the asyncio driver's own connection beneath an adapter of SQLAlchemy's."""

    def __init__(self, connection: ReplayConnection) -> None:
        self._of = connection
        self._lib = LIB

    def is_closed(self) -> bool:
        return bool(self._of.closed)

    @in_steps
    def set_type_codec(self, *args: Any, **kwargs: Any) -> Flow:
        yield from ()

    set_builtin_type_codec = reset_type_codec = add_listener = remove_listener = set_type_codec
    create_function = set_type_codec

    def add_log_listener(self, *args: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise_for_app(
            AttributeError(
                f"{name!r}: the driver's own connection is not there in a replay; calls on it are not recorded"
            )
        )


class _AdaptedConnection(ReplayConnection):
    """What the adapters of asyncio drivers have in common."""

    shows_itself = False

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._connection = _AsyncDriver(self)

    await_ = staticmethod(await_)

    def library_cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        cursor = replay_cursor(self.cursor_class, self._target, self, asked=(args, kwargs))
        cursor.server_side = bool(kwargs.get("server_side", args and args[0]))
        return cursor

    @property
    def driver_connection(self) -> Any:
        """What stands for the asyncio driver's connection."""
        return self._connection

    def run_async(self, fn: Any) -> Any:
        return outside(lambda: await_(fn(self._connection)))


class _AsyncpgConnection(_AdaptedConnection):
    """The adapter of asyncpg."""

    readonly = False
    deferrable = False
    _setting: Any = None

    def set_isolation_level(self, level: Any) -> None:
        self.configure("set_isolation_level", level, isolation_level=level, _setting=level)

    @property
    def autocommit(self) -> Any:
        """One of the isolation levels, as this adapter has it."""
        return self.isolation_level == "autocommit"

    @autocommit.setter
    def autocommit(self, value: Any) -> None:
        self.isolation_level = "autocommit" if value else self._setting


class _AiosqliteConnection(_AdaptedConnection, SqliteConnection):
    """The adapter of aiosqlite."""


class _AsyncMySQLConnection(_AdaptedConnection, MySQLConnection):
    """The adapters of aiomysql and asyncmy."""


class _AsyncPsycopgConnection(PsycopgConnection):
    """The adapter of psycopg's asyncio connection; it passes everything on, and so has the attributes of both."""

    is_awaited = True

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._connection = self
        # SQLAlchemy 2.0's cursor hands on to psycopg's, which tells its connection.
        self.shows_itself = hasattr(target.cursor_class((), {}), "connection")

    await_ = staticmethod(await_)

    @property
    def driver_connection(self) -> Any:
        """Itself."""
        return self

    def run_async(self, fn: Any) -> Any:
        return outside(lambda: await_(fn(self)))


_BY_DRIVER: dict[tuple[str, str, bool], type[ReplayConnection]] = {
    ("sqlite", "aiosqlite", True): _AiosqliteConnection,
    ("mysql", "aiomysql", True): _AsyncMySQLConnection,
    ("mysql", "asyncmy", True): _AsyncMySQLConnection,
    ("mariadb", "aiomysql", True): _AsyncMySQLConnection,
    ("mariadb", "asyncmy", True): _AsyncMySQLConnection,
    ("postgresql", "psycopg", False): PsycopgConnection,
    ("postgresql", "psycopg", True): _AsyncPsycopgConnection,
    ("postgresql", "psycopg_async", True): _AsyncPsycopgConnection,
    ("postgresql", "psycopg2", False): Psycopg2Connection,
    ("postgresql", "asyncpg", True): _AsyncpgConnection,
}
"""By names of dialect and driver, and whether it is an asyncio one."""
_BY_DIALECT: dict[str, type[ReplayConnection]] = {
    "sqlite": SqliteConnection,
    "mysql": MySQLConnection,
    "mariadb": MySQLConnection,
}
"""For the other drivers of a dialect."""


def replay_connection(target: EngineTarget, real: RealConnection) -> ReplayConnection:
    """A connection for an engine; one of an unknown driver has what PEP 249 says.

    The caller calls its `ready` when the listeners of the pool have set it up.
    """
    dialect = target.dialect
    kind = _BY_DRIVER.get((dialect.name, driver_name(dialect), bool(dialect.is_async)))
    ours = (kind or _BY_DIALECT.get(dialect.name, ReplayConnection))(target, real)
    ours.cursor_class = EngineCursor
    return ours
