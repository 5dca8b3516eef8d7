"""A server that cannot be started ends the run at once, with the reason in one line."""

from __future__ import annotations

import pytest

from tests.children import ROOT
from tests.servers._failure import ServerDidNotStart

pytest_plugins = ["pytester"]

SUITE = """
    import pytest
    from tests.servers.redis import RedisServer

    @pytest.fixture
    def server(tmp_path, monkeypatch):
        monkeypatch.setenv("REDIS_SERVER", "/nowhere/redis-server")
        with RedisServer(tmp_path) as server:
            yield server

    @pytest.mark.parametrize("number", range(200))
    def test_something(server, number):
        pass
"""


@pytest.mark.parametrize("workers", [(), ("-p", "xdist.plugin", "-n", "2")], ids=["alone", "xdist"])
def test_a_server_that_does_not_start_ends_the_run_in_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Where this test runs in a process of pytest-xdist, the run that it starts is still the first of its own.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeconftest("from tests.conftest import pytest_runtest_logreport, pytest_runtest_makereport")
    pytester.makepyfile(SUITE)
    done = pytester.runpytest_subprocess(*workers)
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    (said,) = [line for line in done.outlines if "Redis did not start: " in line and line.startswith("!")]
    assert "No such file or directory: '/nowhere/redis-server'" in said
    assert sum(line.count("E") for line in done.outlines if set(line.split(" ")[0]) == {"E"}) < 10


def test_the_reason_is_the_last_line_that_a_server_wrote() -> None:
    error = ServerDidNotStart("PostgreSQL", "LOG: starting\n\nFATAL: no room\n \n")
    assert str(error) == "PostgreSQL did not start: FATAL: no room"
    assert str(ServerDidNotStart("Redis", "")) == "Redis did not start: it said nothing"
