"""mysql-connector-python used directly, in the words of the contract.

Its connections are written in Python, or over a handle in C. The latter needs a newer OpenSSL than that of many
systems, and loads its own where nobody has loaded another one before: so it is tried in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import mysql.connector

from tests.contract.direct_cases import DIRECT_CASES, Case
from tests.contract.mysql_flavour import MySqlFlavour
from tests.contract.mysqlconnector_cases import MYSQLCONNECTOR_CASES
from timetracer_otel.plugins import disable_mysqlconnector, enable_mysqlconnector

__all__ = ["FLAVOUR", "MySqlConnectorFlavour", "OverC"]


class MySqlConnectorFlavour(MySqlFlavour):
    """mysql-connector-python on a MariaDB, in Python.

    Attributes:
        pure: Whether connections are written in Python.
    """

    name = in_sqlalchemy = "mysqlconnector"
    dbapi: Any = mysql.connector
    own_cases = MYSQLCONNECTOR_CASES
    switches = enable_mysqlconnector, disable_mysqlconnector
    patched: ClassVar[Any] = (
        importlib.import_module("mysql.connector.connection").MySQLConnection,
        importlib.import_module("mysql.connector.cursor").MySQLCursor,
    )
    pure = True

    def connect(self, *, fails: bool = False, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        return mysql.connector.connect(**{"buffered": True, **self.where(fails), "use_pure": self.pure, **options})

    @staticmethod
    def is_open(connection: Any) -> bool:
        """Whether a connection is open."""
        return bool(connection.is_connected())

    @staticmethod
    def instrumentor() -> Any:
        """OpenTelemetry's own."""
        return importlib.import_module("opentelemetry.instrumentation.mysql").MySQLInstrumentor()


class OverC(MySqlConnectorFlavour):
    """The same over a handle in C."""

    pure = False
    # Without us, too, a value that raises while it is written ends the process in the driver's C code (26.7).
    general_cases: ClassVar[Mapping[str, Case]] = {
        name: case for name, case in DIRECT_CASES.items() if name != "objects_that_raise"
    }

    def __init__(self) -> None:
        type(self).patched = (
            importlib.import_module("mysql.connector.connection_cext").CMySQLConnection,
            importlib.import_module("mysql.connector.cursor_cext").CMySQLCursor,
        )
        super().__init__()


FLAVOUR = MySqlConnectorFlavour
