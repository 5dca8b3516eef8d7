"""What a user of WebSockets sees besides the contract: refusals, redaction, spans, connections of before."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websocket
from opentelemetry.instrumentation.utils import suppress_instrumentation
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed

from tests import forks
from tests.contract.framework import deadline, drawing
from tests.contract.left_sockets import LEFT_SOCKETS, left_sockets_are_collected
from tests.contract.websocket_flavour import sync_client
from tests.servers.websocket_service import WebSocketService
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import NetworkBlockedError, ReplayFailedError
from timetracer_otel.libraries.kits.conversation.pace import Pace
from timetracer_otel.libraries.kits.websocket import far_end
from timetracer_otel.report import event_detail

__all__ = ["left_sockets_are_collected"]

pytestmark = LEFT_SOCKETS

ROOT = Path(__file__).parents[2]

Talk = Callable[..., list[Any]]


@pytest.fixture
def service() -> Iterator[WebSocketService]:
    server = WebSocketService()
    with deadline(60):
        yield server
    server.close()


# Each says some messages, and hears one for each.


def by_aiohttp(url: str, *messages: str, more: int = 0) -> list[Any]:
    async def work() -> list[Any]:
        heard = []
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            for message in messages:
                await socket.send_str(message)
                heard.append(await socket.receive_str())
            heard += [await socket.receive_str() for _ in range(more)]
        return heard

    return asyncio.run(work())


def by_websockets(url: str, *messages: str, more: int = 0) -> list[Any]:
    async def work() -> list[Any]:
        heard = []
        async with connect(url, proxy=None) as socket:
            for message in messages:
                await socket.send(message)
                heard.append(await socket.recv())
            heard += [await socket.recv() for _ in range(more)]
        return heard

    return asyncio.run(work())


def by_blocking_websockets(url: str, *messages: str, more: int = 0) -> list[Any]:
    heard = []
    with sync_client.connect(url, proxy=None) as socket:
        for message in messages:
            socket.send(message)
            heard.append(socket.recv())
        heard += [socket.recv() for _ in range(more)]
    return heard


def by_websocket_client(url: str, *messages: str, more: int = 0) -> list[Any]:
    heard = []
    socket = websocket.create_connection(url, timeout=30)
    try:
        for message in messages:
            socket.send(message)
            heard.append(socket.recv())
        heard += [socket.recv() for _ in range(more)]
    finally:
        socket.close()
    return heard


each_client = drawing("talk", [by_aiohttp, by_websocket_client], [by_websockets, by_blocking_websockets])


# Ways to a server: by TLS, by a proxy of HTTP, by both, and by a Unix socket. Each says "tea" and hears of it.


async def _ways_of_aiohttp(service: WebSocketService) -> list[Any]:
    trusting = ssl.create_default_context(cafile=service.authority)
    host, port = service.proxy
    heard = []
    for connector, url, options in (
        (None, service.secure_url, {"ssl": trusting}),
        (None, service.secure_url, {"ssl": trusting, "proxy": f"http://{host}:{port}"}),
        (aiohttp.UnixConnector(service.path), "ws://localhost", {}),
    ):
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(url + "/echo", **options) as socket,
        ):
            await socket.send_str("tea")
            heard.append(await socket.receive_str())
    return heard


async def _ways_of_websockets(service: WebSocketService) -> list[Any]:
    trusting = ssl.create_default_context(cafile=service.authority)
    proxy = "http://{}:{}".format(*service.proxy)
    heard = []
    for connecting in (
        connect(service.secure_url + "/echo", ssl=trusting, proxy=None),
        connect(service.url + "/echo", proxy=proxy),
        connect(service.secure_url + "/echo", ssl=trusting, proxy=proxy),
        unix_connect(service.path),
    ):
        async with connecting as socket:
            await socket.send("tea")
            heard.append(await socket.recv())
    return heard


def _ways_of_blocking_websockets(service: WebSocketService) -> list[Any]:
    trusting = ssl.create_default_context(cafile=service.authority)
    proxy = "http://{}:{}".format(*service.proxy)
    heard = []
    for connecting in (
        partial(sync_client.connect, service.secure_url + "/echo", ssl=trusting, proxy=None),
        partial(sync_client.connect, service.url + "/echo", proxy=proxy),
        partial(sync_client.connect, service.secure_url + "/echo", ssl=trusting, proxy=proxy),
        partial(sync_client.unix_connect, service.path),
    ):
        with connecting() as socket:
            socket.send("tea")
            heard.append(socket.recv())
    return heard


def _ways_of_websocket_client(service: WebSocketService) -> list[Any]:
    """It is given a Unix socket by its app, which has to connect that by itself."""
    trust: dict[str, Any] = {"sslopt": {"ca_certs": service.authority}}
    host, port = service.proxy
    by_proxy: dict[str, Any] = {"http_proxy_host": host, "http_proxy_port": port, "proxy_type": "http"}
    heard: list[Any] = []
    ways = [(service.secure_url, trust), (service.url, by_proxy), (service.secure_url, trust | by_proxy)]
    for url, options in ways:
        socket = websocket.create_connection(url + "/echo", timeout=30, **options)
        socket.send("tea")
        heard.append(socket.recv())
        socket.close()

    def on_message(app: Any, text: str) -> None:
        heard.append(text)
        app.close()

    app = websocket.WebSocketApp(
        service.secure_url + "/echo", on_open=lambda app: app.send("tea"), on_message=on_message
    )
    heard.append(app.run_forever(**trust))
    return heard


def test_tls_and_proxies_and_unix_sockets(tmp_path: Path) -> None:
    def run() -> list[Any]:
        return [
            *asyncio.run(_ways_of_aiohttp(server)),
            *asyncio.run(_ways_of_websockets(server)),
            *_ways_of_blocking_websockets(server),
            *_ways_of_websocket_client(server),
        ]

    # The path of a Unix socket must be short.
    with tempfile.TemporaryDirectory() as folder, deadline(100):
        server = WebSocketService(Path(folder))
        try:
            with record(tmp_path / "x.msgpack"):
                recorded = run()
            assert recorded == ["<tea>"] * 15 + [False]
            server.stop()
            Path(server.path).unlink(missing_ok=True)
            with replay(tmp_path / "x.msgpack") as session:
                assert run() == recorded
        finally:
            server.close()
    assert session.verdict().ok


@each_client
def test_a_message_that_was_not_recorded_is_refused(service: WebSocketService, tmp_path: Path, talk: Talk) -> None:
    url = service.url + "/echo"
    with record(tmp_path / "x.msgpack"):
        talk(url, "tea", "milk")
    service.stop()
    for said in (("tea", "salt"), ("other",), ("tea", "milk", "more")):
        with (
            replay(tmp_path / "x.msgpack", fail_on_miss=False) as session,
            pytest.raises(ReplayMismatchError, match="of the app is"),
        ):
            talk(url, *said)
        assert not session.verdict().ok
    # The app sent more then.
    with replay(tmp_path / "x.msgpack", fail_on_miss=False) as session, suppress(ReplayMismatchError):
        talk(url, "tea")
    assert "frame 2 of the app is close, and was text" in str(session.verdict().misses[0])
    assert not session.verdict().ok
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match="No recorded call matches"),
    ):
        talk(service.url + "/elsewhere", "tea")
    with replay(tmp_path / "x.msgpack") as session:
        assert talk(url, "tea", "milk") == ["<tea>", "<milk>"]
    assert session.verdict().ok


@each_client
def test_who_waits_for_more_than_was_recorded_hears_why_there_is_none(
    service: WebSocketService, tmp_path: Path, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far_end, "_PATIENCE_S", 0.5)
    url = service.url + "/echo"
    with record(tmp_path / "x.msgpack"):
        talk(url, "tea")
    service.stop()
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match=r"and waits|the app waits"),
    ):
        talk(url, "tea", more=1)


@pytest.mark.parametrize("place", [(far_end.FarEnd, "_go_on"), (far_end.FarEnd, "leaves"), (Pace, "taken")])
@each_client
def test_a_fault_of_ours_is_a_miss(
    service: WebSocketService, tmp_path: Path, talk: Talk, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither an error of the library's, nor does a thread of the library's wait for ever."""
    with record(tmp_path / "x.msgpack"):
        talk(service.url + "/echo", "tea")
    service.stop()
    monkeypatch.setattr(faults, "raise_faults", False)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of ours, injected")

    with monkeypatch.context() as patch:
        patch.setattr(place[0], place[1], broken)
        with replay(tmp_path / "x.msgpack", fail_on_miss=False):
            try:
                seen: Any = talk(service.url + "/echo", "tea")
            except ReplayMismatchError as miss:
                seen = "a fault of ours" in str(miss)
    # Not each client asks for the end where it closes.
    assert seen is True or (place[1] == "leaves" and seen == ["<tea>"])


