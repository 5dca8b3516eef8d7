"""Sessions around aiohttp: what every HTTP client keeps, and what only this one has."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.contract import http_telemetry
from tests.contract.aiohttp_flavour import AiohttpFlavour, observe_response
from tests.contract.http_behaviour import HttpBehaviour, one_client_a_test
from tests.contract.http_cancellation import HttpCancellation
from tests.contract.http_redaction import HttpRedaction, one_client_a_redaction
from tests.servers._upstream import Upstream
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import BodyEnd
from timetracer_otel.libraries.aiohttp.answer import _Transport
from timetracer_otel.libraries.aiohttp.call import Hop
from timetracer_otel.plugins import disable_aiohttp, enable_aiohttp
from timetracer_otel.session import ReplaySession

FLAVOUR = AiohttpFlavour()


@one_client_a_test
class TestAiohttp(HttpBehaviour):
    flavour = FLAVOUR


@one_client_a_redaction
class TestAiohttpRedaction(HttpRedaction):
    flavour = FLAVOUR


class TestAiohttpTelemetry(http_telemetry.HttpTelemetry):
    flavour = FLAVOUR


class TestAiohttpTelemetryOfAProcess(http_telemetry.HttpTelemetryOfAProcess):
    flavour = FLAVOUR
    program = Path(__file__).with_name("aiohttp_probe.py")


class TestAiohttpCancellation(HttpCancellation):
    flavour = FLAVOUR


@pytest.fixture
def upstream(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Upstream]:
    FLAVOUR.upstream = upstream
    yield upstream
    if request.cls is None:
        assert FLAVOUR.is_untouched()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.msgpack"


async def _json(client: Any, url: str) -> Any:
    async with client.get(url) as response:
        return await response.json()


@pytest.mark.parametrize("enabled", [True, False])
def test_sessions_made_before_are_recorded_and_replayed(upstream: Upstream, path: Path, enabled: bool) -> None:
    async def run() -> None:
        url = upstream.url("/counter/a")
        async with FLAVOUR.client() as client:
            if enabled:
                enable_aiohttp()
            assert await _json(client, url) == {"n": 1}
            async with record(path):
                assert await _json(client, url) == {"n": 2}
            upstream.stop()
            async with replay(path):
                assert await _json(client, url) == {"n": 2}
            with pytest.raises(aiohttp.ClientConnectionError):
                await client.get(url)

    try:
        asyncio.run(run())
    finally:
        disable_aiohttp()


# What the network's timing decides is the same in recording and replay


@pytest.mark.parametrize("how", ["iter_any", "chunked", "chunks", "readany", "late", "flags", "at_eof"])
def test_a_replay_cuts_the_body_as_the_network_did(upstream: Upstream, path: Path, how: str) -> None:
    async def run(live: bool) -> list[Any]:
        seen: list[Any] = []

        def note(response: Any) -> None:
            content = response.content
            seen.append([content.is_eof(), content.total_bytes, response.closed, response.connection is None])

        async with FLAVOUR.client() as client:
            for target in ("/gated/t?n=4", "/gated/t?n=4&end=t", "/gated-gzip/t", "/lines"):
                async with client.get(upstream.url(target)) as response:
                    content = response.content
                    if how == "late":
                        # Two pieces have arrived before the first is read.
                        FLAVOUR.release("t")
                        await asyncio.sleep(0.1 if live else 0)
                    items = {
                        "chunked": lambda content=content: content.iter_chunked(5),
                        "chunks": content.iter_chunks,
                    }.get(how, content.iter_any)()
                    note(response)
                    while not (how == "at_eof" and content.at_eof()):
                        try:
                            seen.append(await items.__anext__())
                        except StopAsyncIteration:
                            break
                        FLAVOUR.release("t")
                        if how == "flags":
                            note(response)
                    note(response)
        return seen

    with record(path):
        recorded = asyncio.run(run(True))
    upstream.stop()
    with replay(path) as session:
        assert asyncio.run(run(False)) == recorded
    assert isinstance(session, ReplaySession)
    assert session.get_unconsumed_events() == []


@pytest.mark.parametrize("timed", [True, False])
def test_events_arrive_one_by_one(upstream: Upstream, path: Path, timed: bool) -> None:
    async def run(live: bool) -> list[float]:
        times = []
        started = time.perf_counter()
        async with FLAVOUR.client() as client, client.get(upstream.url("/gated/sse?sse=1&n=3")) as response:
            async for line in response.content:
                if line.startswith(b"data"):
                    times.append(time.perf_counter() - started)
                    if live:
                        await asyncio.sleep(0.4)
                        FLAVOUR.release("sse")
        return times

    with record(path):
        recorded = asyncio.run(run(True))
    upstream.stop()
    with replay(path, replay_timing=timed):
        replayed = asyncio.run(run(False))
    assert len(replayed) == len(recorded) == 3
    assert (replayed[2] - replayed[0] > 0.75) == timed


def test_a_reading_that_timed_out_can_be_taken_up_again(upstream: Upstream, path: Path) -> None:
    async def run(live: bool) -> Any:
        async with FLAVOUR.client() as client, client.get(upstream.url("/gated/again")) as response:
            first = await response.content.readline()
            rest = await response.content.readexactly(5)
            if live:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(response.content.readline(), 0.1)
            FLAVOUR.release("again")
            FLAVOUR.release("again")
            return [first, rest, await response.read()]

    with record(path):
        recorded = asyncio.run(run(True))
    (event,) = read_cassette(path).events
    assert event.result.body is not None
    assert event.result.body.end is BodyEnd.COMPLETE
    upstream.stop()
    with replay(path):
        assert asyncio.run(run(False)) == recorded


# In this process


@asynccontextmanager
async def _server(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def test_a_websocket_is_replayed(path: Path) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    async def talk(base: str) -> list[Any]:
        async with aiohttp.ClientSession() as client, client.ws_connect(base + "/ws") as socket:
            heard = []
            for word in ("one", "two" * 5000):
                await socket.send_str(word)
                heard.append(await socket.receive_str())
            return heard

    async def run() -> None:
        async with _server(echo) as base, record(path):
            assert await talk(base) == ["ONE", "TWO" * 5000]
        async with replay(path):
            assert await talk(base) == ["ONE", "TWO" * 5000]

    asyncio.run(run())
    (event,) = read_cassette(path).events
    assert event.result.status == 101


def test_an_upgrade_to_another_protocol_is_no_answer_in_replay(path: Path) -> None:
    async def upgrade(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=101, headers={"Upgrade": "shop/1", "Connection": "Upgrade"})
        await response.prepare(request)
        return response

    async def talk(base: str) -> int:
        headers = {"Upgrade": "shop/1", "Connection": "Upgrade"}
        async with aiohttp.ClientSession() as client, client.get(base + "/", headers=headers) as response:
            return response.status

    async def run() -> None:
        async with _server(upgrade) as base, record(path):
            assert await talk(base) == 101
        async with replay(path):
            with pytest.raises(ReplayMismatchError, match="upgraded to another protocol"):
                await talk(base)

    asyncio.run(run())


def test_a_refused_websocket_is_refused_again(path: Path) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403, text="no")

    async def talk(base: str) -> Any:
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.ws_connect(base + "/ws")
            return [caught.value.status, caught.value.message, str(caught.value)]

    async def run() -> None:
        async with _server(refuse) as base, record(path):
            recorded = await talk(base)
        async with replay(path):
            assert await talk(base) == recorded

    asyncio.run(run())


def test_an_expected_continue_comes_before_the_body(path: Path) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async def call(base: str) -> Any:
        log: list[str] = []
        config = aiohttp.TraceConfig()

        async def sent(_: Any, __: Any, params: Any) -> None:
            log.append(params.chunk)

        config.on_request_chunk_sent.append(sent)
        async with aiohttp.ClientSession(trace_configs=[config], timeout=aiohttp.ClientTimeout(total=3)) as client:
            seen = []
            for body in (b"whole", pieces()):
                async with client.post(base, data=body, expect100=True) as response:
                    seen.append(await response.read())
            return [seen, log]

    async def run() -> None:
        async with _server(echo) as base:
            bare = await call(base)
            async with record(path):
                assert await call(base) == bare
        async with replay(path):
            assert await call(base) == bare

    asyncio.run(run())


# Tasks, sessions and faults


def test_a_stream_outlives_its_session(upstream: Upstream, path: Path) -> None:
    async def run(scope: Any) -> bytes:
        async with FLAVOUR.client() as client:
            with scope:
                response = await client.get(upstream.url("/gated/late"))
                first = await response.content.readany()
            FLAVOUR.release("late")
            FLAVOUR.release("late")
            return first + await response.read()

    assert asyncio.run(run(record(path))).endswith(b"part ")
    (event,) = read_cassette(path).events
    assert event.result.body is not None
    assert event.result.body.end is BodyEnd.CUT
    upstream.stop()
    with pytest.raises(ReplayMismatchError):
        asyncio.run(run(replay(path)))


def test_sessions_in_tasks_do_not_mix(upstream: Upstream, tmp_path: Path) -> None:
    async def one(client: Any, name: str, live: bool) -> list[int]:
        file = tmp_path / f"{name}.msgpack"
        async with record(file) if live else replay(file):
            return [(await _json(client, upstream.url(f"/counter/{name}")))["n"] for _ in range(5)]

    async def every(live: bool) -> list[list[int]]:
        async with FLAVOUR.client() as client:
            return await asyncio.gather(*(one(client, name, live) for name in "abc"))

    assert asyncio.run(every(True)) == [[1, 2, 3, 4, 5]] * 3
    upstream.stop()
    assert asyncio.run(every(False)) == [[1, 2, 3, 4, 5]] * 3


def test_a_response_that_is_dropped_is_not_kept_alive(upstream: Upstream, path: Path) -> None:
    async def run() -> None:
        async with FLAVOUR.client() as client:
            response = await client.get(upstream.url("/bytes/100"))
            await response.read()
            alive = weakref.ref(response)
            del response
            gc.collect()
            assert alive() is None

    with record(path):
        asyncio.run(run())


def test_excluded_urls_pass_through(upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS", "/counter/not,/healthz")

    async def run() -> list[Any]:
        async with FLAVOUR.client() as client:
            return [await _json(client, upstream.url(f"/counter/{name}")) for name in ("not", "yes")]

    with record(path) as session:
        asyncio.run(run())
    assert [event.signature.url for event in session.events] == [upstream.url("/counter/yes")]
    with replay(path) as replayed:
        assert asyncio.run(run()) == [{"n": 2}, {"n": 1}]
    assert str(replayed.verdict()) == "1 hit, 0 missed, 0 unused, 1 live"


@pytest.mark.parametrize("place", ["call_began", "call_ended"])
def test_a_fault_of_the_recorder_does_not_reach_the_app(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from timetracer_otel.session import TraceSession

    _faults_everywhere(upstream, path, monkeypatch, TraceSession, place)


@pytest.mark.parametrize("place", ["arrived", "head_arrived", "ended", "interrupted", "came_at_once", "settle"])
def test_a_fault_of_the_tap_does_not_reach_the_app(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from timetracer_otel.libraries.kits.http1.arriving import ArrivalTap

    _faults_everywhere(upstream, path, monkeypatch, ArrivalTap, place)


def _faults_everywhere(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, place: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    async def run(f: AiohttpFlavour) -> Any:
        async with f.open() as session:
            return [
                (await session.call("GET", "/counter/a"))["json"],
                (await session.stream("GET", "/lines"))["pieces"],
                (await session.call("GET", f.url("/", "refused")))["error"]["class"],
                (await session.call("GET", "/raw/short-body"))["error"]["class"],
                (await session.call("GET", "/slow-body/2000", timeout={"total": 0.2}))["error"]["class"],
            ]

    bare = FLAVOUR.run(run)
    upstream.control("reset")
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(owner, place, broken)
    before = sum(faults.fault_counts().values())
    with record(path):
        assert FLAVOUR.run(run) == bare
    assert sum(faults.fault_counts().values()) > before


def test_a_fault_where_the_body_of_a_new_call_is_written_is_a_miss(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for the body, and the app does not wait for the server."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    async def run(f: AiohttpFlavour) -> None:
        async with f.open() as session:
            await session.call("POST", "/echo", content=b"tea", timeout={"total": 40})

    with record(path):
        pass
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(Hop, "is_written_otherwise", property(broken))
    with (
        replay(path, record_mode="new_episodes", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="a fault of ours"),
    ):
        FLAVOUR.run(run)


def test_a_fault_where_a_replay_takes_the_request_is_a_miss(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(f: AiohttpFlavour) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"tea"

        async with f.open() as session:
            await session.call("POST", "/echo", content=pieces(), timeout={"total": 40})

    def broken(self: Any, data: Any) -> None:
        raise RuntimeError("a bug of ours")

    with record(path):
        FLAVOUR.run(run)
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(_Transport, "write", guarded_method(broken))
    with replay(path, fail_on_miss=False), pytest.raises(ReplayMismatchError, match="a fault of ours"):
        FLAVOUR.run(run)


def test_a_connector_of_the_users_that_calls_the_librarys(upstream: Upstream, path: Path) -> None:
    class Own(aiohttp.TCPConnector):
        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            return await super().connect(req, traces=traces, timeout=timeout)

    async def run() -> Any:
        async with FLAVOUR.client(connector=Own(ssl=FLAVOUR.trusting())) as client:
            response = await client.get(upstream.url("/echo"))
            await response.read()
            return observe_response(response)

    with record(path):
        recorded = asyncio.run(run())
    upstream.stop()
    with replay(path):
        assert asyncio.run(run()) == recorded


def test_enabling_is_idempotent() -> None:
    for _ in range(3):
        enable_aiohttp()
    assert not FLAVOUR.is_untouched()
    disable_aiohttp()
    assert FLAVOUR.is_untouched()
    disable_aiohttp()
    assert FLAVOUR.is_untouched()


def test_a_refusal_is_no_error_of_aiohttp(upstream: Upstream, path: Path) -> None:
    async def run() -> None:
        async with FLAVOUR.client(raise_for_status=True) as client:
            with pytest.raises(ReplayMismatchError) as caught:
                await client.get(upstream.url("/echo"))
            assert not isinstance(caught.value, (aiohttp.ClientError, OSError, asyncio.TimeoutError))

    with record(path):
        pass
    upstream.stop()
    with replay(path):
        asyncio.run(run())
