"""The drivers for MySQL and MariaDB: mysqlclient, pymysql, mysql-connector-python, mariadb, aiomysql, asyncmy."""

from __future__ import annotations

from typing import Any, Final

from timetracer_otel.libraries.kits.dbapi.driver import Driver
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection, passed_on
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

    def get_autocommit(self) -> bool:
        """Whether each statement is a transaction of its own; asked by the dialects."""
        return self._autocommit

    set_charset = passed_on("set_charset")
    set_character_set = passed_on("set_character_set")
    set_charset_collation = passed_on("set_charset_collation")


MYSQL: Final = Driver(packages=("aiomysql", "asyncmy", "mariadb", "mysql", "MySQLdb", "pymysql"))
