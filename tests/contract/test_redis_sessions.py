"""Redis around the edges: tracing, clients of before, threads and tasks, live replays, switching off again."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.contract.framework import drawing, settle
from tests.contract.redis_contract import VERSION, RedisFlavour, failing, three_runs, typed
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.redis.internals import places
from timetracer_otel.plugins import disable_redis, enable_redis
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import ReplaySession

NAME = ("_",) if VERSION < (6, 0) else ()
"""What a pool wants to know with redis-py 5, and warns of later."""
SYNC = RedisFlavour(asynchronous=False)
ASYNC = RedisFlavour(asynchronous=True)
flavours = drawing("flavour", [SYNC, ASYNC])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # What is attached to a global provider by itself; there can be one of those in a process.
    provider.add_span_processor(runtime().processor)
    return provider


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    before = functions()
    yield
    disable_redis()
    if RedisInstrumentor().is_instrumented_by_opentelemetry:
        RedisInstrumentor().uninstrument()
    assert functions() == before


def functions() -> list[Any]:
    return [vars(place.owner)[place.name] for place in places(redis)]


async def traced(flavour: RedisFlavour, server: RedisServer) -> Any:
    async with flavour.open(server) as r:
        seen = [await settle(r.set("a", "text")), await settle(r.get("a")), await failing(lambda: r.incr("a"))]
        pipe = r.pipeline()
        pipe.set("b", 1).get("b")
        seen.append(await settle(pipe.execute()))
        await settle(pipe.watch("b"))
        seen.append(await settle(pipe.get("b")))
        await settle(pipe.reset())
        return seen


def described(exporter: InMemorySpanExporter) -> list[Any]:
    spans = [
        (
            span.name,
            span.kind.name,
            span.status.status_code.name,
            span.status.description,
            {name: value for name, value in (span.attributes or {}).items() if name != "timetracer.replayed"},
            [event.name for event in span.events],
        )
        for span in exporter.get_finished_spans()
    ]
    exporter.clear()
    return spans


@flavours
@pytest.mark.parametrize("order", ["first", "last", "again"])
def test_events_name_their_spans(
    flavour: RedisFlavour,
    server: RedisServer,
    tmp_path: Path,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    order: str,
) -> None:
    if order == "last":
        enable_redis()
    RedisInstrumentor().instrument(tracer_provider=provider)
    if order == "again":
        enable_redis()
        disable_redis()
    if order != "last":
        enable_redis()
    path = tmp_path / "x.msgpack"

    flavour.run(traced(flavour, server))
    bare = described(exporter)
    server.wipe()
    with record(path):
        flavour.run(traced(flavour, server))
    ids = {f"{span.context.span_id:016x}": span.name for span in exporter.get_finished_spans() if span.context}
    assert described(exporter) == bare
    events = read_cassette(path).events
    # The last one is sent when a pipeline is put back, in no span.
    methods = ["SET", "GET", "INCRBY", "MULTI", "WATCH", "GET", "UNWATCH"]
    assert [event.signature.method for event in events] == methods
    assert all(event.span and event.span.name == ids[event.span.span_id] for event in events[:-1])
    assert events[-1].span is None
    assert {event.event_type for event in events} == {EventType.REDIS}

    server.stop()
    with replay(path):
        flavour.run(traced(flavour, server))
    replayed = exporter.get_finished_spans()
    assert sum(bool((span.attributes or {}).get("timetracer.replayed")) for span in replayed) == len(methods) - 1
    assert described(exporter) == bare


@flavours
@pytest.mark.parametrize("outage", [False, True], ids=["server", "no server"])
def test_a_subscription_does_not_mark_the_span_of_the_app(
    flavour: RedisFlavour,
    server: RedisServer,
    tmp_path: Path,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    outage: bool,
) -> None:
    """OpenTelemetry makes no span for it."""
    RedisInstrumentor().instrument(tracer_provider=provider)

    async def app() -> None:
        with provider.get_tracer("test").start_as_current_span("request"):
            async with flavour.open(server) as r:
                await failing(lambda: r.get("a"))
                pubsub = r.pubsub()
                await failing(lambda: pubsub.subscribe("c"))
                if not outage:
                    await settle(pubsub.get_message(timeout=20))
                    await settle(pubsub.unsubscribe())
                await flavour.close(pubsub)

    path = tmp_path / "x.msgpack"
    if outage:
        server.stop()
    with record(path):
        flavour.run(app())
    server.stop()
    exporter.clear()
    with replay(path):
        flavour.run(app())
    marked = {span.name: (span.attributes or {}).get("timetracer.replayed") for span in exporter.get_finished_spans()}
    assert marked == {"GET": True, "request": None}


@flavours
def test_recording_does_not_depend_on_sampling(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    RedisInstrumentor().instrument(tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    cassette = three_runs(traced, flavour, server, tmp_path)
    assert len(cassette.events) == 7


@flavours
def test_suppressed_calls_pass_through(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> Any:
        async with flavour.open(server) as r:
            with suppress_instrumentation():
                return await settle(r.set("a", 1))

    with record(path):
        flavour.run(app())
    assert read_cassette(path).events == []
    with replay(path):
        assert flavour.run(app()) is True


@flavours
def test_the_parent_of_equal_calls_decides(
    flavour: RedisFlavour, server: RedisServer, tmp_path: Path, provider: TracerProvider
) -> None:
    tracer = provider.get_tracer("test")
    RedisInstrumentor().instrument(tracer_provider=provider)
    path = tmp_path / "x.msgpack"

    async def app(*names: str) -> dict[str, Any]:
        seen = {}
        async with flavour.open(server) as r:
            for name in names:
                with tracer.start_as_current_span(name):
                    seen[name] = await settle(r.incr("n"))
        return seen

    with record(path):
        recorded = flavour.run(app("one", "two", "three"))
    server.stop()
    with replay(path):
        assert flavour.run(app("three", "one", "two")) == recorded


def test_clients_made_and_connected_before(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    r = redis.Redis(port=server.port)
    r.ping()
    pipe = r.pipeline()
    pubsub = r.pubsub()

    def app() -> list[Any]:
        pubsub.subscribe("c")
        pipe.get("a")
        seen = [pubsub.get_message(timeout=20), r.set("a", 1), r.get("a"), pipe.execute()]
        pubsub.unsubscribe()
        return [*seen, pubsub.get_message(timeout=20)]

    with record(path):
        recorded = app()
    server.stop()
    with replay(path):
        assert app() == recorded
    server.start()
    # The client goes on for real behind the replay.
    assert r.get("a") is None
    pubsub.close()
    r.close()


def test_a_client_made_before_whose_connection_lives_on(server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    r = redis.Redis(port=server.port, single_connection_client=True)
    with record(path):
        assert r.incr("n") == 1
    assert r.incr("n") == 2
    with replay(path):
        assert r.incr("n") == 1
    assert r.incr("n") == 3
    r.close()


@flavours
def test_replies_that_nobody_read(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    """The pool makes such a connection anew; the next command gets its own reply (but redis-py 8 with RESP3)."""

    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server, protocol=2) as r:
            connection = await settle(r.connection_pool.get_connection(*NAME))
            await settle(connection.send_command("ECHO", "unread"))
            server.catch_up()
            await flavour.pause(0.05)
            await settle(r.connection_pool.release(connection))
            return [await settle(r.set("a", 1)), await settle(r.get("a"))]

    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = flavour.run(app(flavour, server))
    events = read_cassette(path).events
    assert [event.not_replayable for event in events] == [None, None, None]
    assert "before its reply was read" in events[0].result.reply["unread"]
    server.stop()
    assert recorded == [True, b"1"]
    with replay(path):
        assert flavour.run(app(flavour, server)) == recorded


def test_reading_part_of_the_replies_in_a_replay(server: RedisServer, tmp_path: Path) -> None:
    def app(read: int) -> Any:
        with redis.Redis(port=server.port, protocol=2) as r:
            pool = r.connection_pool
            connection = pool.get_connection(*NAME)
            connection.send_packed_command(connection.pack_commands([("ECHO", "one"), ("ECHO", "two")]))
            seen = [connection.read_response() for _ in range(read)]
            pool.release(connection)
            return [*seen, r.set("a", 1)]

    path = tmp_path / "x.msgpack"
    with record(path):
        assert app(2) == [b"one", b"two", True]
    server.stop()
    with replay(path):
        assert app(1) == [b"one", True]


def test_commands_that_are_sent_as_an_iterator(server: RedisServer, tmp_path: Path) -> None:
    def app() -> Any:
        with redis.Redis(port=server.port, protocol=2, socket_timeout=5) as r:
            # Nothing is decided about what a connection sends once a call on it was recorded.
            seen = [r.set("a", 1), r.get("a")]
            connection = r.connection_pool.get_connection(*NAME)
            connection.send_packed_command(iter(connection.pack_commands([("GET", "a"), ("ECHO", "x")])))
            seen += [connection.read_response(), connection.read_response()]
            r.connection_pool.release(connection)
            return seen

    path = tmp_path / "x.msgpack"
    with record(path):
        recorded = app()
    assert recorded == [True, b"1", b"1", b"x"]
    server.stop()
    with replay(path):
        assert app() == recorded


@flavours
def test_many_calls_at_once(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    async def app(flavour: RedisFlavour, server: RedisServer) -> Any:
        async with flavour.open(server) as r:
            if flavour.asynchronous:

                async def one(number: int) -> Any:
                    await r.set(f"k{number}", number)
                    await asyncio.sleep(0.001 * (number % 7))
                    return await r.get(f"k{number}")

                return await asyncio.gather(*map(one, range(50)))

            def one_in_thread(number: int) -> Any:
                r.set(f"k{number}", number)
                return r.get(f"k{number}")

            with ThreadPoolExecutor(8) as pool:
                contexts = [contextvars.copy_context() for _ in range(50)]
                return list(pool.map(lambda pair: pair[1].run(one_in_thread, pair[0]), enumerate(contexts)))

    three_runs(app, flavour, server, tmp_path)


def test_two_sessions_at_once(server: RedisServer, tmp_path: Path) -> None:
    async def app(name: str, mode: Any) -> Any:
        with mode(tmp_path / name):
            async with ASYNC.open(server) as r:
                seen = []
                for _ in range(5):
                    seen.append(await r.incr(name))
                    await asyncio.sleep(0.002)
                return seen

    async def both(mode: Any) -> Any:
        return await asyncio.gather(app("one", mode), app("two", mode))

    recorded = asyncio.run(both(record))
    server.stop()
    assert asyncio.run(both(replay)) == recorded == [[1, 2, 3, 4, 5]] * 2
    assert {event.call.args[1] for event in read_cassette(tmp_path / "one").events if event.call} == {"one"}


@flavours
def test_redis_may_stay_live(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> Any:
        async with flavour.open(server) as r:
            return await settle(r.incr("n"))

    with record(path):
        assert flavour.run(app()) == 1
    for settings in ({"live_plugins": ["redis"]}, {"mock_plugins": ["http"]}):
        with replay(path, **settings) as session:  # type: ignore[arg-type]
            assert flavour.run(app()) > 1
        assert isinstance(session, ReplaySession)
        assert session.live_calls == {"redis": 1}
    server.stop()
    with replay(path, mock_plugins=["redis"]):
        assert flavour.run(app()) == 1


def test_a_service_that_does_not_exist(server: RedisServer, tmp_path: Path) -> None:
    """The client of a replay need not reach anything, not even a name server."""
    path = tmp_path / "x.msgpack"
    with record(path), redis.Redis(port=server.port) as r:
        r.set("a", 1)
    server.stop()
    with replay(path), redis.Redis(host="no-such-host.invalid") as r, pytest.raises(ReplayMismatchError):
        r.set("a", 1)


@flavours
def test_arguments_of_a_call_in_the_cassette(flavour: RedisFlavour, server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"

    async def app() -> None:
        async with flavour.open(server, db=3) as r:
            await settle(r.set("a", b"\xff"))
            await settle(r.set("long", "x" * 70_000))
            pipe = r.pipeline(transaction=False)
            pipe.get("a").config_get("hz")
            await settle(pipe.execute())
            await settle(r.config_get("hz"))

    with record(path):
        flavour.run(app())
    events = read_cassette(path).events
    assert {event.signature.url for event in events} == {f"redis://127.0.0.1:{server.port}/3"}
    assert {event.signature.lib for event in events} == {"redis"}
    methods = ["SET", "SET", "PIPELINE", "CONFIG GET"]
    assert [event.signature.method for event in events] == methods
    args = [event.call.args for event in events if event.call]
    assert args[0] == ["SET", "a", b"\xff"]
    assert args[1][2].startswith("sha256:")
    assert args[2] == [["GET", "a"], ["CONFIG", "GET", "hz"]]


def test_typed_errors(server: RedisServer, tmp_path: Path) -> None:
    """Retry code that looks at classes keeps working."""
    path = tmp_path / "x.msgpack"

    def app() -> list[str]:
        with redis.Redis(port=server.port) as r:
            r.set("a", "text")
            caught = []
            for call in (lambda: r.evalsha("0" * 40, 0), lambda: r.incr("a"), lambda: r.execute_command("EXEC")):
                try:
                    call()
                except redis.exceptions.NoScriptError:
                    caught.append("no script")
                except redis.ResponseError as error:
                    caught.append(str(error))
            return caught

    with record(path):
        recorded = app()
    server.stop()
    with replay(path):
        assert typed(app()) == typed(recorded)


class TestSeed:
    """The example of the owner's text, with the package's own name."""

    def test_redis_plugin(self, server: RedisServer, tmp_path: Path) -> None:
        redis_client = redis.Redis(port=server.port)

        from timetracer_otel.plugins import enable_redis

        enable_redis()

        def app() -> Any:
            # Your Redis commands will now be captured
            return redis_client.get("user:123"), redis_client.set("cache:key", "value")

        with record(tmp_path / "x.msgpack"):
            recorded = app()
        redis_client.close()
        server.stop()
        with replay(tmp_path / "x.msgpack"):
            assert app() == recorded == (None, True)
        redis_client.close()


def test_a_server_within_the_process_is_left_alone(tmp_path: Path) -> None:
    def sync() -> Any:
        client: Any = fakeredis.FakeRedis()
        return [client.set("a", 1), client.get("a"), client.pipeline().incr("a").execute()]

    async def asynchronous() -> Any:
        async with fakeredis.FakeAsyncRedis() as client:
            return [await client.set("b", 1), await client.get("b")]

    bare = [sync(), asyncio.run(asynchronous())]
    with record(tmp_path / "x.msgpack") as session:
        assert [sync(), asyncio.run(asynchronous())] == bare
    assert session.events == []
    with replay(tmp_path / "x.msgpack"):
        assert [sync(), asyncio.run(asynchronous())] == bare
