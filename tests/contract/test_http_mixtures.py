"""Three HTTP clients in one session, each mocked or live on its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider

import timetracer_otel
from tests.loopback import Loopback
from timetracer_otel.cassette import read_cassette
from timetracer_otel.match.signature import RedactedCall, Signer
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call

LIBRARIES = ("aiohttp", "httpx", "requests")
SUBSETS = [set(subset) for size in range(4) for subset in itertools.combinations(LIBRARIES, size)]


async def _by_aiohttp(url: str) -> object:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.json()


CALLS: dict[str, Callable[[str], object]] = {
    "aiohttp": lambda url: asyncio.run(_by_aiohttp(url)),
    "httpx": lambda url: httpx.get(url).json(),
    "requests": lambda url: requests.get(url, timeout=60).json(),
}


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _use(upstream: Loopback, order: tuple[str, ...]) -> list[object]:
    return [CALLS[name](f"{upstream.url}/users/{number}") for number, name in enumerate(order, 1)]


@pytest.mark.parametrize("live", SUBSETS, ids=lambda names: "+".join(sorted(names)) or "none")
@pytest.mark.parametrize("way", ["live_plugins", "mock_plugins"])
def test_every_mixture_of_mocked_and_live(upstream: Loopback, tmp_path: Path, live: set[str], way: str) -> None:
    order = ("httpx", "requests", "aiohttp", "requests", "httpx", "aiohttp")
    path = tmp_path / "x.msgpack"
    with timetracer_otel.record(path):
        recorded = _use(upstream, order)
    upstream.hits.clear()
    names = live if way == "live_plugins" else set(LIBRARIES) - live
    if way == "mock_plugins" and not names:
        names = {"db"}  # an empty list means all
    settings: dict[str, Any] = {way: sorted(names)}
    with timetracer_otel.replay(path, **settings) as session:
        assert _use(upstream, order) == recorded
        assert isinstance(session, ReplaySession)
        assert {event.signature.lib for event in session.get_unconsumed_events()} == live
        assert dict(session.live_calls) == dict.fromkeys(live, 2)
    went_out = [f"/users/{number}" for number, name in enumerate(order, 1) if name in live]
    assert sorted(upstream.hits) == went_out


def test_one_library_does_not_answer_for_another(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with timetracer_otel.record(path):
        CALLS["httpx"](f"{upstream.url}/users/1")
    upstream.stop()
    for name in ("requests", "aiohttp"):
        with (
            timetracer_otel.replay(path),
            pytest.raises(timetracer_otel.ReplayMismatchError, match=f"No recorded call matches: {name} GET"),
        ):
            CALLS[name](f"{upstream.url}/users/1")


async def _posts_by_aiohttp(url: str, calls: list[tuple[dict[str, str], bytes]]) -> list[bytes]:
    async with aiohttp.ClientSession() as session:
        found = []
        for headers, body in calls:
            async with session.post(url, headers=headers, data=body) as answer:
                found.append(await answer.read())
        return found


def _posts_by_httpx(url: str, calls: list[tuple[dict[str, str], bytes]]) -> list[bytes]:
    with httpx.Client() as client:
        return [client.post(url, headers=headers, content=body).content for headers, body in calls]


def _posts_by_requests(url: str, calls: list[tuple[dict[str, str], bytes]]) -> list[bytes]:
    with requests.Session() as session:
        return [session.post(url, headers=headers, data=body, timeout=60).content for headers, body in calls]


POSTS: dict[str, Callable[[str, list[tuple[dict[str, str], bytes]]], list[bytes]]] = {
    "aiohttp": lambda url, calls: asyncio.run(_posts_by_aiohttp(url, calls)),
    "httpx": _posts_by_httpx,
    "requests": _posts_by_requests,
}


INSTRUMENTORS: dict[str, Any] = {
    "aiohttp": AioHttpClientInstrumentor,
    "httpx": HTTPXClientInstrumentor,
    "requests": RequestsInstrumentor,
}


@pytest.fixture(params=[False, True], ids=["untraced", "traced"])
def traced(request: pytest.FixtureRequest, library: str) -> Iterator[bool]:
    """With a span of OpenTelemetry around each call of the library, whose ids stand in a header."""
    if request.param:
        INSTRUMENTORS[library]().instrument(tracer_provider=TracerProvider())
    yield request.param
    if request.param:
        INSTRUMENTORS[library]().uninstrument()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_call_is_redacted_where_its_headers_or_its_body_are_new(
    upstream: Loopback, tmp_path: Path, library: str, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, url = POSTS[library], f"{upstream.url}/count"
    plain, signed = {"Content-Type": "text/plain"}, {"Content-Type": "text/plain", "Authorization": "Bearer ab12cd34"}
    recorded = [(plain, b"a"), (plain, b"bb"), (signed, b"ccc"), (signed, b"dddd")]
    with timetracer_otel.record(tmp_path / "x.msgpack"):
        answers = post(url, recorded)
    events = read_cassette(tmp_path / "x.msgpack").events
    assert [event.call is not None and "traceparent" in event.call.headers for event in events] == [traced] * 4
    made: list[bytes] = []
    begin = RedactedCall.__init__

    def noting(self: RedactedCall, call: Call, signer: Signer) -> None:
        if signer.redactor.active:
            made.append(call.body or b"")
        begin(self, call, signer)

    monkeypatch.setattr(RedactedCall, "__init__", noting)
    with timetracer_otel.replay(tmp_path / "x.msgpack") as session:
        assert post(url, recorded) == answers
        assert session.verdict().ok
        assert {b"bb", b"dddd"}.isdisjoint(made)
        assert made[0] == b"a"
        assert b"ccc" in made
        with pytest.raises(Exception, match=r"recorded"):
            post(url, [(signed, b"ccc")])
        assert len(session.verdict().misses) == 1
