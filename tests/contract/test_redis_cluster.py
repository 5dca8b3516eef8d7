"""Clusters of three real servers, recorded, and replayed with all of them stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio.cluster
import redis.cluster
from redis.cluster import ClusterNode

from tests.contract.framework import settle
from tests.contract.redis_contract import VERSION, RedisFlavour, failing, typed
from tests.examples import drawn
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins import disable_redis, enable_redis
from timetracer_otel.session import ReplaySession

FLAVOURS = drawn(
    [
        [RedisFlavour(asynchronous, protocol, decode) for protocol, decode in ((None, False), (2, True), (3, False))]
        for asynchronous in (False, True)
    ],
    "flavours of a cluster",
)
flavours = pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
SLOTS = 16384


class Cluster:
    """Three primaries."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        options = {"cluster-enabled": "yes", "cluster-node-timeout": "15000", "cluster-announce-ip": "127.0.0.1"}
        self.servers = [stack.enter_context(RedisServer(folder, **options)) for _ in range(3)]
        edges = [round(SLOTS * part / 3) for part in range(4)]
        for number, server in enumerate(self.servers):
            _ask(server, "ADDSLOTS", *range(edges[number], edges[number + 1]))
            _ask(server, "SET-CONFIG-EPOCH", number + 1)
        began_s = time.monotonic()
        for tries in range(10):
            # A handshake that takes too long is not repeated by itself.
            for server in self.servers[1:]:
                _ask(server, "MEET", "127.0.0.1", self.servers[0].port)
            while time.monotonic() < began_s + 10 * (tries + 1):
                if all(map(self._is_ready, self.servers)):
                    return
                time.sleep(0.1)
        raise TimeoutError("the cluster did not form")

    def _is_ready(self, server: RedisServer) -> bool:
        return len(_ask(server, "SLOTS")) == len(self.servers) and b"cluster_state:ok" in _ask(server, "INFO")

    def wipe(self) -> None:
        for server in self.servers:
            server.wipe()

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def start(self) -> None:
        pass


def _ask(server: RedisServer, *words: Any) -> Any:
    """What ``CLUSTER …`` answers, as it stands on the wire."""
    connection = redis.Connection(port=server.port, protocol=2)
    try:
        connection.send_command("CLUSTER", *words)
        return connection.read_response()
    finally:
        connection.disconnect()


@asynccontextmanager
async def opened(flavour: RedisFlavour, cluster: Cluster, **options: Any) -> Any:
    choices = {name: value for name, value in flavour.choices.items() if name != "single_connection_client"}
    port = cluster.servers[0].port
    if flavour.asynchronous:
        nodes: Any = [redis.asyncio.cluster.ClusterNode("127.0.0.1", port)]
        client: Any = redis.asyncio.RedisCluster(startup_nodes=nodes, **choices, **options)
    else:
        client = redis.RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)], **choices, **options)
    try:
        yield client
    finally:
        await flavour.close(client)


async def _app(flavour: RedisFlavour, cluster: Cluster) -> list[Any]:
    async with opened(flavour, cluster) as r:
        seen: list[Any] = [await settle(r.set(f"key:{number}", number)) for number in range(12)]
        seen += [await settle(r.get(f"key:{number}")) for number in range(12)]
        seen.append(await settle(r.get("missing")))
        seen.append(await failing(lambda: r.lpush("key:1", "x")))
        seen.append(await failing(lambda: r.mget("key:1", "key:2", "key:3")))
        seen.append(await settle(r.mset_nonatomic({"{a}1": 1, "{b}2": 2})))
        seen.append(await settle(r.mget_nonatomic("{a}1", "{b}2")))
        seen.append(await settle(r.hset("h", mapping={"a": 1})))
        seen.append(await settle(r.hgetall("h")))
        seen.append(await settle(r.dbsize()))
        seen.append(sorted(await settle(r.keys("key:*")), key=str))
        # Any node may be asked for these.
        seen += [await settle(r.ping()), await settle(r.ping(target_nodes=r.get_random_node()))]
        for _ in range(4):
            seen.append(await settle(r.execute_command("ECHO", "hi", target_nodes=r.get_random_node())))
        pipe = r.pipeline()
        for number in range(12):
            pipe.get(f"key:{number}")
        pipe.incr("key:1")
        seen.append(await settle(pipe.execute()))
        pipe = r.pipeline()
        pipe.get("key:1").lpush("key:1", "x").get("key:2")
        seen.append(await settle(pipe.execute(raise_on_error=False)))
        seen.append(await settle(r.eval("return redis.call('GET', KEYS[1])", 1, "key:3")))
        seen.append(await settle(r.delete("key:1")))
        seen.append(await settle(r.exists("key:1")))
        return seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """The app, bare and recorded in every flavour; the cluster is stopped behind it."""
    folder = tmp_path_factory.mktemp("cluster")
    seen: dict[Any, Any] = {"folder": folder}
    with ExitStack() as stack:
        cluster = seen["cluster"] = Cluster(folder, stack)
        for flavour in FLAVOURS:
            seen[flavour.name, "bare"] = typed(flavour.run(_app(flavour, cluster)))
            cluster.wipe()
            with record(folder / flavour.name):
                seen[flavour.name, "recorded"] = typed(flavour.run(_app(flavour, cluster)))
            cluster.wipe()
            with record(folder / f"{flavour.name}-added"):
                pass
            with replay(folder / f"{flavour.name}-added", record_mode="new_episodes"):
                seen[flavour.name, "adding"] = typed(flavour.run(_app(flavour, cluster)))
            cluster.wipe()
        enable_redis()
        for flavour in FLAVOURS:
            before = folder / f"{flavour.name}-b"
            seen[flavour.name, "before"] = flavour.run(_made_before(flavour, cluster, before))
            shutil.copy(before, folder / f"{flavour.name}-more")
            with replay(folder / f"{flavour.name}-more", record_mode="new_episodes") as session:
                seen[flavour.name, "more"] = flavour.run(_made_inside(flavour, cluster, more=True))
            assert len(session.verdict().hits) >= len(seen[flavour.name, "before"])
            cluster.wipe()
        disable_redis()
        cluster.stop()
        yield seen