@each_client
def test_secrets_of_frames_are_replaced(service: WebSocketService, tmp_path: Path, talk: Talk) -> None:
    token, password = "ghp_" + "aB3dE6gH9jK2mN5pQ8rT1vX4zC7fL0wY2sUe", "hunter2-and-more"
    messages = (json.dumps({"password": password, "item": "tea"}), f"with {token} in it")

    def work(cassette: Any) -> Any:
        with cassette as session:
            return talk(service.url + "/echo", *messages), session

    found, _ = work(record(tmp_path / "x.msgpack"))
    assert found == [f"<{message}>" for message in messages]
    data = (tmp_path / "x.msgpack").read_bytes()
    assert token.encode() not in data
    assert password.encode() not in data
    assert b"with " in data
    service.stop()
    _, session = work(replay(tmp_path / "x.msgpack"))
    assert session.verdict().ok


@each_client
def test_an_identifier_that_an_app_makes_anew_is_bound(service: WebSocketService, tmp_path: Path, talk: Talk) -> None:
    def work() -> None:
        message = json.dumps({"id": str(uuid.uuid4()), "method": "add", "params": [1, 2]})
        assert talk(service.url + "/echo", "tea", message) == ["<tea>", f"<{message}>"]

    with record(tmp_path / "x.msgpack"):
        work()
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        work()
    assert [binding.kind for binding in session.verdict().bindings] == ["uuid"]


