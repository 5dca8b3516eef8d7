"""What takes a whole run to decide: which tests are marked, whose a cassette is, and which is nobody's."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run

pytest_plugins = ["pytester"]


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
        run(pytester, "--timetracer-record-mode=none", *arguments).assert_outcomes(passed=4)


NAMESAKE = """
    import httpx
    import pytest

    @pytest.mark.timetracer
    def test_user():
        assert httpx.get("URL/users/NUMBER").json()["id"] == NUMBER
"""


def cassettes(pytester: pytest.Pytester) -> list[str]:
    return sorted(path.relative_to(pytester.path).as_posix() for path in pytester.path.rglob("*.msgpack"))


@pytest.fixture
def common(pytester: pytest.Pytester) -> Path:
    """The folder of the ini option."""
    pytester.makeini("[pytest]\ntimetracer_cassette_dir = kept\naddopts = --import-mode=importlib")
    return pytester.path / "kept"


@pytest.mark.usefixtures("common")
def test_files_of_one_name_have_cassettes_of_their_own(pytester: pytest.Pytester, upstream: Loopback) -> None:
    for number, folder in enumerate(("", "a/", "a/b/"), 1):
        suite(pytester, upstream, NAMESAKE.replace("NUMBER", str(number)), f"{folder}test_same.py")
    run(pytester).assert_outcomes(passed=3)
    assert cassettes(pytester) == [
        "kept/a/b/test_same/test_user.msgpack",
        "kept/a/test_same/test_user.msgpack",
        "kept/test_same/test_user.msgpack",
    ]
    upstream.stop()
    whole = run(pytester, "--timetracer-record-mode=none", "--timetracer-orphans")
    whole.assert_outcomes(passed=3)
    assert whole.ret == pytest.ExitCode.OK
    run(pytester, "--timetracer-record-mode=none", "a/b").assert_outcomes(passed=1)


@pytest.mark.usefixtures("common")
def test_a_file_outside_the_root_folder_has_its_cassettes_inside(
    pytester: pytest.Pytester, upstream: Loopback, tmp_path: Path
) -> None:
    for number, folder in enumerate(("one", "two"), 1):
        suite(pytester, upstream, NAMESAKE.replace("NUMBER", str(number)), str(tmp_path / folder / "test_same.py"))
    arguments = ("--rootdir", str(pytester.path), "-c", str(pytester.path / "tox.ini"), str(tmp_path))
    for _ in range(2):
        run(pytester, *arguments).assert_outcomes(passed=2)
    assert upstream.hits == {"/users/1": 1, "/users/2": 1}
    assert len(cassettes(pytester)) == len(list((pytester.path / "kept").iterdir())) == 2


def test_a_cassette_of_the_older_name_is_used_while_it_is_clear_whose_it_is(
    pytester: pytest.Pytester, upstream: Loopback, common: Path
) -> None:
    suite(pytester, upstream, NAMESAKE.replace("NUMBER", "1"), "a/test_same.py")
    run(pytester).assert_outcomes(passed=1)
    (common / "a" / "test_same").rename(common / "test_same")
    other = suite(pytester, upstream, "def test_another(): pass", "b/test_same.py")
    arguments = ("--timetracer-record-mode=none", "--timetracer-orphans")
    whole = run(pytester, *arguments)
    whole.assert_outcomes(passed=2)
    assert whole.ret == pytest.ExitCode.OK
    assert cassettes(pytester) == ["kept/test_same/test_user.msgpack"]

    suite(pytester, upstream, NAMESAKE.replace("NUMBER", "2"), "b/test_same.py")
    # Not the answers of the other, in a part of the suite either.
    for part in ("a", "b", "."):
        result = run(pytester, *arguments, part)
        assert list(result.parseoutcomes()) == ["errors"]
        result.stdout.fnmatch_lines(
            ["*CassetteNotFoundError: Cassette not found: */kept/?/test_same/test_user.msgpack.*"]
        )
    run(pytester).assert_outcomes(passed=2)
    orphaned = run(pytester, *arguments)
    orphaned.assert_outcomes(passed=2)
    orphaned.stdout.fnmatch_lines(["no test used kept/test_same/test_user.msgpack"])
    assert orphaned.ret == pytest.ExitCode.TESTS_FAILED
    other.unlink()
    assert run(pytester, "--timetracer-record-mode=none").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("ini", ["", "timetracer_cassette_dir = tests/kept", "testpaths = tests"])
def test_only_the_whole_suite_fails_for_orphans(pytester: pytest.Pytester, upstream: Loopback, ini: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    tests = pytester.path / "tests"
    for number, name in enumerate(("test_a", "test_b", "sub/test_c"), 1):
        suite(pytester, upstream, NAMESAKE.replace("NUMBER", str(number)), f"tests/{name}.py")
    run(pytester).assert_outcomes(passed=3)
    upstream.stop()

    def failed(*arguments: str) -> bool:
        result = run(pytester, "--timetracer-orphans", *arguments)
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        said = "not every test ran: those that did not may use some of these cassettes" in result.stdout.str()
        assert said == (result.ret == pytest.ExitCode.OK and "no test used" in result.stdout.str())
        return result.ret == pytest.ExitCode.TESTS_FAILED

    for arguments in ((), ("tests/test_a.py",), ("tests/sub", "tests/test_a.py::test_user")):
        assert not failed(*arguments)
    orphan = next(path for path in tests.rglob("*.msgpack") if "test_c" in path.parts)
    orphan.rename(orphan.with_name("test_gone.msgpack"))
    (tests / "sub" / "test_c.py").write_text("def test_c(): pass")
    assert failed()
    assert failed(".")
    # What stands beside the tests of a folder is used there or nowhere; a common folder may be used from everywhere.
    assert failed("tests") == ("kept" not in ini)
    assert failed("tests/sub") == ("kept" not in ini)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ignore=test_b.py",),
        ("--ignore-glob=*_b.py",),
        ("--deselect=test_a.py::test_user",),
        ("-k", "test_a", "-n", "1"),
        ("--collect-only",),
    ],
    ids=lambda arguments: arguments[0].partition("=")[0],
)
def test_a_run_that_leaves_tests_out_does_not_fail_for_orphans(
    pytester: pytest.Pytester, upstream: Loopback, arguments: tuple[str, ...]
) -> None:
    for number, name in enumerate("ab", 1):
        suite(pytester, upstream, NAMESAKE.replace("NUMBER", str(number)), f"test_{name}.py")
    run(pytester).assert_outcomes(passed=2)
    part = run(pytester, "--timetracer-orphans", *arguments)
    assert part.ret == pytest.ExitCode.OK
    part.stdout.fnmatch_lines(["no test used *", "not every test ran: *"])
