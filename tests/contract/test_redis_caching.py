"""Client-side caching: a replay gives the values that the app saw, whether they came from its cache or the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.contract.redis_contract import VERSION, RedisFlavour, sync_app, three_runs
from tests.servers.redis import RedisServer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    # The client asks for Redis 7.4; what it does works with older servers as well.
    proxy = getattr(redis.connection, "CacheProxyConnection", None)
    if proxy is not None:
        monkeypatch.setattr(proxy, "MIN_ALLOWED_VERSION", "6.0.0")
    with RedisServer(tmp_path) as server:
        yield server


def cached(server: RedisServer) -> Any:
    """A client with a cache, from redis-py 5.2 on; before, there is none, and the same must be seen."""
    if VERSION < (5, 2):
        return redis.Redis(port=server.port, protocol=3)
    from redis.cache import CacheConfig

    return redis.Redis(port=server.port, protocol=3, cache_config=CacheConfig())


def told(other: Any) -> Any:
    """Wait until the server has told the other clients what this one has changed.

    The server writes what it has to tell after the answer to the change, and before it reads the next command.
    """
    return other.ping()


def test_values_from_the_cache_and_the_server(server: RedisServer, tmp_path: Path) -> None:
    def app() -> list[Any]:
        with cached(server) as r, redis.Redis(port=server.port) as other:
            seen: list[Any] = [r.set("a", 1), r.get("a"), r.get("a"), r.get("a")]
            # Somebody else changes it, and the server tells.
            seen += [other.set("a", 2), told(other), r.get("a"), r.get("a"), r.mget("a", "b"), r.mget("a", "b")]
            seen += [r.set("a", 3), r.get("a"), r.hset("h", "f", 1), r.hgetall("h"), r.hgetall("h")]
            pipe = r.pipeline()
            pipe.get("a").incr("a")
            seen += [pipe.execute(), r.get("a"), other.delete("a"), told(other)]
            seen += [r.get("a"), r.get("missing")]
            try:
                r.hgetall("nothing")
                r.lpush("h", 1)
            except redis.ResponseError as error:
                seen.append(error)
            return seen

    three_runs(sync_app(app), RedisFlavour(asynchronous=False), server, tmp_path)


class Odd:
    """No key."""


def test_a_key_that_cannot_be_sent(server: RedisServer, tmp_path: Path) -> None:
    def app() -> list[Any]:
        with cached(server) as r:
            seen: list[Any] = [r.set("a", 1)]
            keys: list[Any] = ["a", Odd(), {}]
            for key in keys:
                try:
                    seen.append(r.get(key))
                except (redis.DataError, TypeError) as error:
                    seen.append(error)
            return seen

    three_runs(sync_app(app), RedisFlavour(asynchronous=False), server, tmp_path)
