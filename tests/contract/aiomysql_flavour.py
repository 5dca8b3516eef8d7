"""aiomysql used directly, in the words of the contract."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import aiomysql  # type: ignore[import-untyped,unused-ignore]
from aiomysql import connection
from pymysql.constants import CLIENT  # type: ignore[import-untyped,unused-ignore]

from tests.contract.mysql_async_flavour import MySqlAsyncFlavour
from timetracer_otel.plugins import disable_aiomysql, enable_aiomysql

__all__ = ["FLAVOUR", "AioMySqlFlavour"]


class AioMySqlFlavour(MySqlAsyncFlavour):
    """aiomysql on a MariaDB."""

    name = in_sqlalchemy = "aiomysql"
    dbapi: Any = aiomysql
    switches = enable_aiomysql, disable_aiomysql
    patched = (connection.Connection, connection.MySQLResult)
    several: ClassVar[dict[str, Any]] = {"client_flag": CLIENT.MULTI_STATEMENTS}

    def conversions(self) -> dict[Any, Any]:
        """As pymysql has them."""
        return dict(importlib.import_module("pymysql.converters").decoders)

    @staticmethod
    def is_open(connection: Any) -> bool:
        """Whether a connection is open."""
        return not connection.closed


FLAVOUR = AioMySqlFlavour
