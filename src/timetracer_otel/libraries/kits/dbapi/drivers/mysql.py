"""The drivers for MySQL and MariaDB: mysqlclient, pymysql, mysql-connector-python, mariadb, aiomysql, asyncmy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.driver import Driver
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection, passed_on
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor, replay_cursor
from timetracer_otel.libraries.kits.dbapi.target import Target

__all__ = ["MYSQL", "MySQLConnection"]


class MySQLConnection(ReplayConnection):
    """A connection of these drivers, whose ``autocommit`` is a function."""

    def __init__(self, target: Target, real: RealConnection) -> None:
        super().__init__(target, real)
        self._autocommit = False
        self.autocommit = self._set_autocommit

    def _set_autocommit(self, value: Any) -> None:
        self.configure("autocommit", value, _autocommit=bool(value))

    def library_cursor(self, *args: Any, **kwargs: Any) -> ReplayCursor:
        """The cursor that the library above asks for; the first argument is its class, and no name."""
        return replay_cursor(self.cursor_class, self._target, self, asked=(args, kwargs))

    def character_set_name(self) -> str | None:
        """The character set that the server and the recorded connection agreed on; asked by the dialects."""
        return self._target.character_set

    def get_autocommit(self) -> bool:
        """Whether each statement is a transaction of its own; asked by the dialects."""
        return self._autocommit

    set_charset = passed_on("set_charset")
    set_character_set = passed_on("set_character_set")
    set_charset_collation = passed_on("set_charset_collation")


def _cursor_class(dbapi: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The class of a cursor: the one that is asked for, or the usual one of pymysql, MySQLdb or mariadb."""
    asked = args[0] if args else kwargs.get("cursor") or kwargs.get("cursorclass")
    return asked or getattr(getattr(dbapi, "cursors", dbapi), "Cursor", None)


def _driver(*packages: str, of_objects: Sequence[str] = ()) -> Driver:
    return Driver(
        packages,
        error_attributes=("sqlstate",),
        cursor_class=_cursor_class,
        cursor_attributes=dict.fromkeys(("connection", "lastrowid", "rownumber", *of_objects), True),
    )


MYSQL: Final = (
    _driver("aiomysql", "asyncmy", "pymysql", of_objects=("warning_count",)),
    _driver("MySQLdb", of_objects=("description_flags", "warning_count")),
    _driver("mariadb", "mysql"),
)
