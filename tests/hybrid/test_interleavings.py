"""Random interleavings of five plugins, recorded; then every choice of live ones is replayed and compared."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import redis
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from tests.examples import examples
from tests.loopback import Loopback
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.bridge import _plugins
from timetracer_otel.plugins import function_plugin

LIBRARIES = ("httpx", "requests", "sqlalchemy", "redis", "ledger")
Step = tuple[str, int]


class World:
    """Real servers whose answers depend on what they were asked before, and a count of what they were asked."""

    def __init__(self, folder: Path, ledger: ModuleType) -> None:
        self.folder = folder
        self.ledger = ledger
        self.upstream = Loopback()
        self.redis = RedisServer(folder)
        self.database = f"sqlite:///{folder / 'world.db'}"
        self.reset()

    def reset(self) -> None:
        self.upstream.hits.clear()
        self.redis.wipe()
        self.ledger.made.clear()
        (self.folder / "world.db").unlink(missing_ok=True)
        engine = create_engine(self.database)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (n INTEGER)"))
        engine.dispose()

    def touched(self) -> set[str]:
        """The libraries whose servers were asked since the reset."""
        engine = create_engine(self.database)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT count(*) FROM t")).scalar_one()
        engine.dispose()
        client = redis.Redis.from_url(self.redis.url)
        counted = client.dbsize()
        client.close()
        paths = {path.split("/")[2][:1] for path in self.upstream.hits}
        found = {"httpx": "1" in paths, "requests": "2" in paths, "sqlalchemy": rows, "redis": counted}
        return {name for name, asked in {**found, "ledger": self.ledger.made}.items() if asked}

    def run(self, steps: list[Step], manner: str) -> list[Any]:
        engine = create_engine(self.database)
        client = redis.Redis.from_url(self.redis.url)
        do: dict[str, Callable[[int], Any]] = {
            "httpx": lambda n: httpx.get(f"{self.upstream.url}/users/1{n}").json(),
            "requests": lambda n: requests.get(f"{self.upstream.url}/users/2{n}", timeout=5).json(),
            "sqlalchemy": lambda n: self._insert(engine, n),
            "redis": lambda n: (client.incr(f"k{n}"), client.get(f"k{n}")),
            "ledger": lambda n: self.ledger.book(n),
        }
        try:
            if manner == "threads":
                with ThreadPoolExecutor(1) as pool:
                    return [pool.submit(copy_context().run, do[name], n).result() for name, n in steps]
            if manner == "tasks":

                async def main() -> list[Any]:
                    return [await asyncio.to_thread(do[name], n) for name, n in steps]

                return asyncio.run(main())
            return [do[name](n) for name, n in steps]
        finally:
            client.close()
            engine.dispose()

    @staticmethod
    def _insert(engine: Any, n: int) -> Any:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})
            return connection.execute(text("SELECT n, count(*) FROM t GROUP BY n ORDER BY n")).all()

    def close(self) -> None:
        self.upstream.stop()
        self.redis.__exit__(None, None, None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ledger = ModuleType("timetracer_test_ledger")
    exec("made = []\ndef book(n):\n    made.append(n)\n    return {'n': n, 'made': len(made)}", ledger.__dict__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, ledger.__name__, ledger)
        patch.setattr(_plugins, "_registered", dict(_plugins._registered))
        function_plugin("ledger", [f"{ledger.__name__}:book"])
        world = World(tmp_path_factory.mktemp("world"), ledger)
        yield world
        world.close()


STEPS = st.lists(st.tuples(st.sampled_from(LIBRARIES), st.integers(0, 2)), max_size=8)
CHOICES = [choice for size in range(len(LIBRARIES) + 1) for choice in itertools.combinations(LIBRARIES, size)]


@pytest.mark.hypothesis
@settings(examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS, manner=st.sampled_from(["plain", "threads", "tasks"]))
@example(steps=[(name, 1) for name in (*LIBRARIES, *reversed(LIBRARIES))], manner="plain")
def test_any_subset_may_be_live(world: World, steps: list[Step], manner: str) -> None:
    world.reset()
    path = world.folder / "x.msgpack"
    with record(path):
        recorded = world.run(steps, manner)
    asked = {name for name, _ in steps}
    assert world.touched() == asked
    for live in CHOICES:
        world.reset()
        with replay(path, live_plugins=list(live), fail_on_unused=True) as session:
            assert world.run(steps, manner) == recorded
        verdict = session.verdict()
        assert world.touched() == asked & set(live)
        assert set(verdict.live) == asked & set(live)
        assert {event.signature.lib for event in verdict.hits} == asked - set(live)
        calls = Counter(name for name, _ in steps)
        for name in set(live) & {"httpx", "requests", "ledger"}:
            assert verdict.live.get(name, 0) == calls[name]
