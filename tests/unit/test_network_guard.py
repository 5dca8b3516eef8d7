"""``block_network``: what connects without a plugin is refused, named, and fails the end of the session."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import http.client
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
import requests
import urllib3
import uvloop
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.loopback import Loopback
from tests.unplugged import unplugged
from timetracer_otel import NetworkBlockedError, ReplayFailedError, record, replay
from timetracer_otel.calls import registry
from timetracer_otel.guard import network_guard
from timetracer_otel.plugins import function_plugin

HINT = (
    "record the call through a library that has a plugin, add a plugin (docs/how-to-add-a-plugin.md), "
    "name the host in live_hosts, or unset block_network."
)


@pytest.fixture(autouse=True)
def _without_plugin() -> Iterator[None]:
    """http.client stands for any client of HTTP without a plugin."""
    with unplugged("urllib"):
        yield


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def raw(upstream: Loopback) -> int:
    connection = http.client.HTTPConnection(upstream.url.removeprefix("http://"))
    try:
        connection.request("GET", "/items")
        return connection.getresponse().status
    finally:
        connection.close()


async def all_clients(url: str) -> list[Any]:
    """Each makes a new connection, with a name to look up."""
    named = url.replace("127.0.0.1", "localhost")
    async with httpx.AsyncClient() as client:
        seen = [(await client.get(f"{named}/users/1")).json()]
    async with aiohttp.ClientSession() as session, session.get(f"{named}/users/2") as answer:
        seen.append(await answer.json())
    seen.append(await asyncio.to_thread(lambda: requests.get(f"{named}/users/3", timeout=60).json()))
    return [*seen, httpx.get(f"{named}/users/4").json()]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_plugins_record_replay_and_stay_live_under_it(upstream: Loopback, tmp_path: Path, new_loop: Any) -> None:
    path = tmp_path / "x.msgpack"

    def run() -> list[Any]:
        loop = new_loop()
        try:
            found: list[Any] = loop.run_until_complete(all_clients(upstream.url))
            loop.run_until_complete(loop.shutdown_default_executor())
            return found
        finally:
            loop.close()

    with record(path, block_network=True):
        live = run()
    assert [user["id"] for user in live] == [1, 2, 3, 4]
    with replay(path, block_network=True, live_plugins=["http"]):
        assert run() == live
    assert set(upstream.hits.values()) == {2}
    upstream.stop()
    with replay(path, block_network=True):
        assert run() == live


def test_what_no_plugin_covers_is_refused_and_named(upstream: Loopback, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack"):
        assert raw(upstream) == 200
    address = upstream.url.removeprefix("http://")
    scope = replay(tmp_path / "x.msgpack", block_network=True)
    scope.__enter__()
    with pytest.raises(NetworkBlockedError) as caught:
        raw(upstream)
    with pytest.raises(ReplayFailedError) as failed:
        scope.__exit__(None, None, None)
    line = raw.__code__.co_firstlineno + 3
    assert str(caught.value).splitlines() == [
        f"Blocked: a connection of http.client to {address}, which no plugin captures",
        f"  made by: {__name__} (test_network_guard.py:{line}, in raw)",
        "  in the cassette: nothing of http.client",
        f"  what to do: {HINT}",
    ]
    assert failed.value.verdict.blocked == (caught.value,)
    assert str(failed.value).splitlines()[:2] == [
        f"Replay of {tmp_path / 'x.msgpack'}: 0 hit, 0 missed, 0 unused, 0 live, 1 blocked",
        "blocked:",
    ]
    assert upstream.hits == {"/items": 1}
    assert raw(upstream) == 200, "nothing is refused behind the end"


def test_a_thread_without_a_context_is_refused_too(upstream: Loopback, tmp_path: Path) -> None:
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            raw(upstream)
        except BaseException as error:
            errors.append(error)

        finally:
            done.set()

    scope = record(tmp_path / "x.msgpack", block_network=True)
    scope.__enter__()
    # What is started in the block has its context. What is started elsewhere has not, nor has what C code starts.
    contextvars.Context().run(_thread.start_new_thread, run, ())
    assert done.wait(60)
    with pytest.raises(NetworkBlockedError):
        scope.__exit__(None, None, None)
    assert "this thread has no session" in str(errors[0])
    assert (tmp_path / "x.msgpack").exists(), "the recording is there all the same"


def test_other_sessions_and_the_exporters_of_traces_go_out(upstream: Loopback, tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack", block_network=True):
        with suppress_instrumentation():
            assert raw(upstream) == 200
        with record(tmp_path / "y.msgpack"):
            assert raw(upstream) == 200


def test_udp_unix_sockets_and_names_count(tmp_path: Path) -> None:
    with record(tmp_path / "x.msgpack") as session:
        network_guard.begin(session)
        try:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
                pytest.raises(NetworkBlockedError, match=":9, "),
            ):
                udp.sendto(b"x", ("127.0.0.1", 9))
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
                pytest.raises(NetworkBlockedError, match=":9, "),
            ):
                udp.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))
            # Over a connection that is there: asking for it is what counts.
            here, there = socket.socketpair()
            with here, there:
                assert here.sendmsg([b"x"]) == 1
            with socket.socket(socket.AF_UNIX) as unix, pytest.raises(NetworkBlockedError, match="/tmp/nobody"):
                unix.connect("/tmp/nobody")
            with pytest.raises(NetworkBlockedError, match=r"to example\.test:80, "):
                socket.getaddrinfo("example.test", 80)
        finally:
            network_guard.end(session)
            session.blocked.clear()


class Drivers:
    """Ways to ask C code for a connection to nobody."""

    @staticmethod
    def psycopg() -> None:
        # Past its plugin, whose connections are let.
        connecting = psycopg.Connection._connect_gen("host=127.0.0.1 port=9 password=s3cret dbname=x")
        psycopg.waiting.wait_conn(connecting, timeout=5)

    @staticmethod
    def psycopg_async() -> None:
        async def connect() -> None:
            connecting = psycopg.AsyncConnection._connect_gen("host=127.0.0.1 port=9 password=s3cret")
            await psycopg.waiting.wait_conn_async(connecting, timeout=5)

        asyncio.run(connect())

    @staticmethod
    def psycopg2() -> None:
        # Past its plugin, as above.
        psycopg2._connect("host=127.0.0.1 port=9 password=s3cret dbname=x")

    @staticmethod
    def uvloop_stream() -> None:
        _in_uvloop(lambda loop: loop.create_connection(asyncio.Protocol, "127.0.0.1", 9))

    @staticmethod
    def uvloop_socket() -> None:
        async def connect(loop: Any) -> None:
            with socket.socket() as plain:
                plain.setblocking(False)
                await loop.sock_connect(plain, ("127.0.0.1", 9))

        _in_uvloop(connect)

    @staticmethod
    def uvloop_datagrams() -> None:
        address = ("127.0.0.1", 9)
        _in_uvloop(lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address))

    @staticmethod
    def uvloop_unix() -> None:
        _in_uvloop(lambda loop: loop.create_unix_connection(asyncio.Protocol, path="/tmp/127.0.0.1:9"))


def _in_uvloop(work: Any) -> None:
    async def main() -> None:
        await work(asyncio.get_running_loop())

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("name", [name for name in vars(Drivers) if not name.startswith("_")])
def test_connections_that_c_code_makes_are_refused_where_python_asks(tmp_path: Path, name: str) -> None:
    connect = getattr(Drivers, name)
    before = _of_c_code()
    with record(tmp_path / "x.msgpack") as session:
        network_guard.begin(session)
        try:
            with pytest.raises(NetworkBlockedError) as caught:
                connect()
        finally:
            network_guard.end(session)
        assert session.blocked == [caught.value]
        session.blocked.clear()
    text = str(caught.value)
    assert text.startswith(
        f"Blocked: a connection of {'socket' if name.startswith('uvloop') else name.partition('_')[0]} to "
    )
    assert "127.0.0.1:9" in text
    assert "s3cret" not in text
    assert "(test_network_guard.py:" in text
    assert _of_c_code() == before
    if name != "uvloop_datagrams":
        with pytest.raises((OSError, psycopg.OperationalError, psycopg2.OperationalError)):
            connect()


def _of_c_code() -> list[Any]:
    return [vars(psycopg.BaseConnection)["_connect_gen"], psycopg2._connect, dict(vars(uvloop.Loop))]


def test_a_server_of_its_own_is_no_connection(tmp_path: Path) -> None:
    async def serve() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
            pass

    with record(tmp_path / "x.msgpack", block_network=True):
        _in_uvloop(lambda loop: serve())


LIBRARY = """
import socket, threading

