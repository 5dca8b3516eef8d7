"""pymysql used directly, in the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pymysql  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.instrumentation.pymysql import PyMySQLInstrumentor
from pymysql import connections, cursors  # type: ignore[import-untyped,unused-ignore]
from pymysql.constants import CLIENT  # type: ignore[import-untyped,unused-ignore]

from tests.contract.direct_cases import Case
from tests.contract.mysql_cases import CONVERTER_CASES, MYSQL_CASES
from tests.contract.mysql_flavour import MySqlFlavour
from timetracer_otel.plugins import disable_pymysql, enable_pymysql

__all__ = ["FLAVOUR", "PyMySqlFlavour"]


class PyMySqlFlavour(MySqlFlavour):
    """pymysql on a MariaDB."""

    name = in_sqlalchemy = "pymysql"
    own_cases: ClassVar[Mapping[str, Case]] = {**MYSQL_CASES, **CONVERTER_CASES}
    dbapi: Any = pymysql
    switches = enable_pymysql, disable_pymysql
    patched = (connections.Connection, connections.MySQLResult, cursors.Cursor)
    several: ClassVar[dict[str, Any]] = {"client_flag": CLIENT.MULTI_STATEMENTS}

    @staticmethod
    def instrumentor() -> Any:
        """OpenTelemetry's own."""
        return PyMySQLInstrumentor()


FLAVOUR = PyMySqlFlavour
