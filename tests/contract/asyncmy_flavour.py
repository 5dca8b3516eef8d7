"""asyncmy used directly, in the words of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import asyncmy
from asyncmy import connection
from pymysql.constants import CLIENT  # type: ignore[import-untyped,unused-ignore]

from tests.contract.mysql_async_flavour import MySqlAsyncFlavour
from timetracer_otel.plugins import disable_asyncmy, enable_asyncmy

__all__ = ["FLAVOUR", "AsyncMyFlavour"]


class AsyncMyFlavour(MySqlAsyncFlavour):
    """asyncmy on a MariaDB."""

    name = in_sqlalchemy = "asyncmy"
    dbapi: Any = asyncmy
    switches = enable_asyncmy, disable_asyncmy
    patched = (connection.Connection, connection.MySQLResult)
    several: ClassVar[dict[str, Any]] = {"client_flag": CLIENT.MULTI_STATEMENTS}

    @staticmethod
    def is_open(connection: Any) -> bool:
        """Whether a connection is open."""
        return bool(connection.connected)


FLAVOUR = AsyncMyFlavour