def ask(address):
    with socket.create_connection(address) as connection:
        return connection.getpeername()[1]

unpatched = ask

def ask_in_a_thread(address):
    found = []
    thread = threading.Thread(target=lambda: found.append(ask(address)))
    thread.start()
    thread.join()
    return found[0]
"""


@pytest.mark.parametrize("function", ["ask", "ask_in_a_thread"])
def test_a_plugin_of_ones_own_is_let_through_as_built_in_ones_are(
    upstream: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    library = ModuleType("timetracer_test_library")
    exec(compile(LIBRARY, "/library/timetracer_test_library.py", "exec"), library.__dict__)
    monkeypatch.setitem(sys.modules, library.__name__, library)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    function_plugin("asker", [f"{library.__name__}:{function}"])
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    address, path = (host, int(port)), tmp_path / "x.msgpack"
    with record(path, block_network=True):
        assert getattr(library, function)(address) == int(port)
    with replay(path, block_network=True, live_plugins=["asker"]) as session:
        assert getattr(library, function)(address) == int(port)
    assert session.verdict().live == {"asker": 1}
    with replay(path, block_network=True, fail_on_unused=True, fail_on_miss=False) as session:
        assert getattr(library, function)(address) == int(port)
    # Past its plugin it is refused, and in a replay that makes no calls of it for real.
    with replay(path, block_network=True, live_plugins=["http"]) as session:
        network_guard.begin(session)
        with pytest.raises(NetworkBlockedError):
            library.__dict__["unpatched"](address)
        network_guard.end(session)
        session.blocked.clear()


STAND_IN = """
def of(original):
    def connect(*args):
        return original(*args)

    return connect
"""


def test_who_stands_in_for_sockets_is_not_who_connects(
    upstream: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins of pytest that watch sockets (pytest-socket, blockbuster) replace their functions."""
    made: dict[str, Any] = {"__name__": "watcher"}
    exec(compile(STAND_IN, "/x/site-packages/watcher.py", "exec"), made)
    path = tmp_path / "x.msgpack"
    with record(path):
        pass
    monkeypatch.setattr(socket.socket, "connect", made["of"](socket.socket.connect))
    with unplugged("urllib3"), replay(path, fail_on_miss=False) as session:
        with pytest.raises(NetworkBlockedError) as refused:
            urllib3.PoolManager().request("GET", upstream.url, retries=False)
        session.blocked.clear()
    assert refused.value.library == "urllib3"
    assert refused.value.made_by.startswith("urllib3.")
    with replay(path, live_plugins=["urllib3"]):
        assert urllib3.PoolManager().request("GET", upstream.url, retries=False).status
