"""asyncpg used directly, in the words of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import asyncpg
from asyncpg import connect_utils
from asyncpg.protocol import Protocol

from tests.contract.asyncpg_cases import ASYNCPG_CASES
from tests.contract.direct_flavour import ServerFlavour
from timetracer_otel.plugins import disable_asyncpg, enable_asyncpg

__all__ = ["FLAVOUR", "AsyncpgFlavour"]


class AsyncpgFlavour(ServerFlavour):
    """asyncpg on a PostgreSQL. It is no driver of PEP 249."""

    name = "asyncpg"
    dbapi: Any = asyncpg
    serial = "serial PRIMARY KEY"
    own_cases = ASYNCPG_CASES
    general_cases: ClassVar[Any] = {}
    switches = enable_asyncpg, disable_asyncpg
    patched = (asyncpg.Connection, connect_utils, Protocol)

    def connect(self, *, fails: bool = False, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens; to be awaited."""
        if fails:
            return asyncpg.connect(host="127.0.0.1", port=1, user="u", password="p", database="app", **options)
        return asyncpg.connect(self.told(), **options)


FLAVOUR = AsyncpgFlavour
