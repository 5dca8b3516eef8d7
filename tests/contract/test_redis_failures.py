"""What goes wrong comes back as itself: errors of connections, time-outs, cancellations, retries, our refusals."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff

from tests.contract.framework import drawing, settle
from tests.contract.redis_contract import NAME, RedisFlavour, failing, three_runs, typed
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.base import faults
from timetracer_otel.calls.flow import FAULT
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.redis import call
from timetracer_otel.session import ReplaySession

SYNC = RedisFlavour(asynchronous=False)
ASYNC = RedisFlavour(asynchronous=True)
flavours = drawing("flavour", [SYNC, ASYNC])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def retrying(flavour: RedisFlavour, times: int) -> Any:
    return flavour.module.retry.Retry(NoBackoff(), times)


def down(server: RedisServer) -> None:
    """Stop a server, unless this is a replay: then it is stopped already."""
    if server.running:
        server.stop()


class Ups:
    """Stops and starts a server while an app runs, and leaves it alone in a replay."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._playing = server.running

    def down(self) -> None:
        if self._playing:
            self._server.stop()

    def up(self) -> None:
        if self._playing:
            self._server.start()

    def freeze(self) -> None:
        if self._playing:
            self._server.freeze()

    def thaw(self) -> None:
        if self._playing:
            self._server.thaw()


