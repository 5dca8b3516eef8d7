"""Subscriptions: messages come in order, in replay too, and looking in vain stays looking in vain.

A test is run with a synchronous and an asynchronous client, over RESP2 and over RESP3; in ``make test-whole`` with
each flavour of these.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.utils import HIREDIS_AVAILABLE

from tests.contract.framework import drive, each, settle
from tests.contract.redis_contract import HAS_HIREDIS, RedisFlavour, failing, three_runs, typed
from tests.examples import drawn
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session import ReplaySession

SYNC = RedisFlavour(asynchronous=False)
ASYNC = RedisFlavour(asynchronous=True)
FLAVOURS = [
    RedisFlavour(asynchronous, protocol, decode)
    for asynchronous in (False, True)
    for protocol, decode in ((None, False), (2, False), (2, True), (3, False))
]
FLAVOURS += [RedisFlavour(asynchronous, 3, hiredis=True) for asynchronous in (False, True) if HAS_HIREDIS]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


KINDS = [
    [flavour for flavour in FLAVOURS if (flavour.asynchronous, flavour.protocol == 3) == kind]
    for kind in product((False, True), repeat=2)
]


def flavours(test: Callable[..., None]) -> Callable[..., None]:
    chosen = drawn(KINDS, "subscriptions", test.__name__)
    mark = pytest.mark.parametrize("flavour", chosen, ids=[flavour.name for flavour in chosen])
    return pytest.mark.sweep(mark(test))


async def message(pubsub: Any, timeout: float = 2.0) -> Any:
    return await settle(pubsub.get_message(timeout=timeout))


@flavours
def test_messages_in_order(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.subscribe("one", "two"))
            await settle(pubsub.psubscribe("p*"))
            seen = [await message(pubsub) for _ in range(3)]
            # Nothing there yet, several times.
            seen += [await message(pubsub, 0.01) for _ in range(3)]
            for number in range(5):
                seen.append(await settle(r.publish("one", number)))
                seen.append(await settle(r.publish("pattern", b"\xff\x00" if not flavour.decode else "ä")))
            seen += [await message(pubsub) for _ in range(10)]
            seen.append(await message(pubsub, 0.0))
            await settle(pubsub.unsubscribe("one"))
            seen.append(await message(pubsub))
            seen.append(await settle(r.publish("one", "unheard")))
            await settle(pubsub.punsubscribe())
            await settle(pubsub.unsubscribe())
            seen += [await message(pubsub) for _ in range(2)]
            seen.append(pubsub.subscribed)
            await flavour.close(pubsub)
            seen.append(await settle(r.pubsub_channels()))
            seen.append(await settle(r.pubsub_numsub("one")))
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_a_handler_of_pushes_has_every_message(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    """With RESP3, a read gives what the handler returns, or raises what it raises."""

    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen: list[Any] = []

        def heard(given: Any) -> Any:
            seen.append([*given])
            # The library's own parser gives a message again whose handler raised.
            if given[-1] == b"bad" and flavour.hiredis:
                raise ValueError(given)

        async def heard_later(given: Any) -> Any:
            return heard(given)

        # redis-py 5.0 awaits no handler.
        handler = heard_later if flavour.asynchronous and not redis.__version__.startswith("5.0.") else heard
        async with flavour.open(server) as r:
            # With RESP2 nothing is pushed, and the library takes no handler.
            pubsub = r.pubsub(push_handler_func=handler) if flavour.protocol == 3 else r.pubsub()
            await settle(pubsub.subscribe("one"))
            seen.append(await message(pubsub))
            for text in ("good", "bad", "better"):
                await settle(r.publish("one", text))
                try:
                    seen.append(await message(pubsub))
                except ValueError as error:
                    seen.append(repr(error))
            seen.append(await message(pubsub, 0.01))
            await flavour.close(pubsub)
        # redis-py 5.0 gives hiredis no handler.
        has_handler = flavour.protocol == 3 and not (redis.__version__.startswith("5.0.") and HIREDIS_AVAILABLE)
        assert len(seen) == (9 if has_handler else 5)
        return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_listening_until_a_word(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen = []
        async with flavour.open(server) as r:
            pubsub = r.pubsub(ignore_subscribe_messages=True)
            await settle(pubsub.subscribe("c"))
            for word in ("a", "b", "stop"):
                await settle(r.publish("c", word))
            async for item in each(pubsub.listen()):
                seen.append(item)
                if item["data"] in ("stop", b"stop"):
                    break
            await flavour.close(pubsub)
        return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_handlers(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        handled: list[Any] = []
        async with flavour.open(server) as r:
            pubsub = r.pubsub(ignore_subscribe_messages=True)
            await settle(pubsub.subscribe(c=handled.append))
            await message(pubsub)
            await settle(r.publish("c", "for the handler"))
            handled.append(await message(pubsub))
            await flavour.close(pubsub)
        return handled

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_two_subscriptions_with_the_same_channel(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            both = [r.pubsub(), r.pubsub()]
            for pubsub in both:
                await settle(pubsub.subscribe("c"))
            seen = [await message(pubsub) for pubsub in both]
            for word in ("a", "b", "c"):
                await settle(r.publish("c", word))
            seen += [await message(both[0]) for _ in range(3)]
            seen += [await message(both[1]) for _ in range(3)]
            for pubsub in both:
                await flavour.close(pubsub)
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_ping_of_a_subscription(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.subscribe("c"))
            seen = [await message(pubsub)]
            await settle(pubsub.ping("are you there"))
            seen.append(await message(pubsub))
            await flavour.close(pubsub)
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_health_checks_are_no_messages(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server, health_check_interval=0.05) as r:
            pubsub = r.pubsub(ignore_subscribe_messages=True)
            await settle(pubsub.subscribe("c"))
            seen = []
            for number in range(3):
                await flavour.pause(0.08)
                time.sleep(0 if flavour.asynchronous else 0.08)
                seen.append([await message(pubsub, 0.05) for _ in range(4)])
                await settle(r.publish("c", number))
                found = None
                while found is None:
                    found = await message(pubsub, 0.2)
                seen.append(found)
            await flavour.close(pubsub)
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_subscribing_again_after_the_connection_broke(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        module = flavour.module
        retry = module.retry.Retry(redis.backoff.NoBackoff(), 3)
        async with flavour.open(server) as r, flavour.open(server, retry=retry) as listener:
            pubsub = listener.pubsub()
            await settle(pubsub.subscribe("c"))
            seen = [await message(pubsub)]
            await settle(r.client_kill_filter(_type="pubsub"))
            # redis-py 5 tells the app, and connects again the next time; later versions do it at once.
            seen += [await failing(lambda: message(pubsub, 0.3)) for _ in range(2)]
            await settle(r.publish("c", "after all"))
            seen.append(await message(pubsub))
            await flavour.close(pubsub)
            return seen

    three_runs(app, flavour, server, tmp_path)


@pytest.mark.parametrize("flavour", [SYNC, ASYNC], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("listens", [False, True], ids=["get_message", "listen"])
def test_messages_before_an_outage(flavour: RedisFlavour, server: RedisServer, tmp_path: Path, listens: bool) -> None:
    async def worker(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen: list[Any] = []
        # In a replay the server is stopped already.
        live = server.running
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.subscribe("c"))
            await settle(r.publish("c", "1"))
            for _ in range(3):
                try:
                    async for item in each(pubsub.listen()) if listens else several(pubsub):
                        seen.append((item["type"], item["data"]))
                        if item["data"] in (b"1", "1") and live:
                            server.stop()
                except redis.ConnectionError as error:
                    # What it was raised on top of depends on where it is raised.
                    seen.append((type(error), str(error)))
            await flavour.close(pubsub)
        if live:
            server.start()
        return seen

    three_runs(worker, flavour, server, tmp_path)


async def several(pubsub: Any) -> AsyncIterator[Any]:
    """Messages, each asked for."""
    while (item := await message(pubsub, 20)) is not None:
        yield item


@pytest.mark.parametrize("flavour", [SYNC, ASYNC], ids=lambda flavour: flavour.name)
def test_monitor(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            monitor = r.monitor()
            if flavour.asynchronous:
                await monitor.connect()
                await monitor.connection.send_command("MONITOR")
                seen = [await monitor.connection.read_response()]
            else:
                seen = [monitor.__enter__() and None]
            await settle(r.set("a", 1))
            seen.append((await settle(monitor.next_command()))["command"])
            await settle(monitor.connection.disconnect())
            return seen

    three_runs(app, flavour, server, tmp_path)


def test_a_thread_that_listens(server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen: list[Any] = []
        done = threading.Event()

        def handle(item: Any) -> None:
            seen.append(item)
            if item["data"] == b"2":
                done.set()

        async with flavour.open(server) as r:
            pubsub = r.pubsub(ignore_subscribe_messages=True)
            pubsub.subscribe(c=handle)
            thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
            for number in range(3):
                r.publish("c", number)
            assert done.wait(60)
            thread.stop()
            thread.join(60)
            return seen

    three_runs(app, SYNC, server, tmp_path)


def test_a_task_that_listens_and_is_cancelled(server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen: list[Any] = []
        got = asyncio.Event()

        async def listen(pubsub: Any) -> None:
            async for item in pubsub.listen():
                seen.append(item)
                got.set()

        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await pubsub.subscribe("c")
            task = asyncio.create_task(listen(pubsub))
            for word in ("a", "b"):
                await asyncio.wait_for(got.wait(), 30)
                got.clear()
                await r.publish("c", word)
            await asyncio.wait_for(got.wait(), 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await flavour.close(pubsub)
            return seen

    three_runs(app, ASYNC, server, tmp_path)


def test_a_replay_waits_for_the_command_that_caused_a_message(server: RedisServer, tmp_path: Path) -> None:
    """A reader that is faster than when it was recorded does not see the answer to what nobody asked yet."""

    def app(pause_s: float) -> Any:
        with redis.Redis(port=server.port) as r:
            pubsub = r.pubsub()
            pubsub.subscribe("a")
            seen = [pubsub.get_message(timeout=20)]
            timer = threading.Timer(pause_s, lambda: pubsub.subscribe("b"))
            timer.start()
            if pause_s == 0:
                timer.join()
            seen += [pubsub.get_message(timeout=20)]
            timer.join()
            pubsub.close()
            return seen

    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = app(0)
    server.stop()
    with replay(path):
        assert app(0.3) == recorded


def test_beyond_the_last_message(server: RedisServer, tmp_path: Path) -> None:
    """Looking finds nothing; waiting for ever is refused."""

    def app(messages: int) -> Any:
        with redis.Redis(port=server.port) as r:
            pubsub = r.pubsub()
            pubsub.subscribe("a")
            for number in range(2):
                r.publish("a", number)
            # Three were recorded. For those that were not, looking is over soon.
            seen = [pubsub.get_message(timeout=20 if number < 3 else 0.2) for number in range(messages)]
            if messages > 3:
                with pytest.raises(ReplayMismatchError, match="no more messages were recorded"):
                    pubsub.parse_response(block=True)
            pubsub.close()
            return seen

    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = app(3)
    server.stop()
    with replay(path) as session:
        assert app(5) == [*recorded, None, None]
    assert isinstance(session, ReplaySession)
    assert len(session.misses) == 1


def test_another_subscription_is_a_mismatch(server: RedisServer, tmp_path: Path) -> None:
    def app(channel: str) -> Any:
        with redis.Redis(port=server.port) as r:
            pubsub = r.pubsub()
            try:
                pubsub.subscribe(channel)
                return pubsub.get_message(timeout=20)
            finally:
                pubsub.close()

    path = tmp_path / "x.msgpack"
    with record(path):
        app("a")
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="SUBSCRIBE"):
        app("b")


def test_more_messages_than_a_recording_keeps(server: RedisServer, tmp_path: Path) -> None:
    def app(number: int) -> Any:
        with redis.Redis(port=server.port) as r:
            pubsub = r.pubsub()
            pubsub.subscribe("a")
            for _ in range(20):
                r.publish("a", "x" * 100)
            seen = [pubsub.get_message(timeout=20) for _ in range(number)]
            pubsub.close()
            return seen

    path = tmp_path / "x.msgpack"
    with record(path, max_body_kb=1):
        recorded = app(21)
    server.stop()
    with replay(path):
        assert app(5) == recorded[:5]

    def blocked() -> Any:
        with redis.Redis(port=server.port) as r:
            pubsub = r.pubsub()
            pubsub.subscribe("a")
            return [pubsub.parse_response(block=True) for _ in range(21)]

    with replay(path), pytest.raises(ReplayMismatchError, match="TIMETRACER_MAX_BODY_KB"):
        blocked()


def test_what_the_server_does_not_know(server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.ssubscribe("shard"))
            seen = [await failing(lambda: message(pubsub)) for _ in range(1)]
            await flavour.close(pubsub)
            return seen

    three_runs(app, SYNC, server, tmp_path)


def test_typed_tells_types_apart() -> None:
    assert typed([1]) != typed([True])
    assert typed({"a": b"x"}) != typed({"a": "x"})
    assert drive(failing(lambda: 1)) == 1


@pytest.mark.skipif(not HAS_HIREDIS, reason="needs hiredis, and a redis-py that reads RESP3 with it")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("first", [False, True], ids=["recorded in Python", "recorded with hiredis"])
def test_hiredis_need_not_be_where_the_recording_was_made(
    asynchronous: bool, first: bool, server: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "x.msgpack"

    async def app(flavour: RedisFlavour) -> Any:
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.subscribe("c"))
            seen = [await message(pubsub)]
            await settle(r.publish("c", b"\xff"))
            seen.append(await message(pubsub))
            await flavour.close(pubsub)
            await settle(r.zadd("z", {"a": 1.5, "b": float("inf")}))
            await settle(r.hset("h", mapping={"f": "v"}))
            seen += [await settle(r.hgetall("h")), await settle(r.sadd("s", "x")), await settle(r.smembers("s"))]
            seen += [await settle(r.zrange("z", 0, -1, withscores=True)), await settle(r.get("none"))]
            return typed([*seen, await settle(r.config_get("hz")), await failing(lambda: r.incr("h"))])

    with record(path):
        flavour = RedisFlavour(asynchronous, 3, hiredis=first)
        recorded = flavour.run(app(flavour))
    server.stop()
    with replay(path) as session:
        flavour = RedisFlavour(asynchronous, 3, hiredis=not first)
        assert flavour.run(app(flavour)) == recorded
    assert isinstance(session, ReplaySession)
    assert session.misses == []
