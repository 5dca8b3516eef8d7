"""What takes a whole run to decide: which tests are marked, whose a cassette is, and which is nobody's."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback

pytest_plugins = ["pytester"]


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio", *arguments)


def suite(pytester: pytest.Pytester, upstream: Loopback, text: str, name: str = "test_it.py") -> Path:
    path = pytester.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).replace("URL", upstream.url))
    return path


@pytest.mark.parametrize("hook", ["", "(trylast=True)"])
def test_a_suite_may_mark_its_tests_when_they_are_collected(
    pytester: pytest.Pytester, upstream: Loopback, hook: str
) -> None:
    pytester.makeconftest(
        f"""
        import pytest

        @pytest.hookimpl{hook or "()"}
        def pytest_collection_modifyitems(items):
            for item in items:
                if "marked" in item.name:
                    item.add_marker(pytest.mark.timetracer)
        """
    )
    suite(
        pytester,
        upstream,
        """
        import httpx
        import pytest
        from timetracer_otel.context import get_current_session

        def test_marked():
            httpx.get("URL/users/1")

        @pytest.mark.parametrize("text", ["a", "marked", pytest.param("b", marks=pytest.mark.timetracer)])
        def test_some(text):
            assert (get_current_session() is None) == (text == "a")
        """,
    )
    run(pytester).assert_outcomes(passed=4)
    upstream.stop()
    for arguments in ((), ("-n", "1")):
        run(pytester, "--timetracer-mode=none", *arguments).assert_outcomes(passed=4)
