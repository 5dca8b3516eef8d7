"""``timetracer-otel verify`` with services of each web framework, each under a server of its own kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forks
from tests.children import script
from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers._ports import free_port
from tests.verify._services import Request, record, verify

REQUESTS = [
    Request("GET", "/users/3?q=a%20b&q=c", {"Authorization": "Bearer geheim", "Cookie": "a=1; b=2"}),
    Request("HEAD", "/users/3"),
    Request("POST", "/echo", {"Content-Type": "application/json"}, b'{"a": 1e2, "password": "geheim"}'),
    Request("POST", "/echo", {"Content-Type": "application/octet-stream"}, bytes(range(256)) * 40),
    Request("POST", "/first", {}, b"x" * 100_000),
    Request("GET", "/stream"),
    Request("GET", "/empty"),
    Request("GET", "/unchanged"),
    Request("GET", "/file"),
    Request("GET", "/moved"),
    Request("GET", "/thread"),
    Request("GET", "/no/such/path"),
]


def command(app: str, port: int, turn: int) -> list[str]:
    """How a service is started: each turn under a hash seed of its own."""
    if app == "fastapi":
        serve = [*forks.python(turn=turn), "-m", "uvicorn", "--factory", "tests.process._web_apps:fastapi_app"]
        return [*serve, "--port", str(port), "--log-level", "warning"]
    serve = [
        *forks.python(turn=turn),
        script("gunicorn"),
        "--worker-class",
        "gthread",
        "--threads",
        "4",
        "--workers",
        "2",
        "--bind",
        f"127.0.0.1:{port}",
    ]
    return [*serve, f"tests.process._web_apps:{app}()"]


@pytest.mark.sweep
@pytest.mark.parametrize("app", drawn([["fastapi", "flask_app", "django_wsgi_app"]], "frameworks"))
def test_an_unchanged_service_passes_with_its_upstream_gone(tmp_path: Path, app: str) -> None:
    port = free_port()
    with Loopback() as upstream:
        record(command(app, port, 0), port, REQUESTS, tmp_path / "cassettes", UPSTREAM=upstream.url)
    done = verify(
        tmp_path / "cassettes", command(app, port, 1), "--timeout", "20", "--jobs", "3", UPSTREAM=upstream.url
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(REQUESTS)} passed in " in done.stdout.splitlines()[-1], done.stdout
    assert "geheim" not in done.stdout


@pytest.mark.sweep
@pytest.mark.parametrize(("server", "prefix"), drawn([[("uvicorn", ""), ("hypercorn", "/api")]], "root paths"))
def test_a_root_path_is_in_the_target_where_it_stood_in_the_request_line(
    tmp_path: Path, server: str, prefix: str
) -> None:
    port, folder = free_port(), tmp_path / "cassettes"
    serve = {
        "uvicorn": ["uvicorn", "--factory", "tests.process._web_apps:fastapi_app", "--port", str(port)],
        # It serves by itself: until 0.61b0, a process that an instrumented one spawns is not instrumented.
        "hypercorn": [
            *("hypercorn", "tests.process._web_apps:fastapi_app()"),
            *("--bind", f"127.0.0.1:{port}", "--workers", "0"),
        ],
    }
    serving = ["-m", *serve[server], "--root-path", "/api"]
    requests = [Request("GET", f"{prefix}{target}") for target in ("/users/3?q=a", "/inner/users/4", "/thread")]
    with Loopback() as upstream:
        record([*forks.python(turn=0), *serving], port, requests, folder, UPSTREAM=upstream.url)
    found = cassettes(folder)
    assert sorted(cassette.request.target or "" for cassette in found) == sorted(each.target for each in requests)
    assert sorted(cassette.request.path for cassette in found) == [
        f"{prefix}{path}" for path in ("/inner/users/4", "/thread", "/users/3")
    ]
    done = verify(folder, [*forks.python(turn=1), *serving], "--timeout", "20", UPSTREAM=upstream.url)
    assert done.returncode == 0, done.stdout + done.stderr
