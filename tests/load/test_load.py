"""Servers with workers under load: one whole cassette for each request, whatever else runs, and however they end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from tests.examples import drawn
from tests.load._server import Served, check_cassettes
from tests.loopback import Loopback
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import CassetteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers that fork")

FULL = "LOAD_REQUESTS" in os.environ
"""Set by ``make suite-load``, which makes thousands of requests to every server."""
REQUESTS = int(os.environ.get("LOAD_REQUESTS", "60"))
AT_ONCE = int(os.environ.get("LOAD_AT_ONCE", "24"))

_REACHES_NEW_PROCESSES = Version(version("opentelemetry-instrumentation")) >= Version("0.63b0")
INSTRUMENTED = ("opentelemetry-instrument",)
GUNICORN = (*INSTRUMENTED, "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", "--workers")
UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning", "--factory", "tests.load._apps:fastapi_app")
ASGI = ("--worker-class", "uvicorn.workers.UvicornWorker", "tests.load._apps:fastapi_app()")
WORKERS = "4" if FULL else "2"
"""Each of them imports everything anew, which takes longer than all requests of ``make test``."""
SERVERS = {
    "gunicorn uvicorn": (*GUNICORN, WORKERS, *ASGI),
    "gunicorn uvicorn preload": (*GUNICORN, "2", "--preload", *ASGI),
    "gunicorn gthread": (*GUNICORN, WORKERS, "--threads", "8", "tests.load._apps:flask_app()"),
    "gunicorn gthread preload": (*GUNICORN, "2", "--threads", "8", "--preload", "tests.load._apps:flask_app()"),
    "gunicorn sync": (*GUNICORN, "2", "tests.load._apps:flask_app()"),
    "uvicorn": (*INSTRUMENTED, *UVICORN),
    "uvicorn workers, in code": (*UVICORN, "--workers", "2"),
    # Older releases do not reach new processes.
    **({"uvicorn workers": (*INSTRUMENTED, *UVICORN, "--workers", "2")} if _REACHES_NEW_PROCESSES else {}),
}
ENDS = {"uvicorn": -15}
"""What servers end with that SIGTERM was sent to; the others with 0."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the apps find what they call."""
    postgres = Postgres()
    try:
        with Loopback() as upstream, RedisServer(tmp_path_factory.mktemp("redis")) as redis:
            database = postgres.url("psycopg").set(drivername="postgresql").render_as_string(hide_password=False)
            yield {"UPSTREAM": upstream.url, "REDIS": redis.url, "DATABASE": database}
    finally:
        postgres.close()


@pytest.mark.sweep
@pytest.mark.timeout(300 + REQUESTS)
@pytest.mark.parametrize("server", SERVERS if FULL else drawn([list(SERVERS)], "servers"))
def test_every_request_to_a_server_with_workers_has_a_whole_cassette_of_its_own(
    services: dict[str, str], tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, log = tmp_path / "cassettes", tmp_path / "log"
    environment = {**services, "TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
    # One process that is asked as fast as it can answers faster than it writes, on a machine of two processors that
    # serves the database and makes the requests as well. What the limit costs then is tested in tests/process.
    environment["TIMETRACER_MAX_SESSIONS"] = str(max(1000, REQUESTS))
    if server == "uvicorn workers, in code":
        environment["INSTRUMENT"] = "1"
    with Served(SERVERS[server], environment, log) as served:
        served.ask(REQUESTS, AT_ONCE)
        # At once: nobody waits for what is still to be written.
        assert served.terminate() == ENDS.get(server, 0), log.read_text()
    assert "timetracer-otel" not in log.read_text()
    seen = check_cassettes(folder, REQUESTS)
    with capsys.disabled():
        print(f" {server}: {seen}", end="")


def test_what_a_killed_worker_had_recorded_becomes_a_cassette_when_the_next_worker_records(
    services: dict[str, str], tmp_path: Path
) -> None:
    folder, log = tmp_path / "cassettes", tmp_path / "log"
    environment = {**services, "TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)}
    with Served((*GUNICORN, "1", "tests.load._apps:flask_app()"), environment, log) as served:
        served.ask_to_die(7)
        # Its connection is closed a moment before the lock of its part is.
        until = time.monotonic() + 60
        while any(each.running for each in CassetteStore(folder).list()) and time.monotonic() < until:
            time.sleep(0.01)
        (dead,) = CassetteStore(folder).list()
        assert (dead.request_path, dead.events, dead.running, Path(dead.path).suffix) == (
            "/killed/7",
            1,
            False,
            ".part",
        )
        served.ask(1, 1)
        assert served.terminate() == 0
    found = {stored.request_path: stored for stored in CassetteStore(folder).list()}
    assert {path: stored.complete for path, stored in found.items()} == {
        "/killed/7": False,
        "/work/<int:number>": True,
    }
    assert [file for file in folder.rglob("*") if file.suffix != ".msgpack" and file.is_file()] == []
