"""Databases of the shop for tests, and Django's commands in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import forks
from tests.children import ROOT, environment
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer

__all__ = ["DATABASES", "Shop", "serving"]

DATABASES = ("sqlite", "postgresql")


@dataclass
class Shop:
    """The servers of the shop: a database with its tables, and Redis.

    Attributes:
        folder: Where its files are.
        redis: Has the cache.
        postgres: None where the database is a file.
        variables: Of the environment of its processes.
    """

    folder: Path
    redis: RedisServer
    postgres: Postgres | None
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
        if self.postgres is None:
            Path(self.variables["SHOP_DATABASE"]).unlink(missing_ok=True)
        else:
            self.postgres.stop()


@contextmanager
def serving(database: str, folder: Path, **variables: str) -> Iterator[Shop]:
    """A shop for a block. Behind it there are neither database nor Redis.

    Args:
        database: One of `DATABASES`.
        folder: For its files.
        variables: More of the environment of its processes.
    """
    postgres = Postgres() if database == "postgresql" else None
    place = str(folder / "shop.db")
    if postgres is not None:
        place = postgres.url("x").set(drivername=database).render_as_string(hide_password=False)
    with RedisServer(folder) as redis:
        shop = Shop(folder, redis, postgres)
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
