"""`timetracer_config`, ``block_network`` and recording anew, in test runs of their own."""

from __future__ import annotations

import textwrap

import pytest

from tests.loopback import Loopback
from tests.pytest_plugin._suites import run
from timetracer_otel.cassette import read_cassette

pytest_plugins = ["pytester"]


def write(pytester: pytest.Pytester, upstream: Loopback, text: str, name: str = "test_it.py") -> None:
    (pytester.path / name).write_text(textwrap.dedent(text).replace("URL", upstream.url))


CONFIGURED = """
    import httpx
    import pytest

    @pytest.fixture(scope="module")
    def timetracer_config(timetracer_config):
        return {**timetracer_config, "match_on": ["method", "url"]}

    @pytest.mark.timetracer
    def test_by_the_module():
        httpx.get("URL/users/1", params={"at": NOW})

    @pytest.mark.timetracer(match_on=["method", "url", "query"])
    def test_the_marker_wins():
        httpx.get("URL/users/2", params={"at": NOW})

    def test_a_block(timetracer_auto):
        with timetracer_auto("block.msgpack") as session:
            httpx.get("URL/users/3", params={"at": NOW})
        assert session.config.env == "of-conftest"

    @pytest.mark.timetracer(scope="module")
    def test_shared():
        httpx.get("URL/users/4", params={"at": NOW})

    class TestNearer:
        @pytest.fixture
        def timetracer_config(self):
            return {"mock": ["redis"], "record_mode": "once"}

        @pytest.mark.timetracer
        def test_stays_live(self):
            httpx.get("URL/users/5")
"""


@pytest.mark.parametrize("processes", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "xdist"])
def test_the_nearest_configuration_counts(
    pytester: pytest.Pytester, upstream: Loopback, processes: tuple[str, ...]
) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def timetracer_config():
            return {"env": "of-conftest"}
        """
    )
    write(pytester, upstream, CONFIGURED.replace("NOW", "1"))
    run(pytester, *processes).assert_outcomes(passed=5)
    upstream.hits.clear()
    write(pytester, upstream, CONFIGURED.replace("NOW", "2"))
    again = run(pytester, *processes)
    again.assert_outcomes(passed=4, failed=1)
    again.stdout.fnmatch_lines(["FAILED test_it.py::test_the_marker_wins*"])
    assert upstream.hits == {"/users/5": 1}
    recorded = read_cassette(pytester.path / "cassettes" / "test_it" / "test_by_the_module.msgpack")
    assert recorded.session.env == "of-conftest"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("['match_on']", "timetracer_config: ['match_on'] is not allowed. Allowed: a dictionary of settings."),
        ("{'scope': 'module'}", "timetracer_config: 'scope' is no setting: say it in the marker of the tests."),
        ("{'macth_on': []}", "macth_on: no such setting. Known: "),
    ],
)
def test_a_wrong_configuration_says_what_is_allowed(
    pytester: pytest.Pytester, upstream: Loopback, given: str, says: str
) -> None:
    write(
        pytester,
        upstream,
        f"""
        import pytest

        @pytest.fixture
        def timetracer_config():
            return {given}

        def test_it(timetracer_session):
            pass
        """,
    )
    failed = run(pytester)
    failed.assert_outcomes(errors=1)
    assert f"ConfigurationError: {says}" in failed.stdout.str()


BLOCKED = """
    import asyncio
    import socket

    import httpx
    import pytest

    def connect(port=PORT):
        socket.create_connection(("127.0.0.1", port)).close()

    def test_plain():
        httpx.get("URL/users/1")

    @pytest.mark.block_network
    def test_refused():
        httpx.get("URL/users/2")

    @pytest.mark.block_network
    def test_swallowed():
        try:
            connect()
        except Exception:
            pass

    @pytest.mark.block_network(allowed_hosts=["127.0.0.1:PORT"])
    def test_allowed():
        httpx.get("URL/users/3")

    @pytest.mark.block_network(False)
    def test_let_out():
        connect()

    @pytest.mark.block_network
    @pytest.mark.timetracer
    def test_recorded():
        httpx.get("URL/users/4")

    @pytest.mark.block_network
    @pytest.mark.timetracer
    def test_recorded_and_refused():
        httpx.get("URL/users/5")
        connect(9)

    @pytest.mark.block_network(allowed_hosts=["127.0.0.1"])
    @pytest.mark.timetracer
    def test_recorded_and_allowed():
        httpx.get("URL/users/6")
        connect()

    @pytest.mark.block_network
    def test_block(timetracer_auto):
        with timetracer_auto("block.msgpack"):
            httpx.get("URL/users/7")

    @pytest.mark.block_network
    @pytest.mark.asyncio
    async def test_async():
        async with httpx.AsyncClient() as client:
            await client.get("URL/users/8")