@each_client
def test_the_cassette_holds_the_frames_of_both_sides_in_their_order(
    service: WebSocketService, tmp_path: Path, talk: Talk
) -> None:
    with record(tmp_path / "x.msgpack"):
        talk(service.url + "/echo?item=tea", "twice x", more=1)
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert (event.signature.method, event.result.status) == ("GET", 101)
    # The handshake is its answer, and the frames come later.
    assert event.ended_ms is not None
    assert event.duration_ms < event.ended_ms
    assert event.signature.url == service.url + "/echo"
    assert event.signature.query == {"item": "tea"}
    assert event.call is not None
    assert "sec-websocket-key" not in event.call.headers
    frames = event.result.reply["conversation"]["frames"]
    said = [(whose, kind, content) for whose, _, kind, _, content in frames if kind == "text"]
    assert said == [("app", "text", "twice x"), ("server", "text", "x"), ("server", "text", "X")]
    times = [at_ns for _, at_ns, *_ in frames]
    assert times == sorted(times)
    assert all(type(at_ns) is int for at_ns in times)
    text = "\n".join(event_detail(event))
    assert "twice x" in text


@pytest.mark.parametrize("name", ["websockets", "ws"])
def test_live_connections(service: WebSocketService, tmp_path: Path, name: str) -> None:
    with record(tmp_path / "x.msgpack"):
        pass
    with replay(tmp_path / "x.msgpack", live_plugins=[name]) as session:
        assert by_websockets(service.url + "/echo", "a", "b") == ["<a>", "<b>"]
    assert session.verdict().live == {"websockets": 1}
    with replay(tmp_path / "x.msgpack", live_hosts=[service.address]) as session:
        assert by_websockets(service.url + "/echo", "a") == ["<a>"]
        assert by_websocket_client(service.url + "/echo", "a") == ["<a>"]
        assert by_aiohttp(service.url + "/echo", "a") == ["<a>"]
    assert session.verdict().live == {"websockets": 1, "websocket_client": 1, "aiohttp": 1}


