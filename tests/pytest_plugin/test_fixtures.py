"""The four fixtures, in test runs of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import forks
from tests.loopback import Loopback
from tests.pytest_plugin._suites import run

pytest_plugins = ["pytester"]

TEST = """
    import httpx

    def test_users(timetracer_auto):
        with timetracer_auto("users.msgpack") as session:
            answer = httpx.get("{url}/users/7")
        assert answer.json() == {{"id": 7, "name": "Ada"}}
        print("recording" if session.is_recording else "replaying")
"""


def test_auto_records_once_and_replays_for_ever(
    pytester: pytest.Pytester, upstream: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As users have it: pytest finds our plugin by its entry point, among all others.
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    path = pytester.mkpydir("suite") / "test_it.py"
    path.write_text("\n".join(line[4:] for line in TEST.format(url=upstream.url).splitlines()))

    first = pytester.runpytest_subprocess("-s")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*recording*"])
    assert (path.parent / "cassettes" / "users.msgpack").is_file()
    assert upstream.hits == {"/users/7": 1}
    upstream.stop()

    again = pytester.runpytest_subprocess("-s")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for replayed in (again, run(pytester, "-s")):
        replayed.assert_outcomes(passed=1)
        replayed.stdout.fnmatch_lines(["*replaying*"])


def test_a_call_that_is_not_in_the_cassette_fails_the_test(pytester: pytest.Pytester, upstream: Loopback) -> None:
    pytester.makepyfile(TEST.format(url=upstream.url))
    run(pytester).assert_outcomes(passed=1)
    pytester.makepyfile(TEST.format(url=upstream.url).replace("users/7", "users/8"))
    failed = run(pytester)
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*ReplayMismatchError*"])
    assert upstream.hits == {"/users/7": 1}


def test_record_and_replay_by_name(pytester: pytest.Pytester, upstream: Loopback) -> None:
    pytester.makepyfile(
        f"""
        from pathlib import Path
        import httpx
        import pytest
        import timetracer_otel

        def test_both(timetracer_record, timetracer_replay, timetracer_cassette_dir):
            assert timetracer_cassette_dir == Path(__file__).parent / "cassettes"
            with timetracer_record("a/b.msgpack") as recorded:
                live = httpx.get("{upstream.url}/items")
            assert len(recorded.events) == 1
            assert (timetracer_cassette_dir / "a" / "b.msgpack").is_file()
            with timetracer_replay("a/b.msgpack", strict=True, plugins=["http"]) as replayed:
                assert httpx.get("{upstream.url}/items").json() == live.json()
            assert replayed.get_unconsumed_events() == []
            with timetracer_replay(timetracer_cassette_dir / "a" / "b.msgpack"):
                assert httpx.get("{upstream.url}/items").content == live.content

        def test_named_by_time(timetracer_record, timetracer_cassette_dir):
            with timetracer_record(plugins=["httpx"]):
                httpx.get("{upstream.url}/items")
            assert len(list(timetracer_cassette_dir.rglob("process_*.msgpack"))) == 1

        def test_temporary(timetracer_record, timetracer_cassette_dir, tmp_path):
            with timetracer_record("x.msgpack", use_tmp=True):
                httpx.get("{upstream.url}/items")
            assert (tmp_path / "x.msgpack").is_file()
            assert not (timetracer_cassette_dir / "x.msgpack").exists()

        def test_missing(timetracer_replay):
            with pytest.raises(timetracer_otel.CassetteNotFoundError, match="nowhere.msgpack"):
                with timetracer_replay("nowhere.msgpack"):
                    pass

        @pytest.mark.parametrize("fixture", ["timetracer_record", "timetracer_replay", "timetracer_auto"])
        def test_unknown_plugin(fixture, request):
            with pytest.raises(timetracer_otel.ConfigurationError, match="htpx.*did you mean 'httpx'"):
                with request.getfixturevalue(fixture)("a/b.msgpack", plugins=["htpx"]):
                    pass
        """
    )
    run(pytester).assert_outcomes(passed=7)


@pytest.mark.parametrize("default", [None, "false"])
def test_the_fixtures_are_as_strict_as_the_settings_say(
    pytester: pytest.Pytester, upstream: Loopback, monkeypatch: pytest.MonkeyPatch, default: str | None
) -> None:
    """A JSON body of equal content in other bytes is a miss, unless the setting or the argument says otherwise."""
    if default is not None:
        monkeypatch.setenv("TIMETRACER_STRICT_REPLAY", default)
    pytester.makepyfile(
        f"""
        import httpx
        import pytest
        import timetracer_otel

        def post(body):
            return httpx.post("{upstream.url}/items", content=body, headers={{"content-type": "application/json"}})

        @pytest.fixture(autouse=True)
        def recorded(timetracer_record):
            with timetracer_record("x.msgpack"):
                post('{{"a": 1, "b": 2}}')

        def replayed(scope):
            try:
                with scope:
                    post('{{"b":2,"a":1}}')
            except timetracer_otel.ReplayMismatchError:
                return False
            return True

        def test_as_the_settings_say(timetracer_replay, timetracer_auto):
            assert replayed(timetracer_replay("x.msgpack")) is {default == "false"}
            assert replayed(timetracer_auto("x.msgpack")) is {default == "false"}

        def test_as_the_argument_says(timetracer_replay):
            assert replayed(timetracer_replay("x.msgpack", strict=False)) is True
            assert replayed(timetracer_replay("x.msgpack", strict=True)) is False
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_plugins_that_are_not_named_stay_live(pytester: pytest.Pytester, upstream: Loopback) -> None:
    pytester.makepyfile(
        f"""
        import httpx

        def test_only_redis(timetracer_record, timetracer_replay):
            with timetracer_record("x.msgpack", plugins=["redis"]) as recorded:
                httpx.get("{upstream.url}/items")
            assert recorded.events == []
            with timetracer_replay("x.msgpack", plugins=["redis"]):
                assert httpx.get("{upstream.url}/items").status_code == 200
        """
    )
    run(pytester).assert_outcomes(passed=1)
    assert upstream.hits == {"/items": 2}


