"""A primary that is found by way of a sentinel; and the addresses that connections have in a cassette."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from tests.contract.framework import settle
from tests.contract.redis_contract import RedisFlavour, failing, three_runs
from tests.servers._ports import free_port
from tests.servers.redis import RedisServer, server_program
from timetracer_otel.libraries.redis.internals import url_of

SYNC = RedisFlavour(asynchronous=False)
ASYNC = RedisFlavour(asynchronous=True)
flavours = pytest.mark.parametrize("flavour", [SYNC, ASYNC], ids=lambda flavour: flavour.name)


class Watched(RedisServer):
    """A primary with a sentinel of its own, which stops with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sentinel_port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"port {self.sentinel_port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.port} 1\n"
        )
        self._sentinel = subprocess.Popen([server_program(), str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 100
        while not self._sentinel_answers():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        super().stop()
        self._sentinel.kill()
        self._sentinel.wait()

    def _sentinel_answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.sentinel_port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Watched]:
    server = Watched(tmp_path)
    with server:
        yield server


@flavours
def test_by_way_of_a_sentinel(flavour: RedisFlavour, server: Watched, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: Any) -> Any:
        sentinel = flavour.module.sentinel.Sentinel([("127.0.0.1", server.sentinel_port)])
        primary = sentinel.master_for("mymaster")
        seen = [await settle(sentinel.discover_master("mymaster")), await settle(primary.set("a", 1))]
        seen.append(await settle(primary.get("a")))
        pool: Any = primary.connection_pool
        seen.append(pool.master_address == ("127.0.0.1", server.port))
        seen.append(len(pool._available_connections))
        pipe = primary.pipeline()
        pipe.incr("a").get("a")
        seen.append(await settle(pipe.execute()))
        seen.append(await failing(lambda: primary.lpush("a", 1)))
        seen.append(await failing(lambda: sentinel.discover_master("unknown")))
        for client in (primary, *sentinel.sentinels):
            await flavour.close(client)
            await settle(client.connection_pool.disconnect())
        return seen

    cassette = three_runs(app, flavour, server, tmp_path)
    # The pool has the primary's address in a replay too. So it keeps the connection.
    urls = {event.signature.url for event in cassette.events}
    assert "redis+sentinel://mymaster/0" in urls


@pytest.mark.parametrize("module", [redis, redis.asyncio], ids=["sync", "async"])
def test_addresses(module: Any) -> None:
    """What is left of an address: neither user nor password."""
    for url, expected in {
        "redis://user:secret@example.com:6380/2": "redis://example.com:6380/2",
        "redis://[::1]:6379": "redis://[::1]:6379/0",
        "rediss://:secret@example.com": "rediss://example.com:6379/0",
        "unix://user:secret@/run/redis.sock?db=3": "unix:///run/redis.sock?db=3",
    }.items():
        connection = module.ConnectionPool.from_url(url).make_connection()
        assert url_of(connection) == expected
