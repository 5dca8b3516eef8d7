"""Mocks of HTTP calls beside a session: what they answer is theirs, what they let through is the session's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

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


async def _by_async_httpx(url: str) -> Any:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).json()


Call = Callable[[str], Any]
Mocking = Callable[[str], AbstractContextManager[None]]

WAYS: dict[str, tuple[Call, Mocking]] = {
    "requests, responses": (lambda url: requests.get(url, timeout=60).json(), _responses),
    "httpx": (lambda url: httpx.get(url).json(), _httpx_patched),
    "httpx, async": (lambda url: asyncio.run(_by_async_httpx(url)), _httpx_patched),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mock_answers_and_what_it_lets_through_is_recorded_and_replayed(
    upstream: Loopback, tmp_path: Path, way: str
) -> None:
    call, mocking = WAYS[way]
    path, real = tmp_path / "x.msgpack", f"{upstream.url}/users/1"
    with timetracer_otel.record(path), mocking(upstream.url):
        recorded = [call(MOCKED), call(real)]
    assert recorded[0] == "mocked"
    assert [event.signature.url for event in read_cassette(path).events] == [real]
    upstream.stop()
    with timetracer_otel.replay(path) as session, mocking(upstream.url):
        assert [call(MOCKED), call(real)] == recorded
    assert str(session.verdict()) == "1 hit, 0 missed, 0 unused, 0 live"


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
