"""The servers that apps of this folder ask: there while these are bare and recorded, and gone in replays."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from tests.lines._runs import Apps
from tests.loopback import Loopback
from tests.servers._process import ServerProcess
from tests.servers.mariadb import MariaDb
from tests.servers.odbc import driver_of_mariadb
from tests.servers.oracle import OracleClient
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer

__all__ = ["Servers", "collecting", "serving"]


class Servers:
    """Those that an app needs, by the variables of its environment that name them."""

    def __init__(self, apps: Apps, folder: Path) -> None:
        self._stack = ExitStack()
        self.upstream: Loopback | None = None
        self.mariadb: MariaDb | None = None
        self.oracle: OracleClient | None = None
        self.variables: dict[str, str] = {}
        if "UPSTREAM" in apps.code:
            self.upstream = self._stack.enter_context(Loopback())
            self.variables["UPSTREAM"] = self.upstream.url
        if "OTHER_SERVER" in apps.code:
            self.variables["OTHER_SERVER"] = self._stack.enter_context(Loopback()).url
        if "REDIS_PORT" in apps.code:
            self.variables["REDIS_PORT"] = str(self._stack.enter_context(RedisServer(folder)).port)
        if "POSTGRES" in apps.code:
            self.postgres = self._database(Postgres())
            self.variables["POSTGRES"] = self.postgres.url("x").render_as_string(hide_password=False)
        if "MARIADB" in apps.code:
            self.mariadb = self._database(MariaDb())
            self.variables["MARIADB"] = self.mariadb.url("x").render_as_string(hide_password=False)
        if "ODBC_DRIVER" in apps.code:
            self.variables["ODBC_DRIVER"] = driver_of_mariadb()
        if "ORACLE_CLIENT" in apps.code:
            self.oracle = OracleClient(folder / "oracle")
            self.variables["ORACLE_CLIENT"] = str(self.oracle.folder)
        if "SQLITE" in apps.code:
            self.variables["SQLITE"] = str(folder / "app.db")
            self._stack.callback((folder / "app.db").unlink)

    def _database(self, server: Any) -> Any:
        self._stack.callback(server.stop)
        return server

    def hits(self) -> int:
        """How many requests the upstream had."""
        return self.upstream.hits.total() if self.upstream is not None else 0

    def take_hits(self) -> Counter[str]:
        """How many requests each path of the upstream had since this was last asked."""
        assert self.upstream is not None
        found = Counter(self.upstream.hits)
        self.upstream.hits.clear()
        return found

    def stop(self) -> None:
        """All of them, with what they have kept."""
        self._stack.close()


@contextmanager
def serving(apps: Apps, folder: Path) -> Iterator[Servers]:
    """Servers for a block."""
    servers = Servers(apps, folder)
    try:
        yield servers
    finally:
        servers.stop()


@contextmanager
def collecting() -> Iterator[tuple[str, Callable[[], Counter[str]]]]:
    """A server that takes telemetry, in a process of its own: its URL, and a function for what is new there."""
    with closing(ServerProcess("tests.servers.otlp_receiver")) as process:
        url = f"http://127.0.0.1:{process.port('otlp')}"
        before: Counter[str] = Counter()

        def received() -> Counter[str]:
            with urllib.request.urlopen(f"{url}/count") as answer:
                every = Counter(json.load(answer))
            found = every - before
            before.update(found)
            return found

        yield url, received