@pytest.mark.parametrize("absolute", [False, True])
def test_the_ini_option_names_the_folder(pytester: pytest.Pytester, upstream: Loopback, absolute: bool) -> None:
    folder = pytester.path / "kept" / "here"
    pytester.makeini(f"[pytest]\ntimetracer_cassette_dir = {folder if absolute else 'kept/here'}")
    pytester.mkpydir("suite").joinpath("test_it.py").write_text(
        "\n".join(line[4:] for line in TEST.format(url=upstream.url).splitlines())
    )
    run(pytester).assert_outcomes(passed=1)
    assert [path.name for path in folder.iterdir()] == ["users.msgpack"]


def test_a_fixture_of_the_suite_may_name_the_folder(pytester: pytest.Pytester, upstream: Loopback) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def timetracer_cassette_dir(tmp_path_factory):
            return tmp_path_factory.getbasetemp() / "mine"
        """
    )
    pytester.makepyfile(TEST.format(url=upstream.url))
    run(pytester, "--basetemp=base").assert_outcomes(passed=1)
    assert (pytester.path / "base" / "mine" / "users.msgpack").is_file()


def test_the_fixtures_are_listed_with_what_they_do(pytester: pytest.Pytester) -> None:
    listed = run(pytester, "--fixtures").stdout.str()
    for name in ("cassette_dir", "replay", "record", "auto"):
        assert f"timetracer_{name} -- " in listed


def test_a_run_that_uses_no_fixture_imports_nothing_of_ours(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(forks.RUN, "0")
    pytester.makepyfile(
        """
        import sys

        def test_nothing_of_ours():
            ours = {name for name in sys.modules if name.startswith("timetracer_otel")}
            assert ours == {"timetracer_otel", "timetracer_otel.pytest_plugin"}
            assert not {"opentelemetry", "msgpack", "httpx", "wrapt"} & set(sys.modules)
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_an_unused_plugin_costs_little(tmp_path: Path) -> None:
    code = (
        "import pytest, contextlib, pathlib, typing, time; start = time.process_time(); "
        "import timetracer_otel.pytest_plugin; print((time.process_time() - start) * 1000)"
    )
    times_ms = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(times_ms) < 15
