"""What redis-py's own test suite found: connections look as made, replies stay unread, and redaction can be off."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call, patch

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.contract.redis_contract import NAME
from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_redis, enable_redis

App = Callable[[int], Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "redis.msgpack"


def made(connection: Any) -> list[bool]:
    """Whether a connection is made, by everything that says so. Sync connections have ``is_connected`` from 7 on."""
    names = [name for name in ("_sock", "_reader", "_writer") if hasattr(connection, name)]
    return [*(getattr(connection, name) is not None for name in names), getattr(connection, "is_connected", True)]


def sync_app(port: int) -> list[Any]:
    client = redis.Redis(port=port)
    connection = client.connection_pool.get_connection(*NAME)
    seen: list[Any] = [made(connection)]
    connection.send_command("PING")
    connection.send_command("SET", "key", "value")
    seen.append(connection.read_response())
    connection.disconnect()
    seen.append(made(connection))
    connection.connect()
    seen.append(made(connection))
    client.connection_pool.release(connection)
    seen.append(client.get("key"))
    client.close()
    seen.append(made(connection))
    return seen


def async_app(port: int) -> list[Any]:
    async def run() -> list[Any]:
        client = redis.asyncio.Redis(port=port)
        connection = await client.connection_pool.get_connection(*NAME)
        seen: list[Any] = [made(connection)]
        await connection.send_command("PING")
        await connection.send_command("SET", "key", "value")
        seen.append(await connection.read_response())
        await connection.disconnect()
        seen.append(made(connection))
        await connection.connect()
        seen.append(made(connection))
        await client.connection_pool.release(connection)
        seen.append(await client.get("key"))
        await getattr(client, "aclose", client.close)()
        seen.append(made(connection))
        return seen

    return asyncio.run(run())


@pytest.mark.parametrize("app", [sync_app, async_app])
def test_connections_look_as_made_and_replies_may_stay_unread(server: RedisServer, path: Path, app: App) -> None:
    bare = app(server.port)
    with record(path):
        assert app(server.port) == bare
    server.stop()
    with replay(path):
        assert app(server.port) == bare


def sync_app_that_gives_up(port: int) -> list[Any]:
    client = redis.Redis(port=port, socket_timeout=0.5)
    connection = client.connection_pool.get_connection(*NAME)
    connection.send_command("BLPOP", "nothing", 20)
    seen: list[Any] = [made(connection)]
    with pytest.raises(redis.TimeoutError):
        connection.read_response()
    seen.append(made(connection))
    client.close()
    return seen


def async_app_that_gives_up(port: int) -> list[Any]:
    async def run() -> list[Any]:
        client = redis.asyncio.Redis(port=port, socket_timeout=0.5)
        connection = await client.connection_pool.get_connection(*NAME)
        await connection.send_command("BLPOP", "nothing", 20)
        seen: list[Any] = [made(connection)]
        with pytest.raises(redis.TimeoutError):
            await connection.read_response()
        seen.append(made(connection))
        await getattr(client, "aclose", client.close)()
        return seen

    return asyncio.run(run())


@pytest.mark.parametrize("app", [sync_app_that_gives_up, async_app_that_gives_up])
def test_a_connection_that_failed_looks_closed(server: RedisServer, path: Path, app: App) -> None:
    bare = app(server.port)
    assert bare[1][0] is False
    with record(path):
        assert app(server.port) == bare
    server.stop()
    with replay(path):
        assert app(server.port) == bare


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_connection_that_was_played_looks_closed_without_the_plugin(
    server: RedisServer, path: Path, asynchronous: bool
) -> None:
    async def play() -> Any:
        client = redis.asyncio.Redis(port=server.port)
        connection = await client.connection_pool.get_connection(*NAME)
        await connection.send_command("PING")
        assert await connection.read_response() == b"PONG"
        if with_server:
            await connection.disconnect()
        return connection

    def played() -> Any:
        if asynchronous:
            return asyncio.run(play())
        connection = redis.Redis(port=server.port).connection_pool.get_connection(*NAME)
        connection.send_command("PING")
        assert connection.read_response() == b"PONG"
        if with_server:
            connection.disconnect()
        return connection

    with_server = True
    with record(path):
        played()
    with_server = False
    with replay(path):
        connection = played()
        assert made(connection)[0]
    # The block was what switched the plugin on.
    assert not made(connection)[0]


def test_a_reply_that_the_recorded_app_never_read_is_refused_at_the_read(server: RedisServer, path: Path) -> None:
    with record(path):
        sync_app(server.port)
    client = redis.Redis(port=server.port)
    with replay(path, fail_on_miss=False) as session:
        connection = client.connection_pool.get_connection(*NAME)
        connection.send_command("PING")
        connection.send_command("SET", "key", "value")
        assert connection.read_response() == b"PONG"
        assert not session.verdict().misses
        with pytest.raises(ReplayMismatchError, match="closed before its reply was read"):
            connection.read_response()
        assert session.verdict().misses
    client.close()


@pytest.mark.parametrize("disabled", [False, True])
def test_a_connection_that_was_played_is_made_when_it_is_used_for_real(
    server: RedisServer, path: Path, disabled: bool
) -> None:
    enable_redis()
    client = redis.Redis(port=server.port)
    with record(path):
        client.ping()
    client.connection_pool.disconnect()
    with replay(path):
        assert client.ping()
    if disabled:
        disable_redis()
    assert client.set("key", "value")
    assert client.get("key") == b"value"
    client.close()
    disable_redis()


def with_passwords(port: int) -> list[Any]:
    # A password that is refused counts as a lost connection: by default the client tries again, for seconds.
    client = redis.Redis(port=port, retry=Retry(NoBackoff(), 1))
    seen: list[Any] = [client.config_set("masterauth", "s3cret-one"), client.config_get("masterauth")]
    for words in (("AUTH", "ada", "s3cret-two"), ("NOSUCH", "s3cret-three")):
        try:
            client.execute_command(*words)
        except redis.RedisError as error:
            seen.append((type(error), str(error)))
    client.close()
    return seen


@pytest.mark.parametrize("redact", ["off", "default"])
def test_without_redaction_nothing_is_redacted(server: RedisServer, path: Path, redact: Any) -> None:
    made_up: list[Any] = []

    def app() -> list[Any]:
        client = redis.Redis(port=server.port)
        made_up.append(client.acl_genpass())
        client.close()
        return with_passwords(server.port)

    with record(path, redact=redact):
        recorded = app()
    server.stop()
    with replay(path):
        replayed = app()
    secrets = [f"s3cret-{number}" for number in ("one", "two", "three")]
    kept = [secret for secret in secrets if secret.encode() in path.read_bytes()]
    if redact == "off":
        assert replayed == recorded
        assert made_up[0] == made_up[1]
        assert kept == secrets
        args = [event.call.args for event in read_cassette(path).events if event.call is not None]
        assert ["AUTH", "ada", "s3cret-two"] in args
    else:
        assert made_up[0] != made_up[1]
        assert len(made_up[0]) == len(made_up[1]), "a pseudonym"
        # Nobody knows which arguments of an unknown command are secret.
        assert kept == secrets[2:]


Client = Any
ORDERS: list[Callable[[Client, list[str]], Any]] = [
    lambda client, names: client.sadd("set", *names),
    lambda client, names: client.srem("set", *names[:2]),
    lambda client, names: client.execute_command("sadd", "set", *names),
    lambda client, names: client.pfadd("hll", *names),
    lambda client, names: client.hset("hash", mapping={name: name * 2 for name in names}),
    lambda client, names: client.mset({name: name * 2 for name in names}),
    lambda client, names: client.zadd("sorted", {name: ord(name) for name in names}, ch=True),
    lambda client, names: client.exists(*names),
    lambda client, names: client.hdel("hash", *names),
    lambda client, names: client.pipeline().sadd("set", *names).delete(*names).execute(),
    lambda client, names: sorted(client.sunion(["set", *names])),
]


def test_what_a_command_is_given_of_a_set_has_no_order(server: RedisServer, path: Path) -> None:
    """The order of a set depends on the hash seed of the process: ``sadd(key, *names)``."""
    client = redis.Redis(port=server.port)

    def app(names: list[str]) -> list[Any]:
        return [do(client, names) for do in ORDERS]

    with record(path):
        bare = app(["a", "b", "c"])
    server.stop()
    with replay(path):
        assert app(["b", "a", "c"]) == bare


MISSED: list[Callable[[Client, list[str]], Any]] = [
    lambda client, names: client.mget(names),
    lambda client, names: client.rpush("list", *names),
    lambda client, names: client.sdiff(names),
    # Where a name stands there twice, the last value counts.
    lambda client, names: client.execute_command("HSET", "hash", "n", names[0], "n", names[1]),
    lambda client, names: client.zadd("sorted", dict(zip(names, [1, 2], strict=True))),
    lambda client, names: client.hset("hash", mapping=dict(zip(names, "xy", strict=True))),
    lambda client, names: client.sadd(*names),
]


def test_an_order_that_means_something_counts(server: RedisServer, path: Path) -> None:
    client = redis.Redis(port=server.port)
    with record(path):
        for do in MISSED:
            do(client, ["a", "b"])
        client.delete("a", "b", "list", "hash", "sorted")
    for do in MISSED:
        with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError):
            do(client, ["b", "a"])


def test_a_mock_of_a_connection_answers_by_itself(server: RedisServer, path: Path) -> None:
    """The client's own tests put one beneath the proxy of client-side caching."""

    def app() -> Any:
        mocked = Mock()
        mocked.can_read.return_value = False
        mocked.read_response.return_value = b"bar"
        cache = Mock()
        cache.is_cachable.return_value = False
        proxy = proxies(mocked, cache, threading.RLock())
        proxy._current_command_cache_key = None
        proxy.send_command("GET", "foo", keys=["foo"])
        mocked.send_command.assert_called_once()
        return proxy.read_response()

    proxies: Any = getattr(redis.connection, "CacheProxyConnection", None)
    if proxies is None:  # before redis-py 5.1
        return
    assert app() == b"bar"
    with record(path):
        assert app() == b"bar"
    with replay(path):
        assert app() == b"bar"