"""
REFUSED = {"test_refused", "test_swallowed", "test_recorded_and_refused", "test_async"}


def failed_in(result: pytest.RunResult) -> set[str]:
    return {line.split("::")[1].split(" ")[0] for line in result.outlines if line.startswith("FAILED ")}


def test_connections_are_refused_by_a_marker(pytester: pytest.Pytester, upstream: Loopback) -> None:
    write(pytester, upstream, BLOCKED.replace("PORT", upstream.url.rpartition(":")[2]))
    first = run(pytester, runner="asyncio")
    assert failed_in(first) == REFUSED
    assert set(upstream.hits) == {f"/users/{number}" for number in (1, 3, 4, 5, 6, 7)}
    first.stdout.fnmatch_lines(
        [
            f"E *Blocked: a connection of httpcore to {upstream.url[7:]}, which no plugin captures",
            "E *what to do: mark the test `timetracer` to record its calls*allowed_hosts*",
        ]
    )
    upstream.hits.clear()
    for arguments in ((), ("-n", "2")):
        assert failed_in(run(pytester, *arguments, runner="asyncio")) == REFUSED
    # Calls that were recorded are answered, also those to hosts that may be connected to.
    assert upstream.hits == {"/users/1": 2, "/users/3": 2}


def test_connections_are_refused_by_the_ini_option(pytester: pytest.Pytester, upstream: Loopback) -> None:
    port = upstream.url.rpartition(":")[2]
    pytester.makeini(f"[pytest]\ntimetracer_block_network = true\ntimetracer_allowed_hosts =\n    localhost:{port}\n")
    write(
        pytester,
        upstream,
        """
        import socket
        import pytest

        @pytest.fixture
        def fixture(request):
            socket.create_connection(("127.0.0.1", request.param)).close()

        @pytest.mark.parametrize("fixture", [PORT], indirect=True)
        def test_allowed(fixture):
            pass

        @pytest.mark.parametrize("fixture", [9], indirect=True)
        def test_refused(fixture):
            pass

        @pytest.mark.block_network(allowed_hosts="127.0.0.1:9")
        def test_allowed_by_the_marker():
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", 9))

        @pytest.mark.block_network(hosts=[])
        def test_wrong():
            pass

        @pytest.mark.block_network(allowed_hosts=["a b"])
        def test_no_host():
            pass
        """.replace("PORT", upstream.url.rpartition(":")[2]),
    )
    done = run(pytester)
    done.assert_outcomes(passed=2, errors=3)
    said = done.stdout.str()
    assert "NetworkBlockedError: Blocked: a connection of socket to 127.0.0.1:9, which no plugin captures" in said
    assert "ConfigurationError: block_network: allowed are enabled (True or False) and allowed_hosts" in said
    assert "ConfigurationError: block_network: " in said
    assert "['a b'] is not allowed" in said or "'a b'] is not allowed" in said


def test_connections_are_refused_by_the_configuration_of_a_module(
    pytester: pytest.Pytester, upstream: Loopback
) -> None:
    write(
        pytester,
        upstream,
        """
        import socket
        import pytest

        @pytest.fixture(scope="module")
        def timetracer_config():
            return {"block_network": True}

        def connect():
            socket.create_connection(("127.0.0.1", 9)).close()

        def test_refused():
            connect()

        @pytest.mark.block_network(False)
        def test_let_out():
            with pytest.raises(ConnectionRefusedError):
                connect()

        @pytest.mark.timetracer(block_network=False)
        def test_let_out_by_its_own_marker():
            with pytest.raises(ConnectionRefusedError):
                connect()

        @pytest.mark.timetracer
        def test_recorded_and_refused():
            connect()

        @pytest.mark.block_network(allowed_hosts=["127.0.0.1:9"])
        @pytest.mark.timetracer(block_network=True)
        def test_said_by_all_and_allowed():
            with pytest.raises(ConnectionRefusedError):
                connect()

        @pytest.mark.block_network(False)
        def test_a_block_in_a_test_that_is_let_out(timetracer_auto):
            with timetracer_auto("block.msgpack"), pytest.raises(ConnectionRefusedError):
                connect()
        """,
    )
    write(pytester, upstream, "import httpx\n\ndef test_it():\n    httpx.get('URL/users/1')\n", "test_other.py")
    done = run(pytester)
    assert failed_in(done) == {"test_refused", "test_recorded_and_refused"}
    done.assert_outcomes(passed=5, failed=2)


ANEW = """
    import httpx
    import pytest

    @pytest.mark.timetracer
    def test_marked():
        httpx.get("URL/users/WHICH")
        assert WHICH < 3

    def test_auto(timetracer_auto):
        with timetracer_auto("auto.msgpack"):
            httpx.get("URL/users/WHICH")
            assert WHICH < 3

    @pytest.mark.timetracer(scope="module")
    def test_shared():
        httpx.get("URL/users/WHICH")
        assert WHICH < 3
"""


def test_a_test_that_fails_leaves_the_recording_that_it_should_rewrite(
    pytester: pytest.Pytester, upstream: Loopback
) -> None:
    def urls() -> list[str]:
        paths = ["test_it/test_marked", "auto", "test_it"]
        cassettes = (read_cassette(pytester.path / "cassettes" / f"{path}.msgpack") for path in paths)
        return [
            event.signature.url.rpartition("/")[2]
            for each in cassettes
            for event in each.events
            if event.signature.url
        ]

    rewriting = "--timetracer-mode=rewrite"
    write(pytester, upstream, ANEW.replace("WHICH", "1"))
    run(pytester, rewriting).assert_outcomes(passed=3)
    assert urls() == ["1", "1", "1"]
    # What has not changed stays byte for byte.
    before = {path: path.read_bytes() for path in pytester.path.rglob("*.msgpack")}
    run(pytester, rewriting).assert_outcomes(passed=3)
    assert {path: path.read_bytes() for path in before} == before
    write(pytester, upstream, ANEW.replace("WHICH", "2"))
    run(pytester, rewriting).assert_outcomes(passed=3)
    assert urls() == ["2", "2", "2"]
    write(pytester, upstream, ANEW.replace("WHICH", "3"))
    run(pytester, rewriting).assert_outcomes(failed=3)
    assert urls() == ["2", "2", "2"]
    run(pytester, "--timetracer-mode=all").assert_outcomes(failed=3)
    assert urls() == ["3", "3", "3"]
