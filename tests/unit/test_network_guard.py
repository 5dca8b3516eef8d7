"""``block_network``: what connects without a plugin is refused, named, and fails the end of the session."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.loopback import Loopback
from timetracer_otel import NetworkBlockedError, ReplayFailedError, record, replay
from timetracer_otel.bridge import network_guard

HINT = (
    "record the call through a library that has a plugin, add a plugin (docs/how-to-add-a-plugin.md), "
    "or unset block_network."
)


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
    seen.append(await asyncio.to_thread(lambda: requests.get(f"{named}/users/3", timeout=5).json()))
    return [*seen, httpx.get(f"{named}/users/4").json()]


def test_plugins_record_replay_and_stay_live_under_it(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path, block_network=True):
        live = asyncio.run(all_clients(upstream.url))
    assert [user["id"] for user in live] == [1, 2, 3, 4]
    with replay(path, block_network=True, live_plugins=["http"]):
        assert asyncio.run(all_clients(upstream.url)) == live
    assert set(upstream.hits.values()) == {2}
    upstream.stop()
    with replay(path, block_network=True):
        assert asyncio.run(all_clients(upstream.url)) == live


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
        f"Blocked: a connection to {address} from code that no plugin covers",
        f"  made by: {__name__} (test_network_guard.py:{line}, in raw)",
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

    def run() -> None:
        try:
            raw(upstream)
        except BaseException as error:
            errors.append(error)

    scope = record(tmp_path / "x.msgpack", block_network=True)
    scope.__enter__()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
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
                pytest.raises(NetworkBlockedError, match=":9 "),
            ):
                udp.sendto(b"x", ("127.0.0.1", 9))
            with socket.socket(socket.AF_UNIX) as unix, pytest.raises(NetworkBlockedError, match="/tmp/nobody"):
                unix.connect("/tmp/nobody")
            with pytest.raises(NetworkBlockedError, match=r"to example\.test:80 from"):
                socket.getaddrinfo("example.test", 80)
        finally:
            network_guard.end(session)
            session.blocked.clear()