def looking_sync(port: int, looks: int) -> list[Any]:
    """Look for messages for some time, in which a busy machine looks less often; then ask for something else."""
    client = redis.Redis(port=port)
    listener = client.pubsub()
    seen: list[Any] = []
    for ask in (listener.subscribe, listener.unsubscribe):
        ask("news")
        seen.append(listener.get_message(timeout=60))
        seen += [message for _ in range(looks) if (message := listener.get_message()) is not None]
        if not listener.subscribed:
            break
    listener.close()
    client.close()
    return seen


def looking_async(port: int, looks: int) -> list[Any]:
    async def run() -> list[Any]:
        client = redis.asyncio.Redis(port=port)
        listener = client.pubsub()
        seen: list[Any] = []
        for ask in (listener.subscribe, listener.unsubscribe):
            await ask("news")
            seen.append(await listener.get_message(timeout=60))
            for _ in range(looks):
                message = await listener.get_message(timeout=0.001) if listener.subscribed else None
                seen += [message] if message is not None else []
        await getattr(listener, "aclose", listener.close)()
        await getattr(client, "aclose", client.close)()
        return seen

    return asyncio.run(run())


@pytest.mark.parametrize("app", [looking_sync, looking_async])
def test_who_looks_less_often_misses_no_message(server: RedisServer, path: Path, app: Callable[..., Any]) -> None:
    bare = app(server.port, 1)
    assert [message["type"] for message in bare] == ["subscribe", "unsubscribe"]
    with record(path):
        assert app(server.port, 9) == bare
    server.stop()
    with replay(path):
        assert app(server.port, 1) == bare


