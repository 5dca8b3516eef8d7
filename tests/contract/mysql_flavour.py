"""What the flavours of MySQL's drivers have in common."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.contract.direct_cases import Case
from tests.contract.direct_flavour import ServerFlavour
from tests.contract.mysql_cases import MYSQL_CASES
from tests.servers.mariadb import MariaDb

__all__ = ["MySqlFlavour"]


class MySqlFlavour(ServerFlavour):
    """A driver on a MariaDB.

    Attributes:
        several: The options by which a connection takes several statements at once.
        in_sqlalchemy: What SQLAlchemy calls the driver.
        without_reconnect: What tells ``ping`` not to open the connection again.
    """

    serial = "INTEGER AUTO_INCREMENT PRIMARY KEY"
    own_cases: ClassVar[Mapping[str, Case]] = MYSQL_CASES
    server_kind = MariaDb
    several: ClassVar[dict[str, Any]] = {}
    in_sqlalchemy: str
    without_reconnect: ClassVar[tuple[bool, ...]] = (False,)

    def where(self, fails: bool) -> dict[str, Any]:
        """The arguments of ``connect``: of the server, or of a port where nobody listens."""
        url = self.url
        if fails:
            return {"host": "127.0.0.1", "port": 1, "user": "nobody", "database": url.database}
        asked = {"host": url.host, "user": url.username, "database": url.database, "password": url.password or ""}
        return {**asked, **({"port": url.port} if url.port else {}), **url.query}

    def connect(self, *, fails: bool = False, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        return self.dbapi.connect(**self.where(fails), **options)

    def conversions(self) -> dict[Any, Any]:
        """What the driver makes values of texts by, and texts of values."""
        return dict(importlib.import_module(f"{self.name}.converters").conversions)

    @staticmethod
    def is_open(connection: Any) -> bool:
        """Whether a connection is open."""
        return bool(connection.open)

    @staticmethod
    def instrumentor() -> Any:
        """OpenTelemetry's own."""
        raise NotImplementedError
