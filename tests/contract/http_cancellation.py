"""A call that the app cancelled: nothing half replays as a success, and nothing hangs; for asynchronous clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from tests.contract.http_flavour import HttpFlavour, Session
from tests.servers._upstream import Upstream
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette

__all__ = ["HttpCancellation"]

_CANCEL_AFTER = 0.15
_REFUSED_WITHIN = 30.0
"""Seconds after which a replay must have said that it has no answer."""

Cancelled = Callable[[Session, str], Awaitable[Any]]


async def _wait_for(session: Session, target: str) -> Any:
    try:
        return await asyncio.wait_for(session.call("GET", target), _CANCEL_AFTER)
    except asyncio.TimeoutError:
        return "timed out"


async def _task_cancel(session: Session, target: str) -> Any:
    task = asyncio.ensure_future(session.call("GET", target))
    await asyncio.sleep(_CANCEL_AFTER)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return "cancelled"


async def _move_on(session: Session, target: str) -> Any:
    with anyio.move_on_after(_CANCEL_AFTER):
        return await session.call("GET", target)
    return "moved on"


async def _fail_after(session: Session, target: str) -> Any:
    try:
        with anyio.fail_after(_CANCEL_AFTER):
            return await session.call("GET", target)
    except TimeoutError:
        return "failed"


async def _cancelled_group(session: Session, target: str) -> Any:
    async with anyio.create_task_group() as group:
        group.start_soon(session.call, "GET", target)
        await anyio.sleep(_CANCEL_AFTER)
        group.cancel_scope.cancel()
    return "group cancelled"


async def _stream_moved_on(session: Session, target: str) -> Any:
    """The app cancels some time after the first piece, or some time after it began where none comes."""
    pieces: list[int] = []

    def took(piece: int) -> None:
        pieces.append(piece)
        scope.deadline = anyio.current_time() + _CANCEL_AFTER

    with anyio.move_on_after(60 if "body" in target else _CANCEL_AFTER) as scope:
        await session.stream("GET", target, after=took)
        return "read to its end"
    return pieces


async def _upload_cancelled(session: Session, target: str) -> Any:
    """The app cancels while its own stream waits, once the first piece of that was taken."""
    said = anyio.Event()

    async def speech() -> AsyncIterator[bytes]:
        yield b"hello, "
        said.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(partial(session.call, "POST", target, content=speech()))
        with anyio.fail_after(60):
            await said.wait()
        await anyio.sleep(_CANCEL_AFTER)
        group.cancel_scope.cancel()
    return "upload cancelled"


_WAYS: dict[str, Cancelled] = {
    "wait_for": _wait_for,
    "task.cancel": _task_cancel,
    "move_on_after": _move_on,
    "fail_after": _fail_after,
    "task group": _cancelled_group,
    "move_on_after in a stream": _stream_moved_on,
    "task group with an upload": _upload_cancelled,
}
_ASYNCIO_ONLY = {"wait_for", "task.cancel"}


class HttpCancellation:
    """Inherit this, and name the flavour."""

    flavour: ClassVar[HttpFlavour]

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "way" in metafunc.fixturenames:
            left_out = _ASYNCIO_ONLY if "trio" in cls.flavour.name else set()
            metafunc.parametrize("way", [way for way in _WAYS if way not in left_out])

    @pytest.fixture(autouse=True)
    def _servers(self, upstream: Upstream) -> None:
        """Every test has them, also those that do not name them."""

    def run(self, cancelled: Cancelled, target: str) -> Any:
        async def run(f: HttpFlavour) -> Any:
            async with f.open(timeout=60) as session:
                seen = await cancelled(session, target)
                return [seen, (await session.call("GET", "/counter/after"))["json"]]

        return self.flavour.run(run)

    @pytest.mark.parametrize("target", ["/slow/5000", "/slow-body/5000"], ids=["before headers", "within the body"])
    def test_cancelling_again_in_replay_looks_the_same(
        self, upstream: Upstream, tmp_path: Path, way: str, target: str
    ) -> None:
        path = tmp_path / "cassette.msgpack"
        bare = self.run(_WAYS[way], target)
        upstream.control("reset")
        with record(path):
            assert self.run(_WAYS[way], target) == bare
        upstream.stop()
        with replay(path):
            assert self.run(_WAYS[way], target) == bare

    @pytest.mark.parametrize("target", ["/slow/5000", "/slow-body/5000"], ids=["before headers", "within the body"])
    def test_not_cancelling_in_replay_is_refused_in_time(
        self, upstream: Upstream, tmp_path: Path, target: str
    ) -> None:
        path = tmp_path / "cassette.msgpack"
        with record(path):
            self.run(_move_on, target)
        upstream.stop()

        async def patient(f: HttpFlavour) -> Any:
            async with f.open(timeout=60) as session:
                return await session.call("GET", target)

        started = time.monotonic()
        with replay(path), pytest.raises(ReplayMismatchError):
            self.flavour.run(patient)
        assert time.monotonic() - started < _REFUSED_WITHIN

    def test_a_cancelled_call_leaves_one_event_that_says_so(self, tmp_path: Path) -> None:
        path = tmp_path / "cassette.msgpack"
        with record(path):
            self.run(_move_on, "/slow/5000")
        cancelled, after = read_cassette(path).events
        assert cancelled.not_replayable is not None
        assert "cancelled" in cancelled.not_replayable
        assert after.not_replayable is None

    def test_many_calls_of_which_some_are_cancelled(self, upstream: Upstream, tmp_path: Path) -> None:
        path = tmp_path / "cassette.msgpack"

        async def run(f: HttpFlavour) -> Any:
            async def one(session: Session, n: int) -> Any:
                if n % 3 == 0:
                    return await _move_on(session, f"/slow/5000?n={n}")
                return (await session.call("POST", "/reorder?of=30", json={"n": n}))["json"]

            async with f.open(max_connections=50, timeout=60) as session:
                return await f.together([partial(one, session, n) for n in range(30)])

        with record(path):
            recorded = self.flavour.run(run)
        upstream.stop()
        with replay(path):
            assert self.flavour.run(run) == recorded
