"""Processes that fork while requests are recorded: each writes what is its own, and nothing of the other's."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain
from timetracer_otel.types import Cassette

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

SERVICE = """
import asyncio, multiprocessing, os, time
import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from timetracer_otel.otel import TimetracerInstrumentor
TimetracerInstrumentor().instrument()

def get(user):
    return httpx.get(f"{base}/users/{{user}}").json()["id"]

async def ask(app, path):
    # By hand: in a child of fork, some releases of httpx do not find out that they run in asyncio.
    sent = []

    async def receive():
        return {{"type": "http.request", "body": b"", "more_body": False}}

    async def send(message):
        sent.append(message.get("body", b""))

    scope = {{"type": "http", "asgi": {{"version": "3.0"}}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": [],
             "client": ("127.0.0.1", 1), "server": ("service", 80)}}
    await app(scope, receive, send)
    return b"".join(sent).decode()
"""


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _run(upstream: Loopback, folder: Path, code: str) -> dict[str, Counter[tuple[int, ...]]]:
    """Run a service; gives for each path ("" for calls outside requests) the users that its cassettes ask for."""
    done = plain(
        SERVICE.format(base=upstream.url) + code,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(folder),
        TIMETRACER_JOURNAL_S="0.02",
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not [*folder.rglob("*.part"), *folder.rglob(".*.lock")]
    found: dict[str, Counter[tuple[int, ...]]] = {}
    for cassette in cassettes(folder):
        found.setdefault(cassette.request.path, Counter())[_users(cassette)] += 1
    return found


def _users(cassette: Cassette) -> tuple[int, ...]:
    return tuple(int((event.signature.url or "").rpartition("/")[2]) for event in cassette.events)


def test_a_child_that_a_request_forks_records_its_own_calls_and_leaves_the_request_to_its_parent(
    upstream: Loopback, tmp_path: Path
) -> None:
    found = _run(
        upstream,
        tmp_path,
        """
async def forking(request):
    get(1)
    time.sleep(0.2)
    child = os.fork()
    if not child:
        get(2)
        # And back out, through all that is around the app.
        return PlainTextResponse("child")
    os.waitpid(child, 0)
    time.sleep(0.1)
    get(3)
    return PlainTextResponse("parent")

app = Starlette(routes=[Route("/fork", forking)])
asyncio.run(ask(app, "/fork"))
""",
    )
    assert found == {"/fork": {(1, 3): 1}, "": {(2,): 1}}


def test_what_children_of_multiprocessing_do_and_serve_is_recorded_to_their_end(
    upstream: Loopback, tmp_path: Path
) -> None:
    found = _run(
        upstream,
        tmp_path,
        """
def work(user):
    get(user)
    asyncio.run(ask(app, f"/plain/{user + 10}"))

async def answering(request):
    get(request.path_params["user"])
    return PlainTextResponse("child")

async def forking(request):
    get(1)
    children = [multiprocessing.get_context("fork").Process(target=work, args=(user,)) for user in (2, 3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    get(4)
    return PlainTextResponse("parent")

app = Starlette(routes=[Route("/fork", forking), Route("/plain/{user:int}", answering)])
asyncio.run(ask(app, "/fork"))
""",
    )
    assert found == {"/fork": {(1, 4): 1}, "": {(2,): 1, (3,): 1}, "/plain/12": {(12,): 1}, "/plain/13": {(13,): 1}}


def test_a_child_of_a_recorded_block_leaves_the_file_to_its_parent(upstream: Loopback, tmp_path: Path) -> None:
    file = tmp_path / "block.msgpack"
    done = plain(
        f"""
        import httpx, os, sys
        from timetracer_otel import counters, record
        with record({str(file)!r}):
            httpx.get("{upstream.url}/users/1")
            child = os.fork()
            if not child:
                httpx.get("{upstream.url}/users/2")
                httpx.get("{upstream.url}/users/3")
            else:
                os.waitpid(child, 0)
                httpx.get("{upstream.url}/users/4")
        if not child:
            print(counters().events_dropped)
        """,
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'calls after the end': 2}\n"
    assert "in no cassette" in done.stderr
    (cassette,) = cassettes(tmp_path)
    assert _users(cassette) == (1, 4)
