"""mysqlclient used directly, in the words of the contract."""

from __future__ import annotations

import importlib
from typing import Any

from tests.contract.mysql_flavour import MySqlFlavour
from tests.servers.mariadb import HAS_MYSQLCLIENT
from timetracer_otel.plugins import disable_mysqlclient, enable_mysqlclient

__all__ = ["FLAVOUR", "MySqlClientFlavour"]

_MODULE: Any = importlib.import_module("MySQLdb") if HAS_MYSQLCLIENT else None
if HAS_MYSQLCLIENT:
    # The module has it from its first connection on.
    importlib.import_module("MySQLdb.connections")


class MySqlClientFlavour(MySqlFlavour):
    """mysqlclient on a MariaDB."""

    name = "mysqlclient"
    in_sqlalchemy = "mysqldb"
    without_reconnect = ()
    dbapi: Any = _MODULE
    switches = enable_mysqlclient, disable_mysqlclient

    patched = () if _MODULE is None else (_MODULE.connections.Connection, _MODULE.cursors.BaseCursor)

    @staticmethod
    def instrumentor() -> Any:
        """OpenTelemetry's own."""
        return importlib.import_module("opentelemetry.instrumentation.mysqlclient").MySQLClientInstrumentor()


FLAVOUR = MySqlClientFlavour
