"""``new_episodes`` with Redis: known commands come from the cassette, new ones from a connection that is made then.

That all kinds of commands can be new, the other tests of Redis show (`three_runs`); here known ones stand between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.contract.framework import drawing, settle
from tests.contract.redis_contract import RedisFlavour, failing, typed
from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette

FLAVOURS = [RedisFlavour(asynchronous, single=single) for asynchronous in (False, True) for single in (False, True)]
flavours = drawing(
    "flavour", *([each for each in FLAVOURS if each.asynchronous == asynchronous] for asynchronous in (False, True))
)
App = Callable[[Any, bool], Awaitable[Any]]
APPS: list[App] = []


def app(function: App) -> App:
    APPS.append(function)
    return function


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@app
async def commands(r: Any, more: bool) -> Any:
    seen = [await settle(r.set("a", 1)), await settle(r.get("a"))]
    if more:
        seen += [await settle(r.incr("b")), await settle(r.get("b"))]
    seen += [await settle(r.hset("h", "f", "v")), await settle(r.get("a"))]
    if more:
        seen += [await failing(lambda: r.incr("h")), await settle(r.get("a")), await settle(r.hgetall("h"))]
    return seen


@app
async def pipelines(r: Any, more: bool) -> Any:
    seen = []
    for transaction in (True, False):
        pipe = r.pipeline(transaction=transaction)
        pipe.set("a", 1).get("a")
        seen.append(await settle(pipe.execute()))
        if more:
            pipe.rpush("l", 1, 2).get("l").lrange("l", 0, -1)
            seen.append(await settle(pipe.execute(raise_on_error=False)))
        pipe.get("a")
        seen.append(await settle(pipe.execute()))
    return [typed(item) for item in seen]


@app
async def watched_transactions(r: Any, more: bool) -> Any:
    seen = []
    for new in (False, True) if more else (False,):
        pipe = r.pipeline()
        await settle(pipe.watch("a"))
        seen.append(await settle(pipe.get("a")))
        if new:
            # What was watched is watched on the real connection, as soon as there is one: it changes then.
            seen += [await settle(pipe.get("b")), await settle(r.incr("a"))]
        pipe.multi()
        pipe.set("c", "1")
        if new:
            pipe.set("d", "1")
        seen.append(await failing(pipe.execute))
        await settle(pipe.reset())
    if more:
        seen.append(await settle(r.get("d")))
    return seen


@app
async def another_database(r: Any, more: bool) -> Any:
    single = r.client()
    if hasattr(single, "initialize"):
        await single.initialize()
    seen = [await settle(single.select(3)), await settle(single.set("a", 3))]
    if more:
        seen += [await settle(single.get("b")), await settle(single.set("b", 3))]
    seen.append(await settle(single.get("a")))
    await settle((getattr(single, "aclose", None) or single.close)())
    if more:
        seen.append(await settle(r.get("b")))
    return seen


@app
async def scripts(r: Any, more: bool) -> Any:
    script = r.register_script("return ARGV[1]")
    seen = [await settle(script(args=["1"]))]
    if more:
        seen += [await settle(script(args=["2"])), await settle(r.eval("return 7", 0))]
    seen.append(await settle(script(args=["3"])))
    return seen


@app
async def subscriptions(r: Any, more: bool) -> Any:
    known, new = r.pubsub(), r.pubsub()
    await settle(known.subscribe("a"))
    seen = [await settle(known.get_message(timeout=20))]
    if more:
        await settle(new.subscribe("b"))
        seen += [await settle(new.get_message(timeout=20)), await settle(r.publish("b", "1"))]
        seen.append(await settle(new.get_message(timeout=20)))
        await settle(new.subscribe("a"))
        seen += [await settle(new.get_message(timeout=20)), await settle(new.get_message(timeout=0.05))]
        # A server may count a subscriber that hung up a moment ago; one that said so, it does not.
        await settle(new.unsubscribe("a"))
        seen.append(await settle(new.get_message(timeout=20)))
        await settle((getattr(new, "aclose", None) or new.close)())
    seen += [await settle(r.publish("a", "2")), await settle(known.get_message(timeout=20))]
    await settle((getattr(known, "aclose", None) or known.close)())
    return seen


@app
async def a_transaction_by_hand(r: Any, more: bool) -> Any:
    single = r.client()
    if hasattr(single, "initialize"):
        await single.initialize()
    seen = [await settle(single.set("a", "1"))]
    if more:
        words = (("MULTI",), ("SET", "a", "1"), ("INCR", "n"), ("EXEC",))
        seen += [await settle(single.execute_command(*line)) for line in words]
    seen.append(await settle(single.get("a")))
    await settle((getattr(single, "aclose", None) or single.close)())
    return seen


def run(flavour: RedisFlavour, server: RedisServer, work: App, more: bool) -> Any:
    async def main() -> Any:
        async with flavour.open(server) as client:
            return typed(await work(client, more))

    return flavour.run(main())


@flavours
@pytest.mark.parametrize("work", APPS, ids=lambda app: app.__name__)
def test_what_is_new_comes_from_the_server_and_stays(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path, work: App
) -> None:
    path = tmp_path / "x.msgpack"
    bare = run(flavour, server, work, True)
    server.wipe()
    with record(path):
        recorded = run(flavour, server, work, False)
    events = len(read_cassette(path).events)
    with replay(path, record_mode="new_episodes", fail_on_unused=True) as session:
        assert run(flavour, server, work, False) == recorded
    assert session.verdict().recorded == 0
    with replay(path, record_mode="new_episodes", fail_on_unused=True, block_network=True) as session:
        assert run(flavour, server, work, True) == bare
    assert session.verdict().recorded > 0
    grown = read_cassette(path)
    assert len(grown.events) == events + session.verdict().recorded
    assert all(event.not_replayable is None for event in grown.events)
    server.stop()
    with replay(path, fail_on_unused=True):
        assert run(flavour, server, work, True) == bare


@flavours
def test_a_known_command_makes_no_connection(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path):
        seen = run(flavour, server, commands, False)
    server.stop()
    with replay(path, record_mode="new_episodes"):
        assert run(flavour, server, commands, False) == seen

    async def beyond(r: Any, more: bool) -> Any:
        return [await settle(r.set("a", 1)), await failing(lambda: r.get("unknown")), await settle(r.get("a"))]

    with replay(path, record_mode="new_episodes") as session:
        tried = run(flavour, server, beyond, True)
    assert session.verdict().misses == ()
    assert "ConnectionError" in str(tried)
    assert session.verdict().recorded == 1
    with replay(path):
        assert run(flavour, server, beyond, True) == tried


@flavours
def test_nothing_new_goes_between_what_belongs_together(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    """In a recorded transaction, and among recorded messages, there is no place for a real reply."""
    path = tmp_path / "x.msgpack"

    async def work(r: Any, more: bool) -> Any:
        single = r.client()
        if hasattr(single, "initialize"):
            await single.initialize()
        await settle(single.execute_command("MULTI"))
        if more:
            with pytest.raises(ReplayMismatchError):
                await settle(single.execute_command("SET", "new", "1"))
            await settle(single.execute_command("MULTI"))
        await settle(single.execute_command("EXEC"))
        await settle((getattr(single, "aclose", None) or single.close)())
        pubsub = r.pubsub()
        await settle(pubsub.subscribe("a"))
        if more:
            with pytest.raises(ReplayMismatchError):
                await settle(pubsub.subscribe("new"))
        await settle((getattr(pubsub, "aclose", None) or pubsub.close)())

    with record(path):
        run(flavour, server, work, False)
    with replay(path, record_mode="new_episodes", fail_on_miss=False, allow_repeats=True) as session:
        run(flavour, server, work, True)
    assert len(session.verdict().misses) == 2
    client = redis.Redis(port=server.port)
    assert client.exists("new") == 0
    client.close()


def test_replies_that_nobody_read_answer_nothing_else(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    client = redis.Redis(port=server.port, single_connection_client=True)
    with record(path):
        client.execute_command("MULTI")
        client.execute_command("DISCARD")
    with replay(path, record_mode="new_episodes", fail_on_miss=False, allow_repeats=True):
        connection = client.connection
        assert connection is not None
        connection.send_command("SET", "a", "1")
        connection.send_command("MULTI")
        with pytest.raises(ReplayMismatchError):
            # Not within a recorded transaction. The reply to the first command waits on the real connection.
            connection.send_command("GET", "b")
        assert client.get("a") == b"1"
    client.close()
