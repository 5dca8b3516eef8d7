"""Mocks of HTTP calls beside a session: what they answer is theirs, what they let through is the session's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import httpx
import pytest
import requests
import responses
import vcr

import timetracer_otel
from tests.loopback import Loopback
from timetracer_otel.cassette import read_cassette

MOCKED = "http://mock.invalid/a"


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@contextmanager
def _responses(real: str) -> Iterator[None]:
    with responses.RequestsMock() as mocked:
        mocked.get(MOCKED, json="mocked")
        mocked.add_passthru(real)
        yield


# As pytest-httpx has it, and many a suite by hand: what is not mocked goes to the function that stood in the class.
_SEND = httpx.HTTPTransport.handle_request
_SEND_ASYNC = httpx.AsyncHTTPTransport.handle_async_request


@contextmanager
def _httpx_patched(real: str) -> Iterator[None]:
    def answered(request: httpx.Request) -> httpx.Response | None:
        return None if str(request.url).startswith(real) else httpx.Response(200, json="mocked")

    def send(transport: Any, request: httpx.Request) -> httpx.Response:
        return answered(request) or _SEND(transport, request)

    async def send_async(transport: Any, request: httpx.Request) -> httpx.Response:
        return answered(request) or await _SEND_ASYNC(transport, request)

    with (
        mock.patch.object(httpx.HTTPTransport, "handle_request", send),
        mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", send_async),
    ):
        yield


@contextmanager
def _aiohttp_patched(real: str) -> Iterator[None]:
    """As aioresponses has it, whose own answers depend on aiohttp's release."""
    kept = aiohttp.ClientSession._request

    class Answer:
        def release(self) -> None:
            """Nothing is held."""

        close = release

        async def json(self) -> str:
            return "mocked"

    async def request(session: Any, method: str, url: Any, **keywords: Any) -> Any:
        return await kept(session, method, url, **keywords) if str(url).startswith(real) else Answer()

    with mock.patch.object(aiohttp.ClientSession, "_request", request):
        yield


async def _by_aiohttp(url: str) -> Any:
    async with aiohttp.ClientSession() as session:
        answer = await session.get(url)
        return await answer.json()


async def _by_async_httpx(url: str) -> Any:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).json()


Call = Callable[[str], Any]
Mocking = Callable[[str], AbstractContextManager[None]]

WAYS: dict[str, tuple[Call, Mocking]] = {
    "requests, responses": (lambda url: requests.get(url, timeout=60).json(), _responses),
    "httpx": (lambda url: httpx.get(url).json(), _httpx_patched),
    "aiohttp": (lambda url: asyncio.run(_by_aiohttp(url)), _aiohttp_patched),
    "httpx, async": (lambda url: asyncio.run(_by_async_httpx(url)), _httpx_patched),
}


@contextmanager
def _both(
    begins_first: str, session: AbstractContextManager[Any], mocking: AbstractContextManager[None]
) -> Iterator[Any]:
    if begins_first == "session":
        with session as opened, mocking:
            yield opened
    else:
        with mocking, session as opened:
            yield opened


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("begins_first", ["session", "mock"])
def test_a_mock_answers_and_what_it_lets_through_is_recorded_and_replayed(
    upstream: Loopback, tmp_path: Path, way: str, begins_first: str
) -> None:
    call, mocking = WAYS[way]
    path, real = tmp_path / "x.msgpack", f"{upstream.url}/users/1"
    with _both(begins_first, timetracer_otel.record(path), mocking(upstream.url)):
        recorded = [call(MOCKED), call(real)]
    assert recorded[0] == "mocked"
    assert [event.signature.url for event in read_cassette(path).events] == [real]
    upstream.stop()
    with _both(begins_first, timetracer_otel.replay(path), mocking(upstream.url)) as session:
        assert [call(MOCKED), call(real)] == recorded
        assert str(session.verdict()) == "1 hit, 0 missed, 0 unused, 0 live"


@pytest.mark.parametrize("way", WAYS)
def test_a_mock_that_ends_within_a_session_leaves_the_calls_to_that(
    upstream: Loopback, tmp_path: Path, way: str
) -> None:
    call, mocking = WAYS[way]
    path, real = tmp_path / "x.msgpack", f"{upstream.url}/users/1"

    def run(scope: AbstractContextManager[Any]) -> Any:
        with ExitStack() as mocked:
            mocked.enter_context(mocking(upstream.url))
            with scope:
                assert call(MOCKED) == "mocked"
                mocked.close()
                return call(real)

    recorded = run(timetracer_otel.record(path))
    upstream.stop()
    assert run(timetracer_otel.replay(path)) == recorded


_READY = """
import gc, gzip, httpx, timetracer_otel

def handle_request(self, request):
    kind = request.url.path
    if kind == "/gzip":
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"ready"))
    response = httpx.Response(200, stream=httpx.ByteStream(b"ready") if kind == "/stream" else Pieces())
    response.read()
    return response

class Pieces(httpx.SyncByteStream):
    def __iter__(self):
        yield b"ready"

# Nobody keeps the function of httpx: what stands in its place is the only one there is.
httpx.HTTPTransport.handle_request = handle_request
gc.collect()
for scope in (timetracer_otel.record, timetracer_otel.replay):
    with scope("x.msgpack"):
        for kind in ("gzip", "stream", "pieces"):
            assert httpx.get("http://mock.invalid/" + kind).text == "ready"
    handle_request.__code__ = (lambda self, request: 1 / 0).__code__
"""


def test_a_response_that_comes_read_already_is_recorded_whole(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _READY], cwd=tmp_path, check=True, timeout=60)


def test_an_answer_of_vcrpy_is_recorded_as_what_cannot_be_replayed(upstream: Loopback, tmp_path: Path) -> None:
    """vcrpy answers beneath the client, in place of the connection, also what it has just recorded itself."""
    path, url = tmp_path / "x.msgpack", f"{upstream.url}/users/1"
    for _ in ("recorded by vcrpy", "replayed by vcrpy"):
        with timetracer_otel.record(path), vcr.use_cassette(str(tmp_path / "x.yaml")):
            assert requests.get(url, timeout=60).json()["name"] == "Ada"
        (event,) = read_cassette(path).events
        assert event.result.status == 200
        assert event.not_replayable == "its body comes from a VCRHTTPResponse, not from http.client"
    assert upstream.hits["/users/1"] == 1
    with (
        timetracer_otel.replay(path, fail_on_miss=False),
        pytest.raises(timetracer_otel.ReplayMismatchError, match="VCRHTTPResponse"),
    ):
        requests.get(url, timeout=60)
