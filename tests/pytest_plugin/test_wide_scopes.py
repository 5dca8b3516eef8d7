"""Cassettes that tests share, and fixtures of wider scopes that they cover; in test runs of their own."""

from __future__ import annotations

import textwrap

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run
from timetracer_otel.cassette import read_cassette

pytest_plugins = ["pytester"]


def write(pytester: pytest.Pytester, upstream: Loopback, name: str, text: str) -> None:
    path = pytester.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).replace("URL", upstream.url))


def cassettes(pytester: pytest.Pytester) -> list[str]:
    return sorted(path.relative_to(pytester.path).as_posix() for path in pytester.path.rglob("*.msgpack"))


SHARED = """
    import httpx
    import pytest
    from timetracer_otel.context import get_current_session

    pytestmark = pytest.mark.timetracer(scope="SCOPE")

    def user(number):
        return httpx.get(f"URL/users/{number}").json()["id"]

    @pytest.fixture(scope="SCOPE")
    def token():
        yield user(1)
        assert user(2) == 2

    @pytest.fixture(scope="class")
    def narrower():
        yield user(3)
        assert user(4) == 4

    @pytest.fixture
    def own():
        yield user(5)
        assert user(6) == 6

    class TestAll:
        def test_first(self, token, narrower, own, timetracer_session):
            assert (token, narrower, own, user(7)) == (1, 3, 5, 7)
            assert get_current_session() is timetracer_session

        def test_second(self, token, own):
            assert (token, own, user(7)) == (1, 5, 7)
"""
PATHS = {
    "class": "cassettes/test_shared/TestAll.msgpack",
    "module": "cassettes/test_shared.msgpack",
    "package": "cassettes/package.msgpack",
    "session": "cassettes/session.msgpack",
}
MADE = {"/users/1": 1, "/users/2": 1, "/users/3": 1, "/users/4": 1, "/users/5": 2, "/users/6": 2, "/users/7": 2}


@pytest.mark.parametrize("scope", PATHS)
def test_tests_and_fixtures_of_a_scope_share_a_cassette(
    pytester: pytest.Pytester, upstream: Loopback, scope: str
) -> None:
    write(pytester, upstream, "test_shared.py", SHARED.replace("SCOPE", scope))
    run(pytester).assert_outcomes(passed=2)
    assert cassettes(pytester) == [PATHS[scope]]
    assert upstream.hits == MADE
    assert len(read_cassette(pytester.path / PATHS[scope]).events) == 10
    upstream.stop()
    for arguments in ((), ("-n", "2")):
        again = run(pytester, "--timetracer-record-mode=none", *arguments)
        again.assert_outcomes(passed=2)
        assert "recorded, but not called" not in again.stdout.str()


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_async_tests_share_a_cassette(pytester: pytest.Pytester, upstream: Loopback, runner: str) -> None:
    fixture, mark = {
        "asyncio": ("pytest_asyncio.fixture(scope='module', loop_scope='module')", "asyncio(loop_scope='module')"),
        "anyio": ("pytest.fixture(scope='module')", "anyio"),
    }[runner]
    write(
        pytester,
        upstream,
        "test_shared.py",
        f"""
        import httpx
        import pytest
        import {"pytest_asyncio" if runner == "asyncio" else "anyio"}
        from timetracer_otel.context import get_current_session

        pytestmark = [pytest.mark.timetracer(scope="module"), pytest.mark.{mark}]

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        async def user(number):
            async with httpx.AsyncClient() as client:
                return (await client.get(f"URL/users/{{number}}")).json()["id"]

        @{fixture}
        async def token():
            yield await user(1)
            assert await user(2) == 2

        async def test_first(token, timetracer_session):
            assert (token, await user(3)) == (1, 3)
            assert get_current_session() is timetracer_session

        async def test_second(token):
            assert (token, await user(4)) == (1, 4)
        """,
    )
    run(pytester, runner=runner).assert_outcomes(passed=2)
    assert cassettes(pytester) == ["cassettes/test_shared.msgpack"]
    upstream.stop()
    again = run(pytester, "--timetracer-record-mode=none", runner=runner)
    again.assert_outcomes(passed=2)
    assert "recorded, but not called" not in again.stdout.str()


MIXED = """
    import httpx
    import pytest
    from timetracer_otel.context import get_current_session

    shared = pytest.mark.timetracer("together", scope="module")

    @shared
    def test_first():
        httpx.get("URL/users/1")

    def test_without():
        assert get_current_session() is None

    @pytest.mark.timetracer
    def test_alone(timetracer_session):
        assert get_current_session() is timetracer_session
        httpx.get("URL/users/2")

    @shared
    def test_last():
        httpx.get("URL/users/3")
"""