async def _calls(r: Any, more: bool = False) -> list[Any]:
    seen = [await settle(r.set("key:1", 1))]
    if more:
        seen += [await settle(r.incr(f"key:{number}")) for number in range(3, 9)]
    seen += [await settle(r.get("key:1")), await settle(r.get("key:2"))]
    if more:
        seen += [await settle(r.get(f"key:{number}")) for number in range(3, 9)]
    return seen


async def _made_before(flavour: RedisFlavour, cluster: Cluster, path: Path) -> Any:
    """Record with a client that knew its cluster before the recording began."""
    async with opened(flavour, cluster) as r:
        await settle(r.ping())
        await settle(r.info(target_nodes=r.get_random_node()))
        with record(path):
            return await _calls(r)


async def _made_inside(flavour: RedisFlavour, cluster: Cluster, more: bool = False) -> Any:
    async with opened(flavour, cluster) as r:
        return await _calls(r, more)


@flavours
def test_recording_changes_nothing(runs: dict[Any, Any], flavour: RedisFlavour) -> None:
    assert runs[flavour.name, "recorded"] == runs[flavour.name, "bare"]
    assert runs[flavour.name, "adding"] == runs[flavour.name, "bare"]


@flavours
def test_what_is_new_comes_from_the_cluster_and_stays(runs: dict[Any, Any], flavour: RedisFlavour) -> None:
    assert [str(item) for item in runs[flavour.name, "more"][1:7]] == ["1"] * 6
    with replay(runs["folder"] / f"{flavour.name}-more") as session:
        assert flavour.run(_made_inside(flavour, runs["cluster"], more=True)) == runs[flavour.name, "more"]
    assert isinstance(session, ReplaySession)
    assert session.misses == []


@flavours
@pytest.mark.parametrize("kind", ["recorded", "added"])
def test_replay_gives_what_was_recorded(runs: dict[Any, Any], flavour: RedisFlavour, kind: str) -> None:
    for _ in range(3):
        name = flavour.name if kind == "recorded" else f"{flavour.name}-added"
        with replay(runs["folder"] / name) as session:
            assert typed(flavour.run(_app(flavour, runs["cluster"]))) == runs[flavour.name, "recorded"]
        assert isinstance(session, ReplaySession)
        assert session.misses == []
        # An asynchronous client sends its first command to any node, which may know better.
        left = [
            event for event in session.get_unconsumed_events() if "MovedError" not in (event.result.error_type or "")
        ]
        assert [event.signature for event in left] == []


@flavours
def test_addresses_are_those_of_the_nodes(runs: dict[Any, Any], flavour: RedisFlavour) -> None:
    urls = {event.signature.url for event in read_cassette(runs["folder"] / flavour.name).events}
    assert {f"redis://127.0.0.1:{server.port}/0" for server in runs["cluster"].servers} <= urls


@flavours
def test_a_client_that_knew_its_cluster_before_the_recording(runs: dict[Any, Any], flavour: RedisFlavour) -> None:
    """Made anew in the replay, it asks what no server is there to answer."""
    for _ in range(2):
        with replay(runs["folder"] / f"{flavour.name}-b") as session:
            assert typed(flavour.run(_made_inside(flavour, runs["cluster"]))) == typed(runs[flavour.name, "before"])
            assert isinstance(session, ReplaySession)
            assert session.misses == []


@flavours
def test_what_an_app_asked_before_the_recording_answers_nothing(runs: dict[Any, Any], flavour: RedisFlavour) -> None:
    """But for what a cluster client asks by itself."""
    if flavour.asynchronous and VERSION < (5, 1):
        pytest.skip("this client asks for INFO like an app")

    async def app() -> None:
        async with opened(flavour, runs["cluster"]) as r:
            await _calls(r)
            for node in r.get_nodes():
                with pytest.raises(ReplayMismatchError, match="INFO"):
                    await settle(r.info(target_nodes=node))

    with replay(runs["folder"] / f"{flavour.name}-b", fail_on_miss=False):
        flavour.run(app())
