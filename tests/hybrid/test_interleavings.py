"""Random interleavings of plugins, recorded; then choices of live ones are replayed and compared.

One of the libraries has no plugin: where it is not live, each call of it is refused.

``make test`` replays a few choices, nothing and everything live among them, and ``make fuzz`` every one.
Synchronous ones run in the test's thread, in other threads, and in threads of an event loop; asynchronous ones one
after the other, and gathered in groups of tasks.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import pytest
import redis
import redis.asyncio
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import AsyncAdaptedQueuePool, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.examples import examples, sampled
from tests.loopback import Loopback
from tests.servers.redis import RedisServer
from tests.unplugged import unplugged
from timetracer_otel import NetworkBlockedError, ReplayFailedError, record, replay
from timetracer_otel.calls import registry
from timetracer_otel.plugins import function_plugin

SYNC = ("httpx", "requests", "sqlalchemy", "redis", "ledger", "urllib")
ASYNC = ("httpx", "aiohttp", "sqlalchemy", "redis", "ledger", "urllib")
WITHOUT_PLUGIN = "urllib"
REFUSED = "refused"
Step = tuple[str, int]

LEDGER = """
made = []

def book(n):
    made.append(n)
    return {"n": n, "made": len(made)}

async def book_async(n):
    return book(n)
