"""What pytest shows of a test that fails by a call without an answer; in test runs of their own."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run

pytest_plugins = ["pytester"]

SUITE = """
    import httpx
    import pytest

    def post(number):
        return httpx.post("URL/items", json={"kind": "tea", "ref": number})

    @pytest.fixture
    def asked():
        return post(REF)

    @pytest.mark.timetracer
    def test_raised():
        post(REF)

    @pytest.mark.timetracer
    def test_swallowed():
        try:
            post(REF)
        except Exception:
            pass

    @pytest.mark.timetracer
    def test_wrapped():
        try:
            post(REF)
        except Exception as error:
            raise LookupError("mine") from error

    @pytest.mark.timetracer
    def test_in_a_fixture(asked):
        pass

    def test_in_a_block(timetracer_auto):
        with timetracer_auto("block.msgpack"):
            post(REF)

    def test_swallowed_in_a_block(timetracer_auto):
        with timetracer_auto("swallowed.msgpack"):
            try:
                post(REF)
            except Exception:
                pass

    @pytest.mark.timetracer
    def test_that_fails_by_itself():
        try:
            post(REF)
        except Exception:
            assert False, "mine"

    async def fetch():
        async with httpx.AsyncClient() as client:
            return await client.post("URL/items", json={"kind": "tea", "ref": REF})

    @pytest.mark.timetracer
    @pytest.mark.asyncio
    async def test_async():
        await fetch()

    @pytest.mark.timetracer
    @pytest.mark.asyncio
    async def test_swallowed_async():
        try:
            await fetch()
        except Exception:
            pass

    @pytest.mark.timetracer(scope="module")
    def test_shared():
        post(REF)
"""
TESTS = 10
RAISED = """\
    @pytest.mark.timetracer
    def test_raised():
>       post(2)

test_it.py:LINE: |
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ |

number = 2

    def post(number):
>       return httpx.post("URL/items", json={"kind": "tea", "ref": number})
E       timetracer_otel.exceptions.ReplayMismatchError: No recorded call matches: httpx POST URL/items
E         nearest recorded calls:
E           #1 POST URL/items
E               body.ref: recorded 1, now 2
E         what to do: undo the change in the call, or record again. To call for real, name the library in LIVE
E         to leave out of the comparison what changes from run to run:
E           ignore=["POST /items: body:$.ref"]
E         cassette: FOLDER/cassettes/test_it/test_raised.msgpack

test_it.py:LINE: ReplayMismatchError
--------------------------- Captured timetracer call ---------------------------
Replay of FOLDER/cassettes/test_it/test_raised.msgpack: 0 hit, 1 missed, 1 unused, 0 live
unused:
  #1 httpx POST URL/items
"""


def sections(result: pytest.RunResult) -> dict[str, str]:
    """The report of each test that failed, by its name."""
    found: dict[str, list[str]] = {}
    name = None
    for line in result.outlines:
        if line.startswith(("___", "===")):
            name = line.strip("_ ").rpartition(" ")[2] if line.startswith("___") else None
        elif name is not None:
            found.setdefault(name, []).append(line.replace(" " * 40, " "))
    return {name: "\n".join(lines) for name, lines in found.items()}


def test_a_miss_is_told_once_at_the_line_of_its_call(pytester: pytest.Pytester, upstream: Loopback) -> None:
    path = pytester.path / "test_it.py"
    text = textwrap.dedent(SUITE).replace("URL", upstream.url)
    path.write_text(text.replace("REF", "1"))
    run(pytester, runner="asyncio").assert_outcomes(passed=TESTS)
    path.write_text(text.replace("REF", "2"))
    upstream.stop()
    for arguments in ((), ("-n", "2")):
        failed = run(pytester, *arguments, runner="asyncio")
        failed.assert_outcomes(failed=TESTS - 1, errors=1)
        told = sections(failed)
        assert len(told) == TESTS
        for name, section in told.items():
            assert section.count("No recorded call matches: ") == 1, name
            assert section.count("ignore=[") == 1, name
            assert (
                section.index("No recorded")
                < section.index("#1 POST")
                < section.index("body.ref: ")
                < (section.index("ignore=["))
            ), name
            # Where the call was made, and not what we or the library did with it.
            assert "site-packages" not in section.replace("asyncio", ""), name
            assert ">       return httpx.post(" in section or "client.post(" in section or name == BY_ITSELF, name
        # All tests advise the same rule, which each of them says.
        assert "of all tests" not in failed.stdout.str()
    expected = RAISED.replace("URL", upstream.url).replace("FOLDER", str(pytester.path)).replace("|", "")
    assert without_marks(told["test_raised"]) == expected.replace("LIVE", "live_plugins.").strip()


def without_marks(section: str) -> str:
    """A section without numbers of lines, the marks that newer Pythons give, and the name of the worker."""
    lines = [re.sub(r"test_it\.py:\d+", "test_it.py:LINE", line) for line in section.splitlines()]
    kept = [line for line in lines if not line.startswith("[gw") and (line.strip(" ^") or not line)]
    return "\n".join(kept).strip()


BY_ITSELF = "test_that_fails_by_itself"


def test_with_full_trace_everything_is_shown(pytester: pytest.Pytester, upstream: Loopback) -> None:
    path = pytester.path / "test_it.py"
    text = textwrap.dedent(SUITE).replace("URL", upstream.url)
    path.write_text(text.replace("REF", "1"))
    run(pytester, "-k", "raised").assert_outcomes(passed=1, deselected=TESTS - 1)
    path.write_text(text.replace("REF", "2"))
    shown = run(pytester, "-k", "raised", "--full-trace").stdout.str()
    assert "httpx/_client.py" in shown
    assert "timetracer_otel/session/replay.py" in shown


def test_rules_of_several_misses_are_gathered(pytester: pytest.Pytester, upstream: Loopback) -> None:
    text = """
        import httpx
        import pytest

        @pytest.mark.timetracer
        @pytest.mark.parametrize("path", ["items", "token"])
        def test_it(path):
            httpx.post(f"URL/{path}", json={"kind": "tea", "ref": REF})
    """
    path = pytester.path / "test_it.py"
    path.write_text(textwrap.dedent(text).replace("URL", upstream.url).replace("REF", "1"))
    run(pytester).assert_outcomes(passed=2)
    path.write_text(path.read_text().replace('"ref": 1', '"ref": 2'))
    for arguments in ((), ("-n", "2")):
        failed = run(pytester, *arguments)
        failed.assert_outcomes(failed=2)
        rules = 'ignore=["POST /items: body:$.ref", "POST /token: body:$.ref"]'
        lines = [line for line in failed.outlines if "of all tests" in line]
        assert lines in (
            [f"to leave out the values that change from run to run, of all tests: {rules}"],
            [f"to leave out the values that change from run to run, of all tests: {_swapped(rules)}"],
        )


def _swapped(rules: str) -> str:
    return 'ignore=["POST /token: body:$.ref", "POST /items: body:$.ref"]' if rules else ""
