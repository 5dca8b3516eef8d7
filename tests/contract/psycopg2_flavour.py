"""psycopg2 used directly, in the words of the contract."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import extensions, extras

from tests.contract.direct_flavour import ServerFlavour
from tests.contract.psycopg2_cases import PSYCOPG2_CASES
from timetracer_otel.plugins import disable_psycopg2, enable_psycopg2

__all__ = ["FLAVOUR", "Psycopg2Flavour"]


class Psycopg2Flavour(ServerFlavour):
    """psycopg2 on a PostgreSQL."""

    name = "psycopg2"
    dbapi: Any = SimpleNamespace(Connection=extensions.connection, Cursor=extensions.cursor)
    serial = "serial PRIMARY KEY"
    own_cases = PSYCOPG2_CASES
    switches = enable_psycopg2, disable_psycopg2
    patched = (psycopg2, extras)

    def connect(self, *, fails: bool = False, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        if fails:
            return psycopg2.connect(host="127.0.0.1", port=1, dbname="app", **options)
        return psycopg2.connect(self.told(), **options)


FLAVOUR = Psycopg2Flavour
