"""A recording names the clients that no plugin captures and that leave no span, by the connections that they make."""

from __future__ import annotations

import asyncio
import contextvars
import http.client
import logging
import socket
import subprocess
import sys
import threading
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psycopg2  # type: ignore[import-untyped]
import pytest
import redis
import requests
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, text

from tests.children import environment
from tests.loopback import Loopback
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from tests.unplugged import unplugged
from timetracer_otel import NetworkBlockedError, ReplayFailedError, record, replay
from timetracer_otel.base import counters
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main
from timetracer_otel.process.runtime import runtime

_NOBODY = "127.0.0.1:9"
_NO_CTYPES = """
import socket, sys, traceback
sys.modules["_ctypes"] = None
from timetracer_otel import record

def failed():
    try:
        socket.create_connection(("127.0.0.1", 9))
    except OSError:
        return traceback.format_exc()

bare = failed()
with record(sys.argv[1]):
    assert failed() == bare
"""


@pytest.fixture(scope="module", autouse=True)
def _without_plugins() -> Iterator[None]:
    """psycopg2 stands for any driver without a plugin, urllib for any client of HTTP without one."""
    with unplugged("psycopg2", "urllib"):
        yield


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "noted.msgpack"


def _address(upstream: Loopback) -> str:
    return upstream.url.removeprefix("http://")


def _by_a_socket(upstream: Loopback) -> None:
    host, _, port = _address(upstream).partition(":")
    with socket.create_connection((host, int(port))):
        pass


def _by_http_client(upstream: Loopback) -> None:
    with closing(http.client.HTTPConnection(_address(upstream))) as connection:
        connection.request("GET", "/users/1")
        connection.getresponse().read()


def _by_psycopg2() -> None:
    with suppress(psycopg2.OperationalError):
        psycopg2.connect(f"host={_NOBODY.partition(':')[0]} port=9 dbname=shop")