@each_client
def test_what_is_suppressed_is_left_alone(service: WebSocketService, tmp_path: Path, talk: Talk) -> None:
    with record(tmp_path / "x.msgpack"), suppress_instrumentation():
        assert talk(service.url + "/echo", "a") == ["<a>"]
    assert read_cassette(tmp_path / "x.msgpack").events == []


@each_client
def test_large_frames_are_not_kept(service: WebSocketService, tmp_path: Path, talk: Talk) -> None:
    with record(tmp_path / "x.msgpack", max_body_kb=2):
        assert len(talk(service.url + "/echo", "size 3000")[0]) == 3000
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert "TIMETRACER_MAX_BODY_KB=2" in str(event.not_replayable)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="MAX_BODY_KB"):
        talk(service.url + "/echo", "size 3000")


def test_a_connection_of_before_is_let_pass_and_refused_in_a_replay(
    service: WebSocketService, tmp_path: Path
) -> None:
    async def work(cassette: Any) -> tuple[Any, Any]:
        async with connect(service.url + "/echo", proxy=None) as socket:
            with cassette as session:
                await socket.send("tea")
                return await socket.recv(), session

    found, recording = asyncio.run(work(record(tmp_path / "x.msgpack")))
    assert found == "<tea>"
    assert read_cassette(tmp_path / "x.msgpack").events == []
    assert recording.to_cassette().stats.dropped == {"websockets calls that cannot be seen": 2}
    with pytest.raises(ReplayMismatchError, match="opened before the session began"):
        asyncio.run(work(replay(tmp_path / "x.msgpack", fail_on_miss=False)))

    socket = websocket.create_connection(service.url + "/echo", timeout=30)
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="before"):
        socket.send("tea")
    socket.close()


def test_a_connection_that_outlives_its_session_goes_on(service: WebSocketService, tmp_path: Path) -> None:
    async def work(cassette: Any) -> list[Any]:
        with cassette:
            socket = await connect(service.url + "/echo", proxy=None)
            await socket.send("tea")
            heard = [await socket.recv()]
        return [socket, heard]

    async def recorded() -> Any:
        socket, heard = await work(record(tmp_path / "x.msgpack"))
        await socket.send("behind it")
        heard.append(await socket.recv())
        await socket.close()
        return heard

    async def replayed() -> Any:
        socket, heard = await work(replay(tmp_path / "x.msgpack"))
        await socket.close()
        return heard

    assert asyncio.run(recorded()) == ["<tea>", "<behind it>"]
    (event,) = read_cassette(tmp_path / "x.msgpack").events
    assert event.not_replayable is None
    assert b"behind it" not in (tmp_path / "x.msgpack").read_bytes()
    service.stop()
    assert asyncio.run(replayed()) == ["<tea>"]