def test_the_session_is_current_in_no_other_test(pytester: pytest.Pytester, upstream: Loopback) -> None:
    write(pytester, upstream, "test_mixed.py", MIXED)
    run(pytester).assert_outcomes(passed=4)
    assert cassettes(pytester) == ["cassettes/test_mixed/test_alone.msgpack", "cassettes/together.msgpack"]
    upstream.stop()
    run(pytester, "--timetracer-orphans", "--timetracer-record-mode=none").assert_outcomes(passed=4)


def test_each_test_answers_for_its_own_misses(pytester: pytest.Pytester, upstream: Loopback) -> None:
    text = """
    import httpx
    import pytest

    pytestmark = pytest.mark.timetracer(scope="module")

    def quietly(number):
        try:
            httpx.get(f"URL/users/{number}")
        except Exception:
            pass

    @pytest.fixture(scope="module")
    def late():
        yield
        quietly(LATE)

    def test_first(late):
        quietly(1)

    def test_second():
        quietly(SECOND)

    def test_third():
        quietly(3)
    """
    write(pytester, upstream, "test_it.py", text.replace("SECOND", "2").replace("LATE", "4"))
    run(pytester).assert_outcomes(passed=3)
    write(pytester, upstream, "test_it.py", text.replace("SECOND", "8").replace("LATE", "4"))
    failed = run(pytester)
    failed.assert_outcomes(passed=2, failed=1)
    failed.stdout.fnmatch_lines(
        ["E *No recorded call matches: httpx GET */users/8", "FAILED test_it.py::test_second*"]
    )
    write(pytester, upstream, "test_it.py", text.replace("SECOND", "2").replace("LATE", "9"))
    torn = run(pytester)
    torn.assert_outcomes(passed=3, errors=1)
    torn.stdout.fnmatch_lines(["E *No recorded call matches: httpx GET */users/9"])
    write(pytester, upstream, "test_it.py", text.replace("quietly(SECOND)", "pass").replace("LATE", "4"))
    for arguments in ((), ("-n", "2")):
        unused = run(pytester, *arguments)
        unused.assert_outcomes(passed=3)
        unused.stdout.fnmatch_lines(
            [f"cassettes/test_it.msgpack: recorded, but not called: #2 httpx GET {upstream.url}/users/2"]
        )
    assert "recorded, but not called" not in run(pytester, "-k", "first").stdout.str()
    write(
        pytester,
        upstream,
        "test_it.py",
        text.replace("quietly(SECOND)", "pass")
        .replace("LATE", "4")
        .replace('"module")', '"module", fail_on_unused=True)', 1),
    )
    strict = run(pytester)
    strict.assert_outcomes(passed=3, errors=1)
    strict.stdout.fnmatch_lines(["E *ReplayFailedError: Replay of *: 3 hit, 0 missed, 1 unused, 0 live"])


def test_what_cannot_be_shared_says_why(pytester: pytest.Pytester, upstream: Loopback) -> None:
    write(
        pytester,
        upstream,
        "test_it.py",
        """
        import httpx
        import pytest

        @pytest.mark.timetracer("one", scope="module")
        def test_one():
            httpx.get("URL/users/1")

        @pytest.mark.timetracer("two", scope="module")
        def test_two():
            pass

        @pytest.mark.timetracer(scope="modul")
        def test_three():
            pass
        """,
    )
    wrong = run(pytester)
    wrong.assert_outcomes(passed=1, errors=2)
    assert "another marker of scope module has begun one.msgpack already" in wrong.stdout.str()
    assert "scope='modul' is not allowed. Allowed: function, session, package, module, class." in wrong.stdout.str()


def test_several_processes_do_not_record_one_cassette(pytester: pytest.Pytester, upstream: Loopback) -> None:
    write(pytester, upstream, "test_shared.py", SHARED.replace("SCOPE", "module"))
    refused = run(pytester, "-n", "2")
    refused.assert_outcomes(errors=2)
    assert "Record it without -n or with --dist loadfile; it is replayed in any number of processes." in (
        refused.stdout.str()
    )
    assert not upstream.hits
    run(pytester, "-n", "2", "--dist", "loadfile").assert_outcomes(passed=2)
    assert upstream.hits == MADE


def test_the_folder_of_the_ini_option_and_of_a_fixture(pytester: pytest.Pytester, upstream: Loopback) -> None:
    pytester.makeini("[pytest]\ntimetracer_cassette_dir = kept")
    write(pytester, upstream, "sub/test_shared.py", SHARED.replace("SCOPE", "module"))
    run(pytester).assert_outcomes(passed=2)
    assert cassettes(pytester) == ["kept/sub/test_shared.msgpack"]
    pytester.makeini("[pytest]")
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def timetracer_cassette_dir(pytestconfig):
            return pytestconfig.rootpath / "mine"
        """
    )
    run(pytester).assert_outcomes(passed=2)
    assert cassettes(pytester) == ["kept/sub/test_shared.msgpack", "mine/test_shared.msgpack"]