@flavours
@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("single", [False, True], ids=["pool", "single"])
def test_refused_connections(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path, retries: int, single: bool
) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        ups = Ups(server)
        ups.down()
        seen: list[Any] = []
        try:
            async with flavour.open(server, retry=retrying(flavour, retries), single_connection_client=single) as r:
                seen.append(await failing(lambda: r.set("a", 1)))
                seen.append(await failing(lambda: r.get("a")))
                for transaction in (True, False):
                    pipe = r.pipeline(transaction=transaction)
                    pipe.set("a", 1)
                    seen.append(await failing(pipe.execute))
                pipe = r.pipeline()
                seen.append(await failing(lambda: pipe.watch("a")))
                seen.append(await failing(lambda: r.pubsub().subscribe("c")))
                seen.append(await failing(r.ping))
        except redis.ConnectionError as error:
            # The synchronous client connects at once, if it keeps one connection to itself.
            seen.append(typed(error))
        ups.up()
        return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_a_server_that_goes_away_and_comes_back(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        ups = Ups(server)
        async with flavour.open(server) as r:
            seen = [await settle(r.set("a", 1)), await settle(r.get("a"))]
            ups.down()
            # On the broken connection, then on one that cannot be made.
            seen += [await failing(lambda: r.get("a")) for _ in range(3)]
            ups.up()
            seen += [await failing(lambda: r.get("a")) for _ in range(2)]
            seen.append(await settle(r.set("a", 2)))
            seen.append(await settle(r.get("a")))
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_a_connection_that_is_killed_is_made_again(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        options = {"retry": retrying(flavour, 3), "retry_on_error": [redis.ConnectionError]}
        async with flavour.open(server, **options) as r, flavour.open(server) as other:
            seen = []
            for _ in range(3):
                seen.append(await settle(r.incr("n")))
                await settle(other.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes"))
            seen.append(await settle(r.incr("n")))
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_a_connection_that_breaks_while_watching(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server, retry=retrying(flavour, 1)) as r, flavour.open(server) as other:
            pipe = r.pipeline()
            await settle(pipe.watch("a"))
            await settle(other.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes"))
            seen = [await failing(lambda: pipe.get("a"))]
            await settle(pipe.reset())
            pipe.set("a", 1)
            seen.append(await failing(pipe.execute))
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_timeouts(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        ups = Ups(server)
        async with flavour.open(server, socket_timeout=0.5) as r:
            seen = [await settle(r.set("a", 1))]
            ups.freeze()
            seen.append(await failing(lambda: r.get("a")))
            pipe = r.pipeline()
            pipe.get("a")
            ups.thaw()
            seen.append(await failing(lambda: r.blpop("empty", timeout=5)))
            seen.append(await failing(pipe.execute))
            seen.append(await settle(r.get("a")))
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_retries_after_timeouts(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        ups = Ups(server)
        options = {"socket_timeout": 0.2, "retry": retrying(flavour, 30), "retry_on_error": [redis.TimeoutError]}
        async with flavour.open(server, **options) as r:
            seen = [await settle(r.set("a", 1))]
            ups.freeze()
            timer = threading.Timer(0.5, ups.thaw)
            timer.start()
            seen.append(await settle(r.get("a")))
            timer.join()
            return seen

    three_runs(app, flavour, server, tmp_path)


@flavours
def test_authentication(flavour: RedisFlavour, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        seen = []
        for options in (
            {},
            {"password": "wrong"},
            {"password": "right"},
            {"username": "default", "password": "right"},
        ):
            async with flavour.open(server, **options) as r:
                seen.append(await failing(lambda: r.set("a", 1)))
                seen.append(await failing(lambda: r.get("a")))
        return seen

    class Guarded(RedisServer):
        def wipe(self) -> None:
            pass

    with Guarded(tmp_path, requirepass="right") as server:
        cassette = three_runs(app, flavour, server, tmp_path)
    assert b"right" not in Path(cassette.path or "").read_bytes()
    assert b"wrong" not in Path(cassette.path or "").read_bytes()


@flavours
def test_a_pool_that_is_exhausted(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server, max_connections=1) as r:
            pipe = r.pipeline()
            await settle(pipe.watch("a"))
            seen = [await failing(lambda: r.get("a"))]
            await settle(pipe.reset())
            seen.append(await settle(r.get("a")))
            return seen

    three_runs(app, flavour, server, tmp_path)


def test_cancellation(server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            seen: list[Any] = []
            try:
                await asyncio.wait_for(r.blpop("empty", timeout=60), 0.5)
            except asyncio.TimeoutError:
                seen.append("cancelled")
            seen.append(await r.set("a", 1))
            task = asyncio.create_task(r.brpop("empty", timeout=60))
            # It connects again first, and may wait for a busy server.
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen.append(await r.get("a"))
            return seen

    cassette = three_runs(app, ASYNC, server, tmp_path)
    cancelled = [event for event in cassette.events if event.not_replayable]
    assert [event.signature.method for event in cancelled] == ["BLPOP", "BRPOP"]
    assert all("cancelled" in (event.not_replayable or "") for event in cancelled)


def test_a_call_that_was_cancelled_and_now_is_not(server: RedisServer, tmp_path: Path) -> None:
    async def app(timeout_s: float) -> Any:
        async with ASYNC.open(server) as r:
            return await asyncio.wait_for(r.blpop("empty", timeout=60), timeout_s)

    path = tmp_path / "x.msgpack"
    with record(path), pytest.raises(asyncio.TimeoutError):
        asyncio.run(app(0.5))
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="cancelled"):
        asyncio.run(app(20))


def test_a_call_that_was_not_recorded(server: RedisServer, tmp_path: Path) -> None:
    def app(key: str, times: int) -> list[Any]:
        with redis.Redis(port=server.port) as r:
            return [r.get(key) for _ in range(times)]

    path = tmp_path / "x.msgpack"
    with record(path):
        app("a", 2)
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match=r"args\[1\]: recorded 'a', now 'b'"):
        app("b", 1)
    with replay(path), pytest.raises(ReplayMismatchError, match="No recorded answer is left"):
        app("a", 3)
    with replay(path, strict_replay=False), pytest.raises(ReplayMismatchError):
        app("b", 1)


def test_a_pipeline_that_changed(server: RedisServer, tmp_path: Path) -> None:
    def app(*keys: str) -> list[Any]:
        with redis.Redis(port=server.port) as r:
            pipe = r.pipeline()
            for key in keys:
                pipe.get(key)
            return pipe.execute()

    path = tmp_path / "x.msgpack"
    with record(path):
        app("a", "b")
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="MULTI"):
        app("a", "c")


def test_a_reply_without_encoding(server: RedisServer, tmp_path: Path) -> None:
    """It reaches the app; its event says why it cannot be replayed, and nothing else is lost."""
    connections = redis.connection

    class Strange:
        pass

    class StrangeParser(connections.DefaultParser):  # type: ignore[misc, valid-type]
        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            reply = super().read_response(*args, **kwargs)
            return Strange() if reply == b"strange" else reply

    def app() -> list[Any]:
        pool = redis.ConnectionPool(port=server.port, parser_class=StrangeParser, protocol=2)
        r = redis.Redis(connection_pool=pool)
        seen = [r.set("a", "strange"), type(r.get("a")).__name__, r.set("b", 1), r.get("b")]
        pool.disconnect()
        return seen

    path = tmp_path / "x.msgpack"
    with record(path):
        assert app() == [True, "Strange", True, b"1"]
    events = read_cassette(path).events
    assert [event.signature.method for event in events if event.not_replayable] == ["GET"]
    assert "Strange" in (events[1].not_replayable or "")
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="Strange"):
        app()


def test_a_reply_longer_than_the_limit(server: RedisServer, tmp_path: Path) -> None:
    def app() -> list[Any]:
        with redis.Redis(port=server.port) as r:
            return [r.set("a", "x" * 5000), r.get("a"), r.set("b", 1)]

    path = tmp_path / "x.msgpack"
    with record(path, max_body_kb=1):
        assert app() == [True, b"x" * 5000, True]
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="TIMETRACER_MAX_BODY_KB=1"):
        app()


def test_replies_that_are_not_to_be_kept(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path, store_response_body="never"), redis.Redis(port=server.port) as r:
        r.set("a", "private")
        assert r.get("a") == b"private"
    get = read_cassette(path).events[1]
    assert get.result.reply is None
    assert "TIMETRACER_STORE_RES_BODY" in (get.not_replayable or "")


def test_another_protocol_is_refused(server: RedisServer, tmp_path: Path) -> None:
    def app(protocol: int) -> Any:
        with redis.Redis(port=server.port, protocol=protocol) as r:
            return r.hgetall("h")

    path = tmp_path / "x.msgpack"
    with record(path):
        app(2)
    server.stop()
    with replay(path), pytest.raises(ReplayMismatchError, match="protocol=2, and the client now speaks protocol=3"):
        app(3)


def test_another_decoding_is_followed(server: RedisServer, tmp_path: Path) -> None:
    def app(decode: bool) -> Any:
        with redis.Redis(port=server.port, decode_responses=decode) as r:
            return [r.set("a", "ä"), r.get("a"), r.hset("h", "f", "ö"), r.hgetall("h"), r.keys("h")]

    recorded: dict[bool, Any] = {}
    for decode in (False, True):
        server.wipe()
        with record(tmp_path / f"{decode}"):
            recorded[decode] = app(decode)
    server.stop()
    for decode in (False, True):
        with replay(tmp_path / f"{not decode}"):
            assert typed(app(decode)) == typed(recorded[decode])


@flavours
def test_a_fast_retry_does_not_outrun_its_time(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    """With `replay_timing` an answer takes as long as it did."""
    path = tmp_path / "x.msgpack"

    async def app() -> float:
        began = time.perf_counter()
        async with flavour.open(server) as r:
            await settle(r.blpop("empty", timeout=0.9))
        return time.perf_counter() - began

    with record(path):
        flavour.run(app())
    server.stop()
    with replay(path):
        assert flavour.run(app()) < 0.85
    with replay(path, replay_timing=True):
        assert flavour.run(app()) > 0.85


def broken(*_: Any) -> Any:
    raise RuntimeError("broken")


def test_a_reply_that_the_recorder_fails_to_note(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.msgpack"
    with record(path), redis.Redis(port=server.port) as r:
        monkeypatch.setattr(call.RoundTrip, "_keep", broken)
        monkeypatch.setattr(faults, "contain", lambda *_: None)
        assert r.ping() is True
    assert [event.not_replayable for event in read_cassette(path).events] == [FAULT]


@pytest.mark.parametrize(
    "place",
    ["libraries.redis.steps.new_round_trip", "calls.flow.Recording", "libraries.redis.call.RoundTrip.observe"],
)
def test_a_reply_is_never_kept_for_the_command_behind_it(
    place: str, server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands are sent before the first reply is read, and the first one was not noted for a fault of ours."""
    monkeypatch.setattr(faults, "raise_faults", False)
    path = tmp_path / "x.msgpack"
    with redis.Redis(port=server.port) as r:
        r.set("a", 1)
        r.set("b", 2)
        connection = r.connection_pool.get_connection(*NAME)
        with record(path):
            with monkeypatch.context() as patch:
                patch.setattr(f"timetracer_otel.{place}", broken)
                connection.send_command("GET", "a")
            connection.send_command("GET", "b")
            assert [connection.read_response(), connection.read_response()] == [b"1", b"2"]
            connection.send_command("GET", "b")
            assert connection.read_response() == b"2"
        with record(tmp_path / "next.msgpack"):
            connection.send_command("GET", "b")
            assert connection.read_response() == b"2"
        r.connection_pool.release(connection)
    seen = [(event.call and event.call.args, event.not_replayable) for event in read_cassette(path).events]
    assert seen == [(["GET", "b"], FAULT)] * 2
    (event,) = read_cassette(tmp_path / "next.msgpack").events
    assert event.not_replayable is None
    assert event.result.reply["replies"] == [b"2"]


def test_a_subscription_ends_with_a_fault_and_the_app_hears_on(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    path = tmp_path / "x.msgpack"
    with redis.Redis(port=server.port) as r, record(path), r.pubsub() as channel:
        channel.subscribe("c")
        assert channel.get_message(timeout=60)["type"] == "subscribe"
        with monkeypatch.context() as patch:
            patch.setattr("timetracer_otel.libraries.redis.steps._note", broken)
            r.publish("c", "one")
            assert channel.get_message(timeout=60)["data"] == b"one"
        r.publish("c", "two")
        assert channel.get_message(timeout=60)["data"] == b"two"
    found = {event.signature.method: event.not_replayable for event in read_cassette(path).events}
    assert found["SUBSCRIBE"] == FAULT


def test_a_fault_in_a_replay_leaves_no_reply_behind(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.msgpack"
    with redis.Redis(port=server.port) as r, record(path):
        r.mset({"a": 1, "b": 2})
        assert (r.mget("a", "b"), r.get("b")) == ([b"1", b"2"], b"2")
    server.stop()
    monkeypatch.setattr(faults, "raise_faults", False)

    with replay(path), redis.Redis(port=server.port) as r:
        r.mset({"a": 1, "b": 2})
        connection = r.connection_pool.get_connection(*NAME)
        connection.send_command("MGET", "a", "b")
        with monkeypatch.context() as patch:
            patch.setattr("timetracer_otel.libraries.redis.answer.reply", broken)
            with pytest.raises(ReplayMismatchError, match=r"a fault of ours in .*broken"):
                connection.read_response()
        connection.send_command("GET", "b")
        assert connection.read_response() == b"2"
        r.connection_pool.release(connection)


@pytest.mark.parametrize("transaction", [False, True], ids=["pipeline", "transaction"])
@pytest.mark.parametrize("now", [2, 4])
def test_a_loosely_matched_pipeline_of_another_length(
    server: RedisServer, tmp_path: Path, transaction: bool, now: int
) -> None:
    def app(number: int) -> Any:
        with redis.Redis(port=server.port) as r:
            pipe = r.pipeline(transaction=transaction)
            for key in range(number):
                pipe.set(f"k{key}", 1)
            return pipe.execute()

    path = tmp_path / "x.msgpack"
    with record(path):
        app(3)
    server.stop()
    with (
        replay(path, match_on=["method", "url"], fail_on_miss=False) as session,
        pytest.raises(ReplayMismatchError, match="replies to"),
    ):
        app(now)
    assert isinstance(session, ReplaySession)
    assert len(session.misses) == 1


@flavours
def test_locks_repeat_like_other_calls(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(times: int) -> list[Any]:
        seen = []
        async with flavour.open(server) as r:
            for _ in range(times):
                lock = r.lock("lock", timeout=5)
                seen += [await settle(lock.acquire()), await settle(r.get("a")), await settle(lock.release())]
        return seen

    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = flavour.run(app(2))
    server.stop()
    with replay(path, allow_repeats=True) as session:
        assert flavour.run(app(4)) == recorded * 2
    assert isinstance(session, ReplaySession)
    assert session.misses == []
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError):
        flavour.run(app(3))


@flavours
@pytest.mark.parametrize("word", ["SKIP", "off"])
def test_replies_that_are_switched_off(flavour: RedisFlavour, server: RedisServer, tmp_path: Path, word: str) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> list[Any]:
        async with flavour.open(server, single_connection_client=True) as r:
            await settle(r.mset({"a": "A", "b": "B"}))
            connection = r.connection
            for command in (("CLIENT", "REPLY", word), ("SET", "n", 1)):
                await settle(connection.send_command(*command))
            if word == "off":
                await settle(connection.send_command("CLIENT", "REPLY", "ON"))
                assert await settle(connection.read_response()) == b"OK"
            return [await settle(r.get("a")), await settle(r.get("b"))]

    with record(path):
        assert flavour.run(app()) == [b"A", b"B"]
    events = read_cassette(path).events
    assert events[0].result.reply["replies"] == [b"OK"]
    assert {event.not_replayable is None or "CLIENT REPLY" in event.not_replayable for event in events} == {True}
    assert [event.signature.method for event in events if event.not_replayable is None] == ["MSET"]
    assert not any(event.result.reply["replies"] for event in events[1:])
    server.stop()
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError, match="CLIENT REPLY"):
        flavour.run(app())


@flavours
def test_a_miss_in_a_transaction_is_not_hidden_by_its_cleaning_up(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path
) -> None:
    async def app(value: str) -> Any:
        async with flavour.open(server) as r:
            pipe = r.pipeline()
            await settle(pipe.watch("k"))
            await settle(pipe.get("k"))
            pipe.multi()
            pipe.set("k", value)
            return await settle(pipe.execute())

    with record(tmp_path / "x.msgpack"):
        flavour.run(app("1"))
    server.stop()
    with (
        pytest.raises(ReplayMismatchError, match=r"args\[1\]\[2\]: recorded '1', now '2'"),
        replay(tmp_path / "x.msgpack") as session,
    ):
        flavour.run(app("2"))
    assert len(session.verdict().misses) == 1
    with pytest.raises(ReplayMismatchError, match="redis UNWATCH"), replay(tmp_path / "x.msgpack"):
        # By itself it is a call like any other.
        flavour.run(unwatch(flavour, server))


async def unwatch(flavour: RedisFlavour, server: RedisServer) -> None:
    async with flavour.open(server) as r:
        await settle(r.execute_command("UNWATCH"))
