"""Connections outlive sessions: what happened on them before, or in between, is no part of what comes later."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.contract.framework import drawing, settle
from tests.contract.redis_contract import VERSION, RedisFlavour, typed
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins import disable_redis, enable_redis
from timetracer_otel.session import ReplaySession

NAME = ("_",) if VERSION < (6, 0) else ()
SYNC = RedisFlavour(asynchronous=False)
ASYNC = RedisFlavour(asynchronous=True)
flavours = drawing("flavour", [SYNC, ASYNC])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def replies(path: Path) -> list[Any]:
    events = read_cassette(path).events
    assert [event.not_replayable for event in events] == [None] * len(events)
    return [event.result.reply["replies"] for event in events]


@flavours
def test_a_reply_that_is_read_behind_its_recording(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> None:
        async with flavour.open(server, max_connections=1) as r:
            await settle(r.mset({"a": "A", "b": "B"}))
            connection = await settle(r.connection_pool.get_connection(*NAME))
            with record(tmp_path / "before.msgpack"):
                await settle(connection.send_command("PING"))
            assert await settle(connection.read_response()) == b"PONG"
            await settle(r.connection_pool.release(connection))
            with record(path):
                recorded = [await settle(r.get("a")), await settle(r.get("b")), await settle(r.exists("c"))]
            assert recorded == [b"A", b"B", 0]
            server.stop()
            with replay(path):
                assert [await settle(r.get("a")), await settle(r.get("b")), await settle(r.exists("c"))] == recorded

    flavour.run(app())
    assert replies(path) == [[b"A"], [b"B"], [0]]
    assert "ended before" in read_cassette(tmp_path / "before.msgpack").events[0].result.reply["unread"]


def test_a_pipeline_of_a_thread_that_outlives_its_recording(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with redis.Redis(port=server.port, max_connections=1) as r:
        r.mset({"a": "A", "b": "B"})
        got: list[Any] = []

        def slow() -> None:
            got.append(r.pipeline(transaction=False).set("x", "X").blpop("none", timeout=0.3).get("x").execute())

        with record(tmp_path / "before.msgpack"):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(slow,))
            thread.start()
            time.sleep(0.1)
        thread.join(60)
        assert got == [[True, None, b"X"]]
        with record(path):
            recorded = [r.get("a"), r.get("b")]
    assert recorded == [b"A", b"B"]
    assert replies(path) == [[b"A"], [b"B"]]


@flavours
def test_a_subscription_that_is_closed_behind_its_recording(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.msgpack" for number in range(2)]

    async def app() -> Any:
        async with flavour.open(server, max_connections=1) as r:
            await settle(r.set("a", "A"))
            with record(tmp_path / "before.msgpack"):
                pubsub = r.pubsub()
                await settle(pubsub.subscribe("c"))
                assert (await settle(pubsub.get_message(timeout=20)))["type"] == "subscribe"
            await flavour.close(pubsub)
            for path in paths:
                with record(path):
                    recorded = await settle(r.get("a"))
            server.stop()
            for path in paths:
                with replay(path) as session:
                    assert typed(await settle(r.get("a"))) == typed(recorded) == typed(b"A")
                assert isinstance(session, ReplaySession)
                assert session.misses == []

    flavour.run(app())
    assert [replies(path) for path in paths] == [[[b"A"]]] * 2


async def listening(pubsub: Any, r: Any) -> list[Any]:
    """What comes of a subscription, command by command."""
    await settle(pubsub.subscribe("c"))
    seen = [await settle(pubsub.get_message(timeout=20))]
    await settle(r.publish("c", "one"))
    await settle(pubsub.psubscribe("p*"))
    seen += [await settle(pubsub.get_message(timeout=20)) for _ in range(2)]
    await settle(r.publish("c", "two"))
    return [*seen, await settle(pubsub.get_message(timeout=20))]


@flavours
@pytest.mark.parametrize("whole_process", [False, True], ids=["blocks", "whole process"])
@pytest.mark.parametrize("noted", [False, True], ids=["cassette of before", "cassette"])
def test_a_subscription_over_a_connection_that_was_in_use(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path, whole_process: bool, noted: bool
) -> None:
    path = tmp_path / "x.msgpack"

    async def app(mode: Any, uses: int) -> Any:
        async with flavour.open(server) as r:
            if uses:
                with record(tmp_path / "before.msgpack"):
                    await settle(r.set("a", 1))
                for _ in range(uses):
                    await settle(r.get("a"))
            with mode(path) as session:
                pubsub = r.pubsub()
                seen = await listening(pubsub, r)
                await flavour.close(pubsub)
            return seen, session

    if whole_process:
        enable_redis()
    try:
        recorded, _ = flavour.run(app(record, 5))
    finally:
        disable_redis()
    if not noted:
        cassette = read_cassette(path)
        for event in cassette.events:
            event.result.reply.pop("sent", None)
        save_cassette(cassette, path)
    server.stop()
    replayed, session = flavour.run(app(replay, 0))
    assert typed(replayed) == typed(recorded)
    assert [message["data"] for message in replayed] == [1, b"one", 2, b"two"]
    assert session.misses == []


@flavours
@pytest.mark.parametrize("used", [False, True], ids=["of before", "of before, heard in a recording"])
def test_a_subscription_of_before_is_not_read_live_in_a_replay(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path, used: bool
) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> None:
        async with flavour.open(server) as r:
            pubsub = r.pubsub()
            await settle(pubsub.subscribe("c"))
            await settle(pubsub.get_message(timeout=20))
            with record(path):
                await settle(r.publish("c", "one"))
                if used:
                    assert (await settle(pubsub.get_message(timeout=20)))["data"] == b"one"
            if not used:
                await settle(pubsub.get_message(timeout=20))
            with replay(path, fail_on_miss=False) as session:
                await settle(r.publish("c", "one"))
                with redis.Redis(port=server.port) as other, suppress_instrumentation():
                    other.publish("c", "from outside")
                with pytest.raises(ReplayMismatchError, match="SUBSCRIBE"):
                    await settle(pubsub.get_message(timeout=1))
            assert isinstance(session, ReplaySession)
            assert len(session.misses) == 1
            await flavour.close(pubsub)

    flavour.run(app())