async def subscriber(port: int, *, cancels: bool) -> list[Any]:
    """A subscriber that reconnects; somebody may cancel that, and it tries again."""
    client = redis.asyncio.Redis(port=port)
    pubsub = client.pubsub()
    await pubsub.subscribe("news")
    seen: list[Any] = [await pubsub.get_message(timeout=60)]
    connection: Any = pubsub.connection
    await connection.disconnect()
    connecting = asyncio.ensure_future(pubsub.connect())
    await asyncio.sleep(0)
    if cancels:
        connecting.cancel()
    await asyncio.wait({connecting})
    seen.append("cancelled" if connecting.cancelled() else connecting.exception())
    await pubsub.connect()
    seen.append(await pubsub.get_message(timeout=60))
    await getattr(pubsub, "aclose", pubsub.close)()
    await getattr(client, "aclose", client.close)()
    return seen


def test_a_connection_that_was_cancelled_may_be_made_in_a_replay(server: RedisServer, path: Path) -> None:
    message = {"type": "subscribe", "pattern": None, "channel": b"news", "data": 1}
    with record(path):
        assert asyncio.run(subscriber(server.port, cancels=True)) == [message, "cancelled", message]
    assert "CONNECT" in [event.signature.method for event in read_cassette(path).events]
    server.stop()
    for cancels, seen in ((True, "cancelled"), (False, None)):
        with replay(path):
            assert asyncio.run(subscriber(server.port, cancels=cancels)) == [message, seen, message]


