"""The memory of a recorded request is free when the request is written. `tests.suite_memory` measures a process."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process._programs import cassettes
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


def _check_freed(sessions: list[weakref.ref[Any]], folder: Path) -> None:
    assert runtime().flush()
    assert len(cassettes(folder)) == len(sessions) == 1
    (session,) = sessions
    assert session() is None, gc.get_referrers(session())
