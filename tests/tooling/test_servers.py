"""A server that cannot be started ends the run at once, with the reason in one line."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import forks
from tests.children import ROOT
from tests.servers import _leashed
from tests.servers._failure import ServerDidNotStart
from tests.servers._leashed import LeashedServer

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


@pytest.mark.parametrize("workers", [(), ("-p", "xdist.plugin", "-n", "1")], ids=["alone", "xdist"])
def test_a_server_that_does_not_start_ends_the_run_in_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Where this test runs in a process of pytest-xdist, the run that it starts is still the first of its own.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeconftest("from tests.conftest import pytest_runtest_logreport, pytest_runtest_makereport")
    pytester.makepyfile(SUITE)
    added, environment = forks.forked_workers(str(ROOT)) if workers else ([], {})
    done = forks.run(
        *("-m", "pytest", *added, *workers), env={**os.environ, **environment}, cwd=pytester.path, loaded="tool"
    )
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR
    lines = done.stdout.splitlines()
    (said,) = [line for line in lines if "Redis did not start: " in line and line.startswith("!")]
    assert "No such file or directory: '/nowhere/redis-server'" in said
    assert sum(line.count("E") for line in lines if set(line.split(" ")[0]) == {"E"}) < 10


def test_the_reason_is_the_last_line_that_a_server_wrote() -> None:
    error = ServerDidNotStart("PostgreSQL", "LOG: starting\n\nFATAL: no room\n \n")
    assert str(error) == "PostgreSQL did not start: FATAL: no room"
    assert str(ServerDidNotStart("Redis", "")) == "Redis did not start: it said nothing"


class Listener(LeashedServer):
    """It listens, and makes its data slowly."""

    name = "Listener"
    ends_by = signal.SIGTERM
    killed_by = signal.SIGKILL
    refusals = OSError

    def make(self, data: Path) -> Sequence[str]:
        return ["sh", "-c", f"sleep 0.2; echo made >> {data}/made"]

    def command(self) -> Sequence[str]:
        return ["sh", "-c", "sleep 0.1; echo no room >&2; exit 1"]

    @property
    def socket_path(self) -> Path:
        return self.folder / "socket"

    def ask(self) -> None: ...


def test_the_processes_of_a_run_make_the_data_of_a_server_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(_leashed.RUN, str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    servers = [Listener() for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda server: server.set_up(Path("/bin/sh")), servers))
    assert [(server.data / "made").read_text() for server in servers] == ["made\n"] * 4
    assert sorted(path.name for path in (tmp_path / "Listener").iterdir()) == ["data", "data.lock"]


def test_a_server_says_why_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_leashed.RUN, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    server = Listener()
    server.set_up(Path("/bin/sh"))
    began = time.monotonic()
    with pytest.raises(ServerDidNotStart, match="Listener did not start: no room"):
        server.start()
    assert time.monotonic() - began < 30


def test_a_server_that_nobody_can_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwall", list)
    with pytest.raises(ServerDidNotStart, match="MariaDB did not start: the system has no user but root"):
        _leashed._unprivileged(Path("/bin/sh"), "MariaDB")
