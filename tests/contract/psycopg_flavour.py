"""psycopg used directly, in the words of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import _connection_base, _cursor_base, _server_cursor_base

from tests.contract.direct_flavour import ServerFlavour
from tests.contract.psycopg_cases import PSYCOPG_CASES
from timetracer_otel.plugins import disable_psycopg, enable_psycopg

__all__ = ["FLAVOUR", "PsycopgFlavour"]


class PsycopgFlavour(ServerFlavour):
    """psycopg on a PostgreSQL."""

    name = "psycopg"
    dbapi: Any = psycopg
    serial = "serial PRIMARY KEY"
    own_cases = PSYCOPG_CASES
    switches = enable_psycopg, disable_psycopg
    patched = (psycopg, _connection_base, _cursor_base, _server_cursor_base, psycopg.sql)

    def connect(self, *, fails: bool = False, kind: Any = psycopg.Connection, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        connect: Callable[..., Any] = kind.connect
        if fails:
            return connect(host="127.0.0.1", port=1, dbname="app", **options)
        return connect(self.told(), **options)


FLAVOUR = PsycopgFlavour
