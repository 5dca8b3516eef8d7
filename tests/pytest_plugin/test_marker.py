"""The marker, the modes and the verdicts, in test runs of their own; what is said is compared word by word."""

from __future__ import annotations

import textwrap
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run
from timetracer_otel.cassette import read_cassette, save_cassette

pytest_plugins = ["pytester"]


def suite(pytester: pytest.Pytester, upstream: Loopback, text: str, name: str = "test_it.py") -> Path:
    path = pytester.path / name
    path.write_text(textwrap.dedent(text).replace("URL", upstream.url))
    return path


def files(pytester: pytest.Pytester) -> list[str]:
    return sorted(path.relative_to(pytester.path).as_posix() for path in pytester.path.rglob("*.msgpack"))


def errors(result: pytest.RunResult) -> list[str]:
    """The error of a failed test, as pytest shows it."""
    return [line[1:].strip() for line in result.outlines if line.startswith("E ")]


def test_a_marked_test_may_have_the_clock_of_its_recording(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(
        pytester,
        upstream,
        """
        import datetime

        import httpx
        import pytest

        @pytest.mark.timetracer(clock="recorded")
        def test_year():
            httpx.get("URL/users/1")
            assert datetime.date.today().year == YEAR

        def test_after():
            assert datetime.date.today().year > 2019
        """.replace("YEAR", str(datetime.now(timezone.utc).year)),
    )
    run(pytester).assert_outcomes(passed=2)
    path = pytester.path / "cassettes" / "test_it" / "test_year.msgpack"
    recorded = read_cassette(path)
    recorded.session.recorded_at = "2019-06-07T12:00:00+00:00"
    save_cassette(recorded, path)
    test = pytester.path / "test_it.py"
    test.write_text(test.read_text().replace(f"== {datetime.now(timezone.utc).year}", "== 2019"))
    upstream.stop()
    run(pytester).assert_outcomes(passed=2)


def test_a_marked_test_records_once_and_replays_for_ever(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(
        pytester,
        upstream,
        """
        import httpx
        import pytest

        @pytest.fixture
        def user():
            return httpx.get("URL/users/1").json()

        @pytest.mark.timetracer
        def test_user(user, timetracer_session):
            assert user["name"] == "Ada"
            assert httpx.get("URL/users/2").json()["id"] == 2
            print("recording" if timetracer_session.is_recording else "replaying")

        @pytest.mark.timetracer("named/there.msgpack")
        def test_named():
            httpx.get("URL/users/3")

        def test_by_fixture(timetracer_session):
            httpx.get("URL/users/4")

        class TestGroup:
            @pytest.mark.timetracer("of-class")
            @pytest.mark.parametrize("number", [5, 6])
            def test_many(self, number):
                assert httpx.get(f"URL/users/{number}").json()["id"] == number

        @pytest.mark.timetracer
        @pytest.mark.parametrize("text", ["a/b", "A", "a", "x" * 200, "ü:*?"])
        def test_texts(text):
            httpx.get("URL/users/7", params={"text": text})
        """,
    )
    first = run(pytester, "-s")
    first.assert_outcomes(passed=10)
    first.stdout.fnmatch_lines(["*recording*"])
    found = files(pytester)
    assert [name for name in found if "test_texts" not in name] == [
        "cassettes/named/there.msgpack",
        "cassettes/of-class[5].msgpack",
        "cassettes/of-class[6].msgpack",
        "cassettes/test_it/test_by_fixture.msgpack",
        "cassettes/test_it/test_user.msgpack",
    ]
    texts = [Path(name).name for name in found if "test_texts" in name]
    assert len({name.lower() for name in texts}) == 5
    assert all(len(name) < 130 and name.isascii() and not set(name) & set(':*?"<>|') for name in texts)
    assert "test_texts[a].msgpack" in texts
    hits = dict(upstream.hits)
    upstream.stop()
    for arguments in ((), ("-n", "2"), ("--timetracer-record-mode=none",)):
        again = run(pytester, "-s", *arguments)
        again.assert_outcomes(passed=10)
    assert files(pytester) == found
    assert dict(upstream.hits) == hits


def test_many_processes_record_and_leave_whole_files(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(
        pytester,
        upstream,
        """
        import httpx
        import pytest

        @pytest.mark.timetracer
        @pytest.mark.parametrize("number", range(20))
        def test_many(number):
            assert httpx.get(f"URL/users/{number}").json()["id"] == number
        """,
    )
    run(pytester, "-n", "2").assert_outcomes(passed=20)
    assert len(files(pytester)) == 20
    upstream.stop()
    run(pytester, "-n", "2", "--timetracer-record-mode=none", "--timetracer-orphans").assert_outcomes(passed=20)


UNDO = "undo the change in the call, or record again. To call for real, name the library in live_plugins."
SWALLOWS = """
    import httpx
    import pytest

    @pytest.mark.timetracer
    def test_swallows():
        httpx.get("URL/users/1")
        try:
            httpx.get("URL/users/WHICH")
        except Exception:
            pass
"""


def test_a_miss_that_the_app_swallows_fails_the_test(pytester: pytest.Pytester, upstream: Loopback) -> None:
    path = suite(pytester, upstream, SWALLOWS.replace("WHICH", "2"))
    run(pytester).assert_outcomes(passed=1)
    path.write_text(path.read_text().replace("/users/2", "/users/3"))
    failed = run(pytester)
    failed.assert_outcomes(failed=1)
    cassette = pytester.path / "cassettes" / "test_it" / "test_swallows.msgpack"
    assert errors(failed) == [
        f"timetracer_otel.exceptions.ReplayFailedError: Replay of {cassette}: 1 hit, 1 missed, 1 unused, 0 live",
        "missed:",
        f"No recorded call matches: httpx GET {upstream.url}/users/3",
        "nearest recorded calls:",
        f"#2 GET {upstream.url}/users/2",
        f"url: recorded '{upstream.url}/users/2', now '{upstream.url}/users/3'",
        f"what to do: {UNDO}",
        f"cassette: {cassette}",
        "unused:",
        f"#2 httpx GET {upstream.url}/users/2",
    ]
    assert upstream.hits == {"/users/1": 1, "/users/2": 1}


@pytest.mark.parametrize("fixture", ["timetracer_replay", "timetracer_auto"])
def test_a_miss_that_the_app_swallows_fails_a_block(
    pytester: pytest.Pytester, upstream: Loopback, fixture: str
) -> None:
    suite(
        pytester,
        upstream,
        f"""
        import httpx

        def test_it(timetracer_record, {fixture}):
            with timetracer_record("x.msgpack"):
                httpx.get("URL/users/1")
            with {fixture}("x.msgpack"):
                try:
                    httpx.get("URL/users/2")
                except Exception:
                    pass
        """,
    )
    failed = run(pytester)
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["E *ReplayFailedError: Replay of *x.msgpack: 0 hit, 1 missed, 1 unused, 0 live"])


@pytest.mark.parametrize("by", ["marker", "fixture"])
def test_the_account_of_a_replay_stands_in_the_report(pytester: pytest.Pytester, upstream: Loopback, by: str) -> None:
    body = """
        httpx.get("URL/users/1")
        if session.is_replaying:
            httpx.get("URL/users/2")
            assert len(calls) < 4, "mine"
    """
    text = f"""
    import httpx
    import pytest

    @pytest.mark.timetracer("x", match_on=["method"], allow_repeats=True)
    @pytest.mark.parametrize("calls", ["few", "many"])
    def test_marked(timetracer_session, calls):
        session = timetracer_session{body}
    def test_by_hand(timetracer_auto):
        calls = "many"
        with timetracer_auto("by-hand.msgpack") as session:{body.replace(chr(10), chr(10) + "    ")}
    """
    suite(pytester, upstream, text)
    run(pytester).assert_outcomes(passed=3)
    if by == "marker":
        shown = run(pytester, "-rP", "-k", "test_marked")
        shown.assert_outcomes(passed=1, failed=1, deselected=1)
        lines = [line for line in shown.outlines if line.startswith(("Replay of", "---"))]
        account = "2 hit, 0 missed, 0 unused, 0 live"
        folder = pytester.path / "cassettes"
        assert lines == [
            f"{' Captured timetracer call ':-^80}",
            f"Replay of {folder / 'x[many].msgpack'}: {account}",
            f"{' Captured timetracer call ':-^80}",
            f"Replay of {folder / 'x[few].msgpack'}: {account}",
        ]
    else:
        shown = run(pytester, "-k", "by_hand", "--timetracer-record-mode=none")
        shown.stdout.fnmatch_lines(["*Captured timetracer call*", "Replay of *by-hand.msgpack: 1 hit, 1 missed, *"])


def test_a_failing_test_fails_once(pytester: pytest.Pytester, upstream: Loopback) -> None:
    path = suite(pytester, upstream, SWALLOWS.replace("WHICH", "2"))
    run(pytester).assert_outcomes(passed=1)
    path.write_text(path.read_text().replace("/users/2", "/users/3").replace("pass", "assert False, 'mine'"))
    failed = run(pytester)
    failed.assert_outcomes(failed=1)
    assert "AssertionError: mine" in errors(failed)


def test_what_was_not_called_is_reported_and_fails_where_asked(pytester: pytest.Pytester, upstream: Loopback) -> None:
    path = suite(pytester, upstream, SWALLOWS.replace("WHICH", "2"))
    run(pytester).assert_outcomes(passed=1)
    path.write_text(path.read_text().replace('httpx.get("URL/users/2")'.replace("URL", upstream.url), "pass"))
    for arguments in ((), ("-n", "1")):
        reported = run(pytester, *arguments)
        reported.assert_outcomes(passed=1)
        reported.stdout.fnmatch_lines(
            [
                "*= timetracer =*",
                f"test_it.py::test_swallows: recorded, but not called: #2 httpx GET {upstream.url}/users/2",
            ]
        )
    path.write_text(path.read_text().replace(".timetracer", ".timetracer(fail_on_unused=True)"))
    failed = run(pytester)
    failed.assert_outcomes(failed=1)
    cassette = pytester.path / "cassettes" / "test_it" / "test_swallows.msgpack"
    assert errors(failed) == [
        f"timetracer_otel.exceptions.ReplayFailedError: Replay of {cassette}: 1 hit, 0 missed, 1 unused, 0 live",
        "unused:",
        f"#2 httpx GET {upstream.url}/users/2",
    ]


MODES = """
    import httpx
    import pytest

    @pytest.mark.timetracer("x", MARK)
    def test_it():
        for number in NUMBERS:
            assert httpx.get(f"URL/users/{number}").json()["id"] == number
"""


@pytest.mark.parametrize(
    ("by", "record_mode", "without_file", "with_file", "with_more"),
    [
        ("marker", "none", None, 0, None),
        ("marker", "once", 2, 0, None),
        ("option", "new_episodes", 2, 0, 1),
        ("environment", "all", 2, 2, 3),
    ],
)
def test_record_modes(
    pytester: pytest.Pytester,
    upstream: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    record_mode: str,
    without_file: int | None,
    with_file: int,
    with_more: int | None,
) -> None:
    """How many real calls each record mode makes; None: the test fails."""
    arguments = [f"--timetracer-record-mode={record_mode}"] if by == "option" else []
    mark = f"record_mode={record_mode!r}" if by == "marker" else ""
    if by == "environment":
        monkeypatch.setenv("TIMETRACER_RECORD_MODE", record_mode)

    def made(numbers: str, mark: str = mark) -> int | None:
        suite(pytester, upstream, MODES.replace("MARK", mark).replace("NUMBERS", numbers))
        upstream.hits.clear()
        outcomes = run(pytester, *arguments).parseoutcomes()
        return sum(upstream.hits.values()) if outcomes == {"passed": 1} else None

    assert made("[1, 2]") == without_file
    if without_file is None:
        arguments = ["--timetracer-record-mode=once"]
        assert made("[1, 2]") == 2
        arguments = [f"--timetracer-record-mode={record_mode}"] if by == "option" else []
    assert made("[1, 2]") == with_file
    assert made("[1, 3, 2]") == with_more
    if record_mode == "new_episodes":
        assert made("[2, 3, 1]") == 0


def test_the_old_name_of_the_record_mode_works_and_warns(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(pytester, upstream, MODES.replace("MARK", "mode='all'").replace("NUMBERS", "[1, 2]"))
    for processes in ((), ("-n", "1")):
        upstream.hits.clear()
        told = run(pytester, *processes)
        told.assert_outcomes(passed=1, warnings=1)
        told.stdout.fnmatch_lines(["*test_it.py:*: DeprecationWarning: timetracer(mode=...) is spelt record_mode=*"])
        assert sum(upstream.hits.values()) == 2


def test_the_new_names_win(pytester: pytest.Pytester, upstream: Loopback) -> None:
    mark = "mode='none', record_mode='all'"
    suite(pytester, upstream, MODES.replace("MARK", mark).replace("NUMBERS", "[1, 2]"))
    run(pytester).assert_outcomes(passed=1, warnings=1)
    run(pytester, "--timetracer-mode=all").assert_outcomes(passed=1, warnings=1)
    assert sum(upstream.hits.values()) == 4


def test_none_without_a_file_says_what_to_do(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(pytester, upstream, MODES.replace("MARK", "").replace("NUMBERS", "[1]"))
    failed = run(pytester, "--timetracer-record-mode=none")
    failed.assert_outcomes(errors=1)
    assert errors(failed)[-1] == (
        f"timetracer_otel.exceptions.CassetteNotFoundError: Cassette not found: {pytester.path}/cassettes/x.msgpack. "
        "Record it first, or correct TIMETRACER_CASSETTE (or the path argument)."
    )


def test_mock_live_and_match_on_of_the_marker(pytester: pytest.Pytester, upstream: Loopback) -> None:
    settings = {
        "live=['http']": 1,
        "mock=['redis']": 1,
        "match_on=['method', 'url']": 0,
        "ignore=['query:at']": 0,
        "mock='httpx', ignore=['query:at']": 0,
    }
    tests = [
        f"""
        @pytest.mark.timetracer("x{number}", {text})
        def test_{number}():
            httpx.get("URL/users/{number}", params={{"at": WHEN}})
        """
        for number, text in enumerate(settings)
    ]
    text = "import httpx\nimport pytest\n" + "".join(map(textwrap.dedent, tests))
    suite(pytester, upstream, text.replace("WHEN", "1"))
    run(pytester).assert_outcomes(passed=5)
    upstream.hits.clear()
    suite(pytester, upstream, text.replace("WHEN", "2"))
    run(pytester).assert_outcomes(passed=5)
    assert [upstream.hits[f"/users/{number}"] for number in range(5)] == list(settings.values())


def test_a_wrong_argument_of_the_marker_says_what_is_allowed(pytester: pytest.Pytester, upstream: Loopback) -> None:
    wrong = {
        "live=['htpx']": "nobody knows a plugin or group called 'htpx'; did you mean 'httpx'?",
        "mod='once'": "mod: no such setting. Known: ",
        "match_on=['verb']": "match_on: 'verb' is not allowed. Allowed: method, url, query, body, headers, ",
        "ignore=['at']": "ignore: 'at' is not allowed. Allowed: query:<name>, header:<name>, body:<JSON path from $>",
        "record_mode='twice'": "record_mode: 'twice' is not allowed. Allowed: none, once, new_episodes, all, ",
        "'x', 'y'": "timetracer: one positional argument at most, the name of the cassette.",
    }
    tests = [f"@pytest.mark.timetracer({text})\ndef test_{number}(): pass\n" for number, text in enumerate(wrong)]
    suite(pytester, upstream, "import pytest\n" + "".join(tests))
    failed = run(pytester)
    failed.assert_outcomes(errors=len(wrong))
    for says in wrong.values():
        assert f"ConfigurationError: {says}" in failed.stdout.str().replace("plugins=: ", "")


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_async_tests(pytester: pytest.Pytester, upstream: Loopback, runner: str) -> None:
    suite(
        pytester,
        upstream,
        f"""
        import asyncio
        import httpx
        import pytest
        from timetracer_otel.context import get_current_session

        @pytest.mark.timetracer
        @pytest.mark.{runner}
        async def test_users(timetracer_session):
            assert get_current_session() is timetracer_session
            async with httpx.AsyncClient() as client:
                answers = [await client.get(f"URL/users/{{number}}") for number in range(3)]
            assert [answer.json()["id"] for answer in answers] == [0, 1, 2]

        @pytest.mark.{runner}
        async def test_another():
            assert get_current_session() is None

        @pytest.mark.timetracer
        @pytest.mark.{runner}
        async def test_swallowed(request):
            async with httpx.AsyncClient() as client:
                try:
                    await client.get("URL/users/" + request.config.getoption("-k"))
                except Exception:
                    pass
        """,
    )
    passed = 3 if runner == "asyncio" else 6  # anyio runs each under asyncio and trio
    run(pytester, "-k", "test", runner=runner).assert_outcomes(passed=passed)
    upstream.stop()
    run(pytester, "-k", "test", runner=runner).assert_outcomes(passed=passed)
    failed = run(pytester, "-k", "swallowed", runner=runner)
    failed.assert_outcomes(failed=passed // 3, deselected=passed - passed // 3)


FIXTURES = """
    import httpx
    import pytest
    import PLUGIN
    from timetracer_otel.context import get_current_session

    ORDER = []

    async def user(number):
        async with httpx.AsyncClient() as client:
            return (await client.get(f"URL/users/{number}")).json()["id"]

    @pytest.fixture(scope="class")
    ASYNCdef wide():
        assert get_current_session() is None
        yield "wide"
        assert get_current_session() is None

    @PLUGIN.fixture
    async def one(wide):
        return await user(1)

    @PLUGIN.fixture
    async def two(one):
        yield await user(2)
        ORDER.append(await user(3))

    @pytest.fixture
    def three():
        yield httpx.get("URL/users/4").json()["id"]
        httpx.get("URL/users/5")

    @pytest.mark.timetracer
    @pytest.mark.RUNNER
    async def test_function(three, two, timetracer_session):
        assert get_current_session() is timetracer_session
        assert [two, three, await user(6)] == [2, 4, 6]

    class TestGroup:
        seven = 7

        @PLUGIN.fixture
        async def own(self, one):
            self.mine = one
            return await user(self.seven)

        @PLUGIN.fixture
        async def stepped(self, own):
            yield own, self.mine
            assert await user(8) == 8

        @pytest.mark.timetracer
        @pytest.mark.RUNNER
        @pytest.mark.parametrize("number", [9, 10])
        async def test_method(self, stepped, number):
            assert stepped == (7, 1)
            assert self.mine == 1
            assert await user(number) == number

    @pytest.mark.RUNNER
    async def test_without(one):
        assert get_current_session() is None
"""


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_async_fixtures(pytester: pytest.Pytester, upstream: Loopback, runner: str) -> None:
    # With pytest-asyncio, an async fixture of a wider scope needs a loop of that scope.
    plugin, asynchronous = ("pytest_asyncio", "") if runner == "asyncio" else ("pytest", "async ")
    text = FIXTURES.replace("RUNNER", runner).replace("PLUGIN", plugin).replace("ASYNC", asynchronous)
    suite(pytester, upstream, text)
    tests = 3 if runner == "asyncio" else 6  # anyio runs each under asyncio and trio
    run(pytester, runner=runner).assert_outcomes(passed=tests * 4 // 3)
    assert len(files(pytester)) == tests
    assert sorted(upstream.hits) == sorted(f"/users/{number}" for number in range(1, 11))
    upstream.stop()
    chosen = ("-k", "test_function or test_method", "--timetracer-record-mode=none", "-n", "2")
    again = run(pytester, *chosen, runner=runner)
    again.assert_outcomes(passed=tests)
    assert "recorded, but not called" not in again.stdout.str()


def test_async_fixtures_that_another_plugin_wraps_for_good(pytester: pytest.Pytester, upstream: Loopback) -> None:
    """As aiohttp's plugin does, which gives its own wrapper one more argument."""
    suite(
        pytester,
        upstream,
        """
        import httpx
        import pytest
        from timetracer_otel.context import get_current_session

        async def user(number):
            async with httpx.AsyncClient() as client:
                return (await client.get(f"URL/users/{number}")).json()["id"]

        @pytest.fixture
        async def one(loop):
            return get_current_session(), await user(1)

        @pytest.fixture
        async def two(one):
            yield one
            assert get_current_session() is one[0]
            assert await user(2) == 2

        @pytest.mark.timetracer
        @pytest.mark.parametrize("number", [1, 2])
        async def test_function(two, timetracer_session, number):
            assert two == (timetracer_session, 1)

        async def test_without(two):
            assert two == (None, 1)

        @pytest.mark.timetracer
        async def test_last(two, timetracer_session):
            assert two == (timetracer_session, 1)
        """,
    )
    run(pytester, runner="aiohttp").assert_outcomes(passed=4)
    upstream.stop()
    run(pytester, "-k", "function or last", runner="aiohttp").assert_outcomes(passed=3, deselected=1)


def test_orphans_are_listed_and_fail_a_whole_run(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(pytester, upstream, SWALLOWS.replace("WHICH", "2") + "\n    def test_other(): pass\n")
    run(pytester, "--timetracer-orphans").assert_outcomes(passed=2)
    cassettes = pytester.path / "cassettes"
    (cassettes / "test_it" / "test_swallows.msgpack").rename(cassettes / "test_it" / "test_gone.msgpack")
    for arguments in ((), ("-n", "1")):
        failed = run(pytester, "--timetracer-orphans", *arguments)
        assert failed.ret == pytest.ExitCode.TESTS_FAILED
        failed.assert_outcomes(passed=2)
        failed.stdout.fnmatch_lines(["*= timetracer =*", "no test used cassettes/test_it/test_gone.msgpack"])
    part = run(pytester, "--timetracer-orphans", "-k", "other")
    assert part.ret == pytest.ExitCode.OK
    part.stdout.fnmatch_lines(
        [
            "no test used cassettes/test_it/test_gone.msgpack",
            "no test used cassettes/test_it/test_swallows.msgpack",
            "not every test ran: those that did not may use some of these cassettes",
        ]
    )
    assert "no test used" not in run(pytester).stdout.str()


def test_block_network_of_the_marker(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(
        pytester,
        upstream,
        """
        import socket
        import httpx
        import pytest

        @pytest.mark.timetracer(block_network=True)
        def test_it():
            httpx.get("URL/users/1")
            try:
                socket.create_connection(("127.0.0.1", 9))
            except Exception:
                pass
        """,
    )
    for text in (
        "Blocked: a connection of socket to 127.0.0.1:9, which no plugin captures",
        "Replay of *: 1 hit, 0 missed, 0 unused, 0 live, 1 blocked",
    ):
        failed = run(pytester)
        failed.stdout.fnmatch_lines([f"*{text}*"])
        assert failed.ret != 0
    assert upstream.hits == {"/users/1": 1}


def test_the_marker_and_the_options_are_documented(pytester: pytest.Pytester) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.timetracer(name, *, record_mode, mock, live, match_on, *"]
    )
    run(pytester, "--help").stdout.fnmatch_lines(
        ["*--timetracer-record-mode={none,once,new_episodes,all,rewrite}*", "*--timetracer-orphans*"]
    )


def test_on_a_ci_nothing_is_recorded_unless_somebody_says_so(
    pytester: pytest.Pytester, upstream: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
        import httpx
        import pytest

        @pytest.mark.timetracer
        def test_marked():
            httpx.get("URL/users/1")

        def test_auto(timetracer_auto):
            with timetracer_auto("auto.msgpack"):
                httpx.get("URL/users/2")

        @pytest.mark.timetracer(record_mode="once")
        def test_once():
            httpx.get("URL/users/3")
    """
    suite(pytester, upstream, text)
    monkeypatch.setenv("CI", "true")
    first = run(pytester)
    assert first.parseoutcomes() == {"passed": 1, "failed": 1, "errors": 1}
    said = first.stdout.str()
    assert all(
        f"CassetteNotFoundError: Cassette not found: {pytester.path}/cassettes/{name}" in said
        for name in ("auto", "test_it/test_marked")
    )
    assert upstream.hits == {"/users/3": 1}
    run(pytester, "--timetracer-record-mode=once").assert_outcomes(passed=3)
    assert upstream.hits == {"/users/1": 1, "/users/2": 1, "/users/3": 1}
    upstream.stop()
    run(pytester).assert_outcomes(passed=3)


def test_a_marked_test_warns_of_a_cassette_that_is_too_old(pytester: pytest.Pytester, upstream: Loopback) -> None:
    suite(
        pytester,
        upstream,
        """
        import httpx
        import pytest

        @pytest.mark.timetracer(max_age="30d")
        def test_users():
            assert httpx.get("URL/users/1").json()["name"] == "Ada"

        @pytest.mark.timetracer(max_age="30d:fail")
        def test_strictly():
            httpx.get("URL/users/1")
        """,
    )
    run(pytester).assert_outcomes(passed=2)
    for path in (pytester.path / "cassettes" / "test_it").iterdir():
        recorded = read_cassette(path)
        recorded.session.recorded_at = "2019-06-07T12:00:00+00:00"
        save_cassette(recorded, path)
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*UserWarning: *test_users.msgpack was recorded * days ago, and TIMETRACER_MAX_AGE is 30d.*"]
    )
    assert any("CassetteTooOldError: " in line for line in errors(result))


@pytest.mark.parametrize("mode", ["all", "rewrite"])
def test_what_a_new_recording_changed_stands_in_the_summary(
    pytester: pytest.Pytester, upstream: Loopback, mode: str
) -> None:
    test = suite(
        pytester,
        upstream,
        """
        import httpx

        def test_echo(timetracer_session):
            httpx.get("URL/users/1")
            httpx.post("URL/echo", json={"amount": 1})
        """,
    )
    run(pytester).assert_outcomes(passed=1)
    test.write_text(test.read_text().replace('"amount": 1', '"amount": 2'))
    result = run(pytester, f"--timetracer-record-mode={mode}")
    result.assert_outcomes(passed=1)
    at = next(
        at for at, line in enumerate(result.outlines) if "was recorded anew: 1 call of 2 stays as it was" in line
    )
    assert [line.replace(upstream.url, "URL") for line in result.outlines[at + 1 : at + 8]] == [
        "",
        "changed",
        "  #2 httpx POST URL/echo",
        "      request body $.amount: 1 -> 2",
        "      body $.amount: 1 -> 2",
        "",
        "1 changed",
    ]
