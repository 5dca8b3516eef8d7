"""`timetracer_otel.testing`: a session in contexts that are older than it, without pytest's marker."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import unittest
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import get_current_session
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.testing import current, everywhere, in_session


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _case(url: str, path: Path, told: list[int]) -> unittest.TestCase:
    class Case(unittest.IsolatedAsyncioTestCase):
        def setUp(self) -> None:
            session = self._enter(replay(path, record_mode="once", fail_on_unused=True))
            self._enter(everywhere(session, self))

        def _enter(self, block: Any) -> Any:
            # `enterContext` came with Python 3.11.
            entered = block.__enter__()
            self.addCleanup(block.__exit__, None, None, None)
            return entered

        async def asyncSetUp(self) -> None:
            await self._user(1)

        async def test_it(self) -> None:
            await self._user(2)
            await asyncio.to_thread(told.append, httpx.get(f"{url}/users/3").json()["id"])

        async def _user(self, number: int) -> None:
            async with httpx.AsyncClient() as client:
                told.append((await client.get(f"{url}/users/{number}")).json()["id"])

    return Case("test_it")


def test_a_unittest_case_has_its_session_everywhere(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "case.msgpack"
    for _ in range(2):
        told: list[int] = []
        result = unittest.TestResult()
        _case(upstream.url, path, told).run(result)
        assert not [*result.errors, *result.failures]
        assert told == [1, 2, 3]
        upstream.stop()
    assert len(read_cassette(path).events) == 3
    assert get_current_session() is None


def test_contexts_that_were_copied_before(tmp_path: Path) -> None:
    older = [contextvars.copy_context() for _ in range(2)]
    found: list[BaseSession | None] = []

    def started() -> None:
        thread = threading.Thread(target=lambda: found.append(get_current_session()))
        thread.start()
        thread.join()

    with record(tmp_path / "x.msgpack") as session:
        assert [context.run(get_current_session) for context in older] == [None, None]
        with everywhere(session, *older, None, "anything else"):
            assert [context.run(get_current_session) for context in older] == [session, session]
            older[0].run(started)
            with everywhere(session, older[0]):
                pass
            assert older[0].run(get_current_session) is session
    assert found == [session]
    assert [context.run(get_current_session) for context in older] == [None, None]


def test_a_session_that_is_made_by_hand_is_current_here_as_well() -> None:
    session = TraceSession(TraceConfig())
    with everywhere(session):
        assert get_current_session() is session
        with current(session):
            assert get_current_session() is session
    assert get_current_session() is None


def test_the_context_of_the_caller_and_one_in_which_other_code_runs() -> None:
    session = TraceSession(TraceConfig())
    context = contextvars.copy_context()

    def inside() -> None:
        with everywhere(session, context):
            assert get_current_session() is session
        contextvars.Context().run(elsewhere)

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="already entered"), everywhere(session, context):
            pass
        assert get_current_session() is None

    context.run(inside)
    assert context.run(get_current_session) is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner came with Python 3.11")
def test_a_runner_that_is_older_than_the_session() -> None:
    async def found() -> BaseSession | None:
        return get_current_session()

    runners: Any = asyncio
    original = runners.Runner.run
    session = TraceSession(TraceConfig())
    with runners.Runner() as runner:
        runner.run(asyncio.sleep(0))
        with everywhere(session), everywhere(session):
            assert runner.run(found()) is session
            assert runner.run(found(), context=contextvars.Context()) is None
        assert runner.run(found()) is None
    assert runners.Runner.run is original


def test_functions_of_any_kind_run_in_a_session() -> None:
    session = TraceSession(TraceConfig())
    seen: list[BaseSession | None] = []

    def plain(number: int) -> int:
        seen.append(get_current_session())
        return number

    async def coroutine(number: int) -> int:
        await asyncio.sleep(0)
        return plain(number)

    async def fixture() -> AsyncIterator[int]:
        plain(0)
        yield 3
        plain(0)

    async def steps() -> list[int]:
        values = in_session(session, fixture)()
        found = [await anext(values)]
        seen.append(get_current_session())
        found += [value async for value in values]
        return found

    assert contextvars.Context().run(in_session(session, plain), 1) == 1
    assert contextvars.Context().run(asyncio.run, in_session(session, coroutine)(2)) == 2
    assert contextvars.Context().run(asyncio.run, steps()) == [3]
    assert seen == [session, session, session, None, session]
    assert in_session(session, coroutine).__name__ == "coroutine"