def test_the_legacy_client_of_websockets_is_refused(service: WebSocketService, tmp_path: Path) -> None:
    async def work() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from websockets.legacy.client import connect as connect_as_before

            async with connect_as_before(service.url + "/echo") as socket:
                await socket.send("tea")
                return await socket.recv()

    with record(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == "<tea>"
    assert read_cassette(tmp_path / "x.msgpack").events == []
    with (
        pytest.raises(ReplayFailedError),
        replay(tmp_path / "x.msgpack"),
        pytest.raises(NetworkBlockedError) as caught,
    ):
        asyncio.run(work())
    assert "not switched on" not in str(caught.value)


def test_connections_to_one_url_may_be_opened_in_another_order(service: WebSocketService, tmp_path: Path) -> None:
    async def work(*names: str) -> list[list[Any]]:
        sockets = [await connect(service.url + "/greet", proxy=None) for _ in names]
        heard = [[await socket.recv()] for socket in sockets]
        for name, socket, said in zip(names, sockets, heard, strict=True):
            for number in range(2):
                await socket.send(f"{name}{number}")
                said.append(await socket.recv())
            await socket.close()
        return heard

    with record(tmp_path / "x.msgpack"):
        found = asyncio.run(work("a", "b", "c"))
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert asyncio.run(work("c", "a", "b")) == [found[2], found[0], found[1]]
    assert session.verdict().ok


def test_a_message_stands_behind_the_calls_beside_it(service: WebSocketService, tmp_path: Path) -> None:
    """A server pushes what the same app has asked for by HTTP: the replay does not push it before."""

    async def work() -> list[Any]:
        seen: list[Any] = []
        async with aiohttp.ClientSession() as session, connect(service.url + "/echo", proxy=None) as socket:
            await socket.send("slow 0.3")

            async def reads() -> None:
                seen.append(await socket.recv())

            reader = asyncio.ensure_future(reads())
            await asyncio.sleep(0.05)
            async with session.get(f"http://{service.address}/forbidden") as response:
                seen.append(response.status)
            await reader
        return seen

    with record(tmp_path / "x.msgpack"):
        found = asyncio.run(work())
    service.stop()
    with replay(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == found == [403, "at last"]


def test_a_replay_keeps_the_pace_of_the_recording_where_it_is_asked_to(
    service: WebSocketService, tmp_path: Path
) -> None:
    def work(talk: Talk) -> float:
        began_s = time.perf_counter()
        assert talk(service.url + "/echo", "slow 0.4") == ["at last"]
        return time.perf_counter() - began_s

    for talk in (by_websockets, by_websocket_client, by_aiohttp):
        with record(tmp_path / "x.msgpack"):
            work(talk)
        with replay(tmp_path / "x.msgpack", replay_timing=True):
            assert 0.3 < work(talk) < 2
        with replay(tmp_path / "x.msgpack"):
            assert work(talk) < 0.3


def test_a_lost_connection_says_in_the_replay_what_it_said(service: WebSocketService, tmp_path: Path) -> None:
    async def work() -> Any:
        async with connect(service.url + "/echo", proxy=None) as socket:
            await socket.send("die")
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            return type(caught.value), str(caught.value), caught.value.rcvd

    with record(tmp_path / "x.msgpack"):
        found = asyncio.run(work())
    service.stop()
    with replay(tmp_path / "x.msgpack") as session:
        assert asyncio.run(work()) == found
    assert session.verdict().ok


def test_spans_of_a_replay_are_those_of_the_recording(tmp_path: Path) -> None:
    probe = ("-m", "tests.contract.websocket_telemetry_probe", str(tmp_path))
    done = forks.run(*probe, env=os.environ, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"] == [True]
    names = [span["name"] for span in found["recorded"]]
    assert names == ["GET"] * found["calls"] + ["work"]
    for span in found["replayed"]:
        assert span["attributes"].pop("timetracer.replayed", None) == (None if span["name"] == "work" else True)
    assert found["replayed"] == found["recorded"]
    assert found["joined"] == ["GET"] * found["calls"]
    opened, refused = found["recorded"][-3:-1]
    host, _, port = found["address"].partition(":")
    assert opened["kind"] == refused["kind"] == "CLIENT"
    assert opened["attributes"] == {
        "http.request.method": "GET",
        "url.full": f"ws://{found['address']}/echo",
        "server.address": host,
        "server.port": int(port),
        "network.protocol.name": "websocket",
        "http.response.status_code": 101,
    }
    assert refused["attributes"]["http.response.status_code"] == 403
    assert (refused["attributes"]["error.type"], refused["status"]) == ("403", "ERROR")
    assert found["left"] == []