def test_a_recording_says_once_who_connects_without_a_plugin_and_to_where(
    upstream: Loopback, path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    counters.forget()
    with caplog.at_level(logging.WARNING), record(path):
        _by_a_socket(upstream)
        _by_a_socket(upstream)
        _by_psycopg2()
    at = _address(upstream)
    told = f"psycopg2 (1 connection to {_NOBODY}), socket (2 connections to {at})"
    said = [
        (
            f"timetracer-otel: recorded, but no replay can answer: {told}. No plugin captures these libraries, so a "
            "replay refuses their calls. What to do: docs/replay-in-tests.md, 'A closed world'. "
            "TIMETRACER_UNCAPTURED=record takes this line away."
        )
    ]
    assert [line for line in caplog.messages if "no replay can answer" in line] == said
    assert counters.counters().connections == {"psycopg2": {_NOBODY: 1}, "socket": {at: 2}}
    cassette = read_cassette(path)
    assert cassette.stats.connections == counters.counters().connections
    # They are no calls: nothing is known of what was asked.
    assert cassette.events == []
    assert main(["list", "--dir", str(path.parent)]) == 0
    assert f"No plugin captures {told}: replays refuse them." in capsys.readouterr().out
    assert main(["show", str(path)]) == 0
    assert f"no plugin {told}: a replay refuses them" in capsys.readouterr().out


def test_a_recording_that_is_to_say_nothing_has_them_all_the_same(
    upstream: Loopback, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), record(path, uncaptured="record"):
        _by_http_client(upstream)
    assert caplog.messages == []
    assert read_cassette(path).stats.connections == {"http.client": {_address(upstream): 1}}


def test_several_addresses_of_a_library_are_one_client(path: Path, upstream: Loopback) -> None:
    with record(path, uncaptured="record"):
        _by_a_socket(upstream)
        with suppress(OSError), socket.socket() as other:
            other.connect_ex(("127.0.0.1", 9))
    found = {"socket": {_address(upstream): 1, _NOBODY: 1}}
    assert read_cassette(path).stats.connections == found
    first = min(found["socket"])
    assert counters.clients_without_plugin({}, found) == f"socket (2 connections to {first} and 1 other address)"


def test_clients_with_a_plugin_are_not_named_though_they_leave_no_span(
    upstream: Loopback, tmp_path: Path, path: Path
) -> None:
    url = f"{upstream.url}/users/1"

    async def ask() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(url)
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.read()

    postgres = Postgres()
    engine = create_engine(postgres.url("psycopg2"))
    with RedisServer(tmp_path) as server:
        with record(path, uncaptured="record"):
            httpx.get(url)
            requests.get(url, timeout=30)
            asyncio.run(ask())
            with redis.Redis(port=server.port) as client:
                client.ping()
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        engine.dispose()
    postgres.clear()
    found = read_cassette(path)
    assert {event.signature.lib for event in found.events} == {"httpx", "requests", "aiohttp", "redis", "sqlalchemy"}
    assert found.stats.connections == {}


def test_what_runs_outside_the_session_or_suppressed_is_not_named(upstream: Loopback, path: Path) -> None:
    begins, has_ended = threading.Event(), threading.Event()

    def outside() -> None:
        begins.wait(60)
        _by_a_socket(upstream)
        has_ended.set()

    threading.Thread(target=outside).start()
    with record(path):
        begins.set()
        assert has_ended.wait(60)
        with suppress_instrumentation():
            _by_http_client(upstream)
        one, other = socket.socketpair()
        one.close()
        other.close()
    assert read_cassette(path).stats.connections == {}
    _by_a_socket(upstream)


@pytest.mark.parametrize("recording_ends_first", [True, False])
def test_a_replay_refuses_beside_a_recording_and_both_leave_nothing_behind(
    upstream: Loopback, path: Path, empty: Path, recording_ends_first: bool
) -> None:
    before = _functions()
    recording, replaying = contextvars.copy_context(), contextvars.copy_context()
    recorded, replayed = record(path, uncaptured="record"), replay(empty, fail_on_miss=False)
    recording.run(recorded.__enter__)
    replaying.run(replayed.__enter__)
    for call in (partial(_by_a_socket, upstream), _by_psycopg2):
        with pytest.raises(NetworkBlockedError):
            replaying.run(call)
        recording.run(call)

    def end_replay() -> None:
        with pytest.raises(ReplayFailedError, match="2 blocked"):
            replaying.run(replayed.__exit__, None, None, None)

    if not recording_ends_first:
        end_replay()
    recording.run(recorded.__exit__, None, None, None)
    if recording_ends_first:
        end_replay()
    assert _functions() == before
    noted = {"psycopg2": {_NOBODY: 1}, "socket": {_address(upstream): 1}}
    assert read_cassette(path).stats.connections == noted


def _functions() -> list[Callable[..., Any] | None]:
    return [vars(socket.socket).get("connect"), vars(socket.socket).get("connect_ex"), psycopg2._connect]


def test_a_connection_that_fails_has_the_traceback_that_it_has_without_us(path: Path) -> None:
    def failing() -> list[str]:
        found = []
        for connect in (
            lambda: socket.create_connection(("127.0.0.1", 9)),
            lambda: psycopg2.connect("host=127.0.0.1 port=9 dbname=shop"),
        ):
            with pytest.raises((OSError, psycopg2.OperationalError)) as caught:
                connect()
            found.append("".join(traceback.format_exception(caught.value)))
        return found

    bare = failing()
    with record(path, uncaptured="record"):
        recorded = failing()
    assert recorded == bare
    noted = {"psycopg2": {_NOBODY: 1}, "socket": {_NOBODY: 1}}
    assert read_cassette(path).stats.connections == noted


def test_a_python_3_10_without_ctypes_notes_nothing_rather_than_show_it_in_tracebacks(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _NO_CTYPES, str(path)], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    connections = read_cassette(path).stats.connections
    assert connections == ({"socket": {_NOBODY: 1}} if sys.version_info >= (3, 11) else {})


def test_urllib_within_a_span_is_known_by_its_span(upstream: Loopback, path: Path) -> None:

    provider = TracerProvider()
    provider.add_span_processor(runtime().processor)
    tracer = provider.get_tracer("opentelemetry.instrumentation.urllib")
    with record(path, uncaptured="record"), tracer.start_as_current_span("GET", kind=SpanKind.CLIENT):
        urllib.request.urlopen(f"{upstream.url}/users/1").close()
    stats = read_cassette(path).stats
    assert (stats.without_plugin, stats.connections) == ({"urllib": 1}, {})