def losing_sync(port: int, timeout: float | None) -> list[Any]:
    # By default the client tries again, for seconds.
    client = redis.Redis(port=port, retry=Retry(NoBackoff(), 1))
    listener = client.pubsub()
    listener.subscribe("news")
    seen: list[Any] = [listener.get_message(timeout=60)]
    connection: Any = listener.connection
    with patch.object(connection, "_parser") as parser:
        parser.can_read.side_effect = parser.read_response.side_effect = ConnectionResetError("reset by the peer")
        with pytest.raises(redis.ConnectionError) as lost:
            listener.get_message(timeout=timeout)
        seen += [str(lost.value), made(connection)]
    seen += [listener.get_message(timeout=60), made(connection)]
    listener.close()
    client.close()
    return seen


@pytest.mark.parametrize("timeout", [0.1, None])
def test_a_subscriber_that_lost_its_connection_while_it_looked_loses_it_in_a_replay(
    server: RedisServer, path: Path, timeout: float | None
) -> None:
    bare = losing_sync(server.port, timeout)
    with record(path):
        assert losing_sync(server.port, timeout) == bare
    server.stop()
    with replay(path):
        assert losing_sync(server.port, timeout) == bare


def sync_health(port: int) -> list[Any]:
    client = redis.Redis(port=port, health_check_interval=60, single_connection_client=True)
    connection: Any = client.connection
    # redis-py 5 asks for the time of day.
    clock = time.time if redis.__version__.startswith("5.") else time.monotonic
    seen: list[Any] = [client.set("key", "value"), due_in(connection, clock())]
    before = connection.next_health_check
    time.sleep(0.001)
    seen += [client.get("key"), connection.next_health_check > before]
    with patch.object(connection, "send_command", wraps=connection.send_command) as sent:
        connection.next_health_check = 0
        seen += [client.get("key"), sent.call_args_list, due_in(connection, clock())]
        connection.next_health_check = 0
        pipeline = client.pipeline()
        pipeline.get("key")
        seen += [pipeline.execute(), sent.call_args_list]
    connection.next_health_check = 0
    connection.check_health()
    seen.append(due_in(connection, clock()))
    client.close()
    return seen


def async_health(port: int) -> list[Any]:
    async def run() -> list[Any]:
        clock = asyncio.get_running_loop().time
        client = redis.asyncio.Redis(port=port, health_check_interval=60, single_connection_client=True)
        seen: list[Any] = [await client.set("key", "value")]
        connection: Any = client.connection
        seen.append(due_in(connection, clock()))
        before = connection.next_health_check
        await asyncio.sleep(0.001)
        seen += [await client.get("key"), connection.next_health_check > before]
        with patch.object(connection, "send_command", wraps=connection.send_command) as sent:
            connection.next_health_check = 0
            seen += [await client.get("key"), sent.call_args_list, due_in(connection, clock())]
            connection.next_health_check = 0
            pipeline = client.pipeline()
            pipeline.get("key")
            seen += [await pipeline.execute(), sent.call_args_list]
        connection.next_health_check = 0
        await connection.check_health()
        seen.append(due_in(connection, clock()))
        await getattr(client, "aclose", client.close)()
        return seen

    return asyncio.run(run())


def due_in(connection: Any, now_s: float) -> bool:
    """Whether the next health check is due as much later as a connection that was just heard has it."""
    return 50 < connection.next_health_check - now_s <= 60


@pytest.mark.parametrize("app", [sync_health, async_health])
def test_health_checks_are_made_in_a_replay_too(server: RedisServer, path: Path, app: App) -> None:
    bare = app(server.port)
    assert call("PING", check_health=False) in bare[5]
    with record(path):
        assert app(server.port) == bare
    assert [event.signature.method for event in read_cassette(path).events].count("PING") == 1, "the app's own"
    server.stop()
    with replay(path):
        assert app(server.port) == bare
