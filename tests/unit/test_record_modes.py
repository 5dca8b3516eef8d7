"""Record modes of ``replay(...)``, and what its end raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from tests.loopback import Loopback
from timetracer_otel import (
    CassetteNotFoundError,
    ConfigurationError,
    RecordMode,
    ReplayFailedError,
    ReplayMismatchError,
    TraceConfig,
    TraceMode,
    record,
    replay,
)
from timetracer_otel.cassette import read_cassette
from timetracer_otel.pytest_plugin import ReplayFixture
from timetracer_otel.session import ReplaySession, TraceSession


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


async def _aiohttp(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/aiohttp", data=b"ab") as answer:
        return await answer.read()


def all_clients(url: str) -> list[Any]:
    return [
        httpx.post(f"{url}/httpx", content=iter([b"a", b"b"]), headers={"Content-Length": "2"}).content,
        requests.post(f"{url}/requests", data=b"ab", timeout=60).content,
        asyncio.run(_aiohttp(url)),
        httpx.get(f"{url}/users/1", params={"token": "s3cret"}).json(),
    ]


@pytest.mark.parametrize("known", [0, 1, 4])
def test_new_episodes_are_added_behind_the_old_ones(upstream: Loopback, tmp_path: Path, known: int) -> None:
    path = tmp_path / "x.msgpack"
    with record(path, redact_extra=["extra"]):
        httpx.get(f"{upstream.url}/items", params={"extra": "s3cret"})
        live = all_clients(upstream.url) if known == 4 else [httpx.get(f"{upstream.url}/users/9")] * known
    upstream.hits.clear()
    with replay(path, record_mode="new_episodes") as session:
        seen = all_clients(upstream.url)
        httpx.get(f"{upstream.url}/items", params={"extra": "s3cret"})
        httpx.get(f"{upstream.url}/items", params={"extra": "s3cret"})
    assert sum(upstream.hits.values()) == (1 if known == 4 else 5)
    if known == 4:
        assert seen == live
    assert session.verdict().recorded == sum(upstream.hits.values())
    upstream.stop()
    kept = read_cassette(path)
    assert [event.eid for event in kept.events] == list(range(1, len(kept.events) + 1))
    assert [event.start_offset_ms for event in kept.events] == sorted(event.start_offset_ms for event in kept.events)
    assert b"s3cret" not in path.read_bytes()
    with replay(path):
        assert all_clients(upstream.url) == seen
        for _ in range(2):
            httpx.get(f"{upstream.url}/items", params={"extra": "s3cret"})


@pytest.mark.parametrize("record_mode", [RecordMode.ONCE, RecordMode.ALL, RecordMode.NEW_EPISODES])
def test_without_a_file_all_record_modes_but_one_record(
    upstream: Loopback, tmp_path: Path, record_mode: RecordMode
) -> None:
    path = tmp_path / "deep" / "x.msgpack"
    with replay(path, record_mode=record_mode) as session:
        httpx.get(f"{upstream.url}/items")
    assert isinstance(session, TraceSession)
    assert str(session.verdict()) == "0 hit, 0 missed, 0 unused, 0 live, 1 recorded"
    with replay(path, record_mode="once") as session:
        httpx.get(f"{upstream.url}/items")
    assert isinstance(session, ReplaySession)
    assert str(session.verdict()) == "1 hit, 0 missed, 0 unused, 0 live"
    assert upstream.hits == {"/items": 1}
    with pytest.raises(CassetteNotFoundError):
        replay(tmp_path / "y.msgpack", record_mode="none").__enter__()


@pytest.mark.parametrize("mode", ["once", "ONCE", RecordMode.ONCE])
def test_a_record_mode_that_is_given_as_mode_counts_and_warns(
    upstream: Loopback, tmp_path: Path, mode: str | RecordMode
) -> None:
    with pytest.warns(DeprecationWarning, match=r"^replay\(mode=\.\.\.\) is spelt record_mode=") as warned:
        scope = replay(tmp_path / "x.msgpack", mode=mode)  # type: ignore[call-arg]
    assert [found.filename for found in warned] == [__file__]
    with scope as session:
        httpx.get(f"{upstream.url}/items")
    assert isinstance(session, TraceSession)
    assert upstream.hits == {"/items": 1}


def test_mode_may_only_repeat_what_the_name_says(tmp_path: Path) -> None:
    """No warning (they are errors here), and no other mode than that of the function."""
    recording: Any = record
    for mode in ("record", "Record", TraceMode.RECORD):
        with recording(tmp_path / "x.msgpack", mode=mode) as session:
            assert session.mode is TraceMode.RECORD
    scopes: list[tuple[Any, str]] = [(record, "replay"), (replay, "off"), (replay, "twice"), (replay, "record")]
    for scope, wrong in scopes:
        with pytest.raises(ConfigurationError, match=rf"^mode: .* is not allowed in {scope.__name__}\(\.\.\.\)"):
            scope(tmp_path / "x.msgpack", mode=wrong)


def test_strict_replay_has_one_default() -> None:
    """Of the settings, of a session that is made by hand, and of the fixtures, which leave it to the settings."""
    assert TraceConfig().strict_replay is True
    assert inspect.signature(ReplaySession).parameters["strict"].default is True
    assert inspect.signature(ReplayFixture.__call__).parameters["strict"].default is None


def test_the_end_raises_for_a_swallowed_miss_and_only_then(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    with record(path):
        httpx.get(f"{upstream.url}/items")

    def swallows() -> str:
        try:
            httpx.get(f"{upstream.url}/other")
        except Exception:
            return "swallowed"
        return "answered"

    async def swallows_async() -> str:
        return swallows()

    with pytest.raises(ReplayFailedError) as caught:
        replay(path)(swallows)()
    assert [type(miss) for miss in caught.value.verdict.misses] == [ReplayMismatchError]
    with pytest.raises(ReplayFailedError):
        asyncio.run(replay(path)(swallows_async)())
    assert replay(path, fail_on_miss=False)(swallows)() == "swallowed"
    with pytest.raises(ReplayFailedError, match="0 hit, 0 missed, 1 unused"), replay(path, fail_on_unused=True):
        pass

    @replay(path)
    def fails() -> None:
        raise KeyError(swallows())

    with pytest.raises(KeyError, match="swallowed"):
        fails()
