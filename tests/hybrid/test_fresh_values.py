"""A service that makes up keys, tokens and times replays in other processes, and needs no rule for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, RedisServer]]:
    postgres = Postgres()
    with RedisServer(tmp_path / "redis") as redis:
        yield postgres, redis
    postgres.clear()


def _run(mode: str, cassette: Path, *where: str, seed: int) -> dict[str, Any]:
    program = Path(__file__).with_name("_fresh_values.py")
    found: dict[str, Any] = told_under_hash_seed(seed, program, mode, str(cassette), *where, folder=cassette.parent)
    return found


def test_a_service_with_keys_tokens_and_times_of_its_own_replays(
    servers: tuple[Postgres, RedisServer], tmp_path: Path
) -> None:
    postgres, redis = servers
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    cassette, url = tmp_path / "shop.msgpack", postgres.url("psycopg")
    recorded = _run("record", cassette, url.render_as_string(hide_password=False), redis.url, port, seed=1)
    redis.stop()
    nowhere = url.set(port=1).render_as_string(hide_password=False)
    for seed in (2, 3):
        replayed = _run("replay", cassette, nowhere, redis.url, port, seed=seed)
        assert replayed["ok"], replayed["account"]
        assert " 0 missed, 0 unused, 0 live, " in replayed["account"]
        assert set(recorded["keys"]).isdisjoint(replayed["keys"])
        uuids = {(before, now) for kind, before, now in replayed["bindings"] if kind == "uuid"}
        assert {now for _, now in uuids} >= set(replayed["keys"])
        assert {before for before, _ in uuids} >= set(recorded["keys"])
        assert {kind for kind, _, _ in replayed["bindings"]} == {"uuid", "random", "time"}
