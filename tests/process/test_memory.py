"""The memory of a recorded request is free when the request is written. `tests.suite_memory` measures a process."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import httpx
import pytest
import redis
import requests
import sqlalchemy

from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.servers.redis import RedisServer
from timetracer_otel import plugins
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.context import get_current_session
from timetracer_otel.incoming import asgi, wsgi
from timetracer_otel.process.runtime import runtime


@pytest.fixture
def no_collector(tmp_path: Path) -> Iterator[None]:
    """Recording is on, and the garbage collector is off: only counts of references free memory."""
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path)))
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    runtime().stop()


def test_a_written_wsgi_request_is_freed_without_the_collector(no_collector: None, tmp_path: Path) -> None:
    sessions: list[weakref.ref[Any]] = []

    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        sessions.append(weakref.ref(get_current_session()))
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    environ: wsgi.Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    response = wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)
    assert list(response) == [b"one", b"two"]
    response.close()  # type: ignore[attr-defined]
    del response
    _check_freed(sessions, tmp_path)


def test_a_written_asgi_request_is_freed_without_the_collector(no_collector: None, tmp_path: Path) -> None:
    sessions: list[weakref.ref[Any]] = []

    async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        sessions.append(weakref.ref(get_current_session()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one"})

    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: asgi.Message) -> None:
        pass

    scope: asgi.ConnectionScope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(asgi.serve(app, scope, receive, send, "mine", lambda scope: None))
    _check_freed(sessions, tmp_path)


def _by_httpx(url: str, _: str) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/users/1").status_code == 200


def _by_requests(url: str, _: str) -> None:
    with requests.Session() as session:
        assert session.get(f"{url}/users/1").status_code == 200


def _by_sqlalchemy(_: str, __: str) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1 AS one")).one().one == 1
    engine.dispose()


# redis-py 5.0.0 keeps an error of the server in the frame that raises it. The server of the tests knows no CLIENT
# SETINFO, by which the client says what it is.
_SAYS: dict[str, Any] = {"lib_name": None, "lib_version": None} if redis.__version__ == "5.0.0" else {}


def _by_redis(_: str, url: str) -> None:
    with redis.Redis.from_url(url, **_SAYS) as client:
        client.set("a", "b")
        assert client.get("a") == b"b"
        assert client.pipeline().get("a").set("a", "c").execute() == [b"b", True]


_SHARED = "file:written?mode=memory&cache=shared"


def _by_sqlite3(_: str, __: str) -> None:
    with closing(sqlite3.connect(_SHARED, uri=True)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
        assert connection.execute("SELECT 1 AS one").fetchone() == (1,)


def _by_aiosqlite(_: str, __: str) -> None:
    async def call() -> None:
        async with aiosqlite.connect(_SHARED, uri=True) as connection:
            assert list(await connection.execute_fetchall("SELECT 1 AS one")) == [(1,)]

    asyncio.run(call())


@pytest.mark.parametrize("call", [_by_httpx, _by_requests, _by_sqlalchemy, _by_redis, _by_sqlite3, _by_aiosqlite])
def test_a_written_request_is_freed_with_its_calls(
    call: Callable[[str, str], None], tmp_path: Path, no_collector: None
) -> None:
    sessions: list[weakref.ref[Any]] = []
    library = call.__name__.removeprefix("_by_")
    getattr(plugins, f"enable_{library}")()
    try:
        with Loopback() as upstream, RedisServer(tmp_path / "server") as server:

            def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
                sessions.append(weakref.ref(get_current_session()))
                call(upstream.url, server.url)
                start_response("200 OK", [])
                return iter([b"done"])

            environ: wsgi.Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "QUERY_STRING": ""}
            response = wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)
            assert list(response) == [b"done"]
            response.close()  # type: ignore[attr-defined]
            del response
    finally:
        getattr(plugins, f"disable_{library}")()
    _check_freed(sessions, tmp_path)
    assert cassettes(tmp_path)[0].events


def _check_freed(sessions: list[weakref.ref[Any]], folder: Path) -> None:
    assert runtime().flush()
    assert len(cassettes(folder)) == len(sessions) == 1
    (session,) = sessions
    assert session() is None, gc.get_referrers(session())
