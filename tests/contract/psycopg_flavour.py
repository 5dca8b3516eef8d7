"""psycopg used directly, in the words of the contract."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import psycopg

from tests.contract.direct_flavour import ServerFlavour
from tests.contract.psycopg_cases import PSYCOPG_CASES
from tests.contract.psycopg_more_cases import MORE_PSYCOPG_CASES
from timetracer_otel.plugins import disable_psycopg, enable_psycopg

__all__ = ["FLAVOUR", "PsycopgFlavour"]


class PsycopgFlavour(ServerFlavour):
    """psycopg on a PostgreSQL."""

    name = "psycopg"
    dbapi: Any = psycopg
    serial = "serial PRIMARY KEY"
    own_cases = {**PSYCOPG_CASES, **MORE_PSYCOPG_CASES}  # noqa: RUF012
    switches = enable_psycopg, disable_psycopg
    patched = tuple(
        module
        for name, module in sys.modules.items()
        # Those of types import others when they are first used.
        if name.partition(".")[0] == "psycopg" and not name.startswith("psycopg.types")
    )

    def connect(self, *, fails: bool = False, kind: Any = psycopg.Connection, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens."""
        connect: Callable[..., Any] = kind.connect
        if fails:
            return connect(host="127.0.0.1", port=1, dbname="app", **options)
        return connect(self.told(), **options)


FLAVOUR = PsycopgFlavour
