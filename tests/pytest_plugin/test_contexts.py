"""Marked tests whose code runs in a context that is older than their session: none of it goes live unnoticed."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run

pytest_plugins = ["pytester"]


def record_and_replay(pytester: pytest.Pytester, upstream: Loopback, text: str, paths: list[str]) -> None:
    """Each path is called once, while the suite is recorded; its replay needs no server."""
    (pytester.path / "test_it.py").write_text(textwrap.dedent(text).replace("URL", upstream.url))
    missing = run(pytester, "--timetracer-record-mode=none")
    assert "CassetteNotFoundError" in missing.stdout.str()
    assert "passed" not in missing.parseoutcomes()
    assert not upstream.hits
    first = run(pytester)
    assert list(first.parseoutcomes()) == ["passed"]
    assert upstream.hits == dict.fromkeys(paths, 1)
    upstream.stop()
    again = run(pytester, "--timetracer-record-mode=none")
    assert again.parseoutcomes() == first.parseoutcomes()
    assert "recorded, but not called" not in again.stdout.str()


CASES = """
    import unittest
    import httpx
    import pytest
    from contextvars import ContextVar
    from timetracer_otel.context import get_current_session

    kept = ContextVar("kept", default=0)

    async def user(number):
        async with httpx.AsyncClient() as client:
            return (await client.get(f"URL/users/{number}")).json()["id"]

    class Case(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            httpx.get("URL/users/1")

        async def asyncSetUp(self):
            kept.set(await user(2))
            self.addAsyncCleanup(user, 6)

        async def asyncTearDown(self):
            assert await user(5) == 5
            assert kept.get() == 4

        def tearDown(self):
            httpx.get("URL/users/7")

        HOW
        async def test_it(self):
            assert await user(3) == 3
            assert kept.get() == 2
            kept.set(await user(4))
"""
WITHOUT = """
    class Without(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            assert get_current_session() is None

        async def test_it(self):
            assert get_current_session() is None
"""
AUTO = """
        @pytest.fixture(autouse=True)
        def _cassette(self, timetracer_auto):
            with timetracer_auto("mine.msgpack"):
                yield
"""


@pytest.mark.parametrize("how", ["@pytest.mark.timetracer", AUTO], ids=["marker", "auto"])
def test_an_isolated_async_test_case(pytester: pytest.Pytester, upstream: Loopback, how: str) -> None:
    text = CASES.replace("        HOW", textwrap.indent(textwrap.dedent(how), " " * 8))
    record_and_replay(pytester, upstream, text, [f"/users/{number}" for number in range(1, 8)])


def test_a_test_case_without_the_marker_has_no_session(pytester: pytest.Pytester, upstream: Loopback) -> None:
    text = (CASES + WITHOUT).replace("HOW", "@pytest.mark.timetracer").replace("URL", upstream.url)
    (pytester.path / "test_it.py").write_text(textwrap.dedent(text))
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner came with Python 3.11")
def test_a_runner_that_is_older_than_the_session(pytester: pytest.Pytester, upstream: Loopback) -> None:
    text = """
        import asyncio
        import httpx
        import pytest
        from timetracer_otel.context import get_current_session

        async def user(number):
            async with httpx.AsyncClient() as client:
                return (await client.get(f"URL/users/{number}")).json()["id"]

        @pytest.fixture(scope="module")
        def runner():
            with asyncio.Runner() as runner:
                runner.run(asyncio.sleep(0))
                yield runner

        @pytest.fixture
        def one(runner):
            yield runner.run(user(1))
            runner.run(user(2))

        @pytest.mark.timetracer
        def test_runner(runner, one):
            assert runner.run(user(3)) == 3
            with pytest.raises(ValueError, match="a coroutine was expected"):
                runner.run(3)

        def test_auto(runner, timetracer_auto):
            with timetracer_auto("mine.msgpack"):
                assert runner.run(user(4)) == 4
            runner.run(afterwards())

        async def afterwards():
            assert get_current_session() is None
    """
    if sys.version_info >= (3, 14):
        text = text.replace('ValueError, match="a coroutine was expected"', "TypeError")
    record_and_replay(pytester, upstream, text, [f"/users/{number}" for number in range(1, 5)])