"""
INSERT = text("INSERT INTO t VALUES (:n)")
COUNTS = text("SELECT n, count(*) FROM t WHERE n = :n GROUP BY n")


class World:
    """Real servers whose answers depend on what they were asked before, and a count of what they were asked."""

    def __init__(self, folder: Path, ledger: ModuleType) -> None:
        self.folder = folder
        self.ledger = ledger
        self.upstream = Loopback()
        self.redis = RedisServer(folder)
        self.database = f"sqlite:///{folder / 'world.db'}"
        self.is_async = False
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
        second = "aiohttp" if self.is_async else "requests"
        found = {
            "httpx": "1" in paths,
            second: "2" in paths,
            "urllib": "3" in paths,
            "sqlalchemy": rows,
            "redis": counted,
        }
        return {name for name, asked in {**found, "ledger": self.ledger.made}.items() if asked}

    def run(self, steps: list[Step], manner: str) -> list[Any]:
        self.is_async = manner in ("awaited", "gathered")
        if self.is_async:
            return asyncio.run(self._run_async(steps, manner))
        engine = create_engine(self.database)
        client = redis.Redis.from_url(self.redis.url)
        do: dict[str, Callable[[int], Any]] = {
            "httpx": lambda n: httpx.get(f"{self.upstream.url}/users/1{n}").json(),
            "requests": lambda n: requests.get(f"{self.upstream.url}/users/2{n}", timeout=60).json(),
            "sqlalchemy": lambda n: self._insert(engine, n),
            "redis": lambda n: (client.incr(f"k{n}"), client.get(f"k{n}")),
            "ledger": lambda n: self.ledger.book(n),
            "urllib": self._plain,
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

    def _plain(self, n: int) -> Any:
        try:
            with urllib.request.urlopen(f"{self.upstream.url}/users/3{n}", timeout=60) as answer:
                return json.load(answer)
        except NetworkBlockedError:
            return REFUSED

    @staticmethod
    def _insert(engine: Any, n: int) -> Any:
        with engine.begin() as connection:
            connection.execute(INSERT, {"n": n})
            return connection.execute(COUNTS, {"n": n}).all()

    async def _run_async(self, steps: list[Step], manner: str) -> list[Any]:
        # One writer at a time, as SQLite has it.
        url = self.database.replace("sqlite", "sqlite+aiosqlite")
        # Older releases pool no connections to SQLite files of their own accord.
        engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
        client = redis.asyncio.Redis.from_url(self.redis.url)
        web, session = httpx.AsyncClient(), aiohttp.ClientSession()

        async def get(n: int) -> Any:
            async with session.get(f"{self.upstream.url}/users/2{n}") as answer:
                return await answer.json()

        async def get_httpx(n: int) -> Any:
            return (await web.get(f"{self.upstream.url}/users/1{n}")).json()

        async def insert(n: int) -> Any:
            async with engine.begin() as connection:
                await connection.execute(INSERT, {"n": n})
                return (await connection.execute(COUNTS, {"n": n})).all()

        async def count(n: int) -> Any:
            pipe = client.pipeline()
            pipe.incr(f"k{n}")
            pipe.get(f"k{n}")
            return await pipe.execute()

        do: dict[str, Callable[[int], Awaitable[Any]]] = {
            "httpx": get_httpx,
            "aiohttp": get,
            "sqlalchemy": insert,
            "redis": count,
            "ledger": lambda n: self.ledger.book_async(n),
            "urllib": lambda n: asyncio.to_thread(self._plain, n),
        }
        try:
            if manner == "awaited":
                return [await do[name](n) for name, n in steps]
            found: list[Any] = []
            # Calls at once whose answers do not depend on who comes first.
            for group in _groups(steps):
                found += await asyncio.gather(*(do[name](n) for name, n in group))
            return found
        finally:
            # redis-py 5.0.0 has only the older name.
            await getattr(client, "aclose", client.close)()
            await engine.dispose()
            await web.aclose()
            await session.close()

    def close(self) -> None:
        self.upstream.stop()
        self.redis.__exit__(None, None, None)


def _groups(steps: list[Step]) -> Iterator[list[Step]]:
    """The steps in their order, in groups that hold no step twice, nor two bookings."""
    group: list[Step] = []
    for name, n in steps:
        if (name, n) in group or (name == "ledger" and any(other == "ledger" for other, _ in group)):
            yield group
            group = []
        group.append((name, n))
    if group:
        yield group


@pytest.fixture(scope="module", autouse=True)
def _without_plugin() -> Iterator[None]:
    with unplugged(WITHOUT_PLUGIN):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ledger = ModuleType("timetracer_test_ledger")
    exec(LEDGER, ledger.__dict__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, ledger.__name__, ledger)
        patch.setattr(registry, "_registered", dict(registry._registered))
        patch.setattr(registry, "_all", None)
        function_plugin("ledger", [f"{ledger.__name__}:book", f"{ledger.__name__}:book_async"])
        world = World(tmp_path_factory.mktemp("world"), ledger)
        yield world
        world.close()


def runs(libraries: tuple[str, ...]) -> Any:
    return st.lists(st.tuples(st.sampled_from(libraries), st.integers(0, 2)), max_size=8)


def choices(libraries: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for size in range(len(libraries) + 1):
        yield from itertools.combinations(libraries, size)


@pytest.mark.hypothesis
@settings(examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=runs(SYNC), manner=st.sampled_from(["plain", "threads", "tasks"]))
@example(steps=[(name, 1) for name in (*SYNC, *reversed(SYNC))], manner="plain")
def test_any_subset_may_be_live(world: World, steps: list[Step], manner: str) -> None:
    _compare_all(world, SYNC, steps, manner)


@pytest.mark.hypothesis
@settings(examples(2), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=runs(ASYNC), manner=st.sampled_from(["awaited", "gathered"]))
@example(steps=[(name, n) for n in (0, 1) for name in (*ASYNC, *reversed(ASYNC))], manner="gathered")
def test_any_subset_may_be_live_in_tasks(world: World, steps: list[Step], manner: str) -> None:
    _compare_all(world, ASYNC, steps, manner)


def _compare_all(world: World, libraries: tuple[str, ...], steps: list[Step], manner: str) -> None:
    world.reset()
    bare = world.run(steps, manner)
    world.reset()
    path = world.folder / "x.msgpack"
    with record(path):
        recorded = world.run(steps, manner)
    assert recorded == bare
    asked = {name for name, _ in steps}
    assert world.touched() == asked
    calls = Counter(name for name, _ in steps)
    for live in sampled(list(choices(libraries)), 8):
        world.reset()
        refused = 0 if WITHOUT_PLUGIN in live else calls[WITHOUT_PLUGIN]
        ended = pytest.raises(ReplayFailedError) if refused else nullcontext()
        with ended, replay(path, live_plugins=list(live), fail_on_unused=True) as session:
            found = world.run(steps, manner)
        assert found == [
            REFUSED if refused and name == WITHOUT_PLUGIN else value
            for (name, _), value in zip(steps, recorded, strict=True)
        ]
        verdict = session.verdict()
        assert world.touched() == asked & set(live)
        assert {name.partition(".")[0] for name in verdict.live} == asked & set(live)
        assert {event.signature.lib for event in verdict.hits} == asked - set(live) - {WITHOUT_PLUGIN}
        assert len(verdict.blocked) == refused
        assert sum(verdict.live[name] for name in verdict.without_plugin) == calls[WITHOUT_PLUGIN] - refused
        for name in set(live) & {"httpx", "requests", "aiohttp", "ledger"}:
            assert verdict.live.get(name, 0) == calls[name]
