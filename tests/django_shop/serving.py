"""Databases of the shop for tests, and Django's commands in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import forks
from tests.children import ROOT, environment
from tests.servers.mariadb import MariaDb, needs_mariadb, needs_mysqlclient
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer

__all__ = ["DATABASES", "Shop", "serving"]

DATABASES = ("sqlite", "postgresql", pytest.param("mysql", marks=[needs_mariadb, needs_mysqlclient]))


@dataclass
class Shop:
    """The servers of the shop: a database with its tables, and Redis.

    Attributes:
        folder: Where its files are.
        redis: Has the cache.
        server: Of the database; None where that is a file.
        variables: Of the environment of its processes.
    """

    folder: Path
    redis: RedisServer
    server: Postgres | MariaDb | None
    variables: dict[str, str] = field(default_factory=dict)

    def manage(self, *words: str) -> None:
        """Run one of Django's commands."""
        env = environment(PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore", **self.variables)
        done = forks.run("-m", "django", *words, env=env, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def empty(self) -> None:
        """As it was at first."""
        self.manage("flush", "--no-input")
        self.redis.wipe()

    def stop(self) -> None:
        """Nobody reaches the database any more."""
        if self.server is None:
            Path(self.variables["SHOP_DATABASE"]).unlink(missing_ok=True)
        else:
            self.server.stop()


@contextmanager
def serving(database: str, folder: Path, **variables: str) -> Iterator[Shop]:
    """A shop for a block. Behind it there are neither database nor Redis.

    Args:
        database: ``sqlite``, ``postgresql`` or ``mysql``.
        folder: For its files.
        variables: More of the environment of its processes.
    """
    kinds: dict[str, type[Postgres | MariaDb]] = {"postgresql": Postgres, "mysql": MariaDb}
    server = kinds[database]() if database in kinds else None
    place = str(folder / "shop.db")
    if server is not None:
        place = server.url("x").set(drivername=database).render_as_string(hide_password=False)
    with RedisServer(folder) as redis:
        shop = Shop(folder, redis, server)
        shop.variables = {
            "DJANGO_SETTINGS_MODULE": "tests.django_shop.settings",
            "REDIS_PORT": str(redis.port),
            "SHOP_DATABASE": place,
            **variables,
        }
        try:
            shop.manage("migrate", "--verbosity", "0")
            yield shop
        finally:
            shop.stop()
