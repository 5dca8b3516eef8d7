"""What changes between two blocks is seen by the second: sessions remember only what cannot have changed."""

from __future__ import annotations

import _thread
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from types import ModuleType
from typing import Any

import httpx
import pytest
import wrapt

from tests.seams.program import Http, Server, arrived
from timetracer_otel import record, replay
from timetracer_otel.base import faults
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.httpx.call import module_of


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = Server(Http)
    yield f"http://{server.address}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cassette(upstream: str, tmp_path: Path) -> Path:
    """A recording of one call of httpx, whose block is the first of two."""
    path = tmp_path / "one.msgpack"
    with record(path):
        httpx.get(upstream)
    arrived.clear()
    return path


def test_a_function_that_somebody_replaced_is_called_by_the_second_block_and_stays(
    upstream: str, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = httpx.HTTPTransport.handle_request
    seen: list[str] = []

    def theirs(self: Any, request: Any) -> Any:
        seen.append(request.url.host)
        return original(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", theirs)
    with replay(cassette):
        assert httpx.get(upstream).status_code == 200
    assert (seen, arrived) == (["127.0.0.1"], [])
    assert httpx.HTTPTransport.handle_request is theirs


def test_a_name_that_is_gone_is_missed_by_the_second_block(
    upstream: str, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(faults, "_warned", set())
    with monkeypatch.context() as patch:
        patch.delattr(httpx.Response, "aread")
        with replay(cassette, fail_on_miss=False), pytest.raises(ReplayMismatchError, match=r"Response\.aread"):
            httpx.get(upstream)
    with replay(cassette):
        assert httpx.get(upstream).status_code == 200
    assert arrived == []


def test_a_module_with_other_classes_is_answered_with_them(
    upstream: str, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Response(httpx.Response):
        pass

    first = module_of(httpx)
    with replay(cassette):
        assert type(httpx.get(upstream)) is httpx.Response
    assert module_of(httpx) is first
    # As after a reload of the module.
    monkeypatch.setattr(httpx, "Response", Response)
    assert module_of(httpx) is not first
    with replay(cassette):
        answer = httpx.get(upstream)
        assert (type(answer), answer.status_code) == (Response, 200)
    assert "read" not in vars(Response)


def _counting(calls: list[str], name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(*args, **kwargs)

    return theirs


def test_functions_of_python_that_somebody_replaced_are_called_by_the_second_block_and_stay(
    cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [(socket, "getaddrinfo"), (threading.Thread, "start"), (_thread, "start_new_thread")]
    calls: list[str] = []
    theirs = {name: _counting(calls, name, getattr(owner, name)) for owner, name in names}
    for owner, name in names:
        monkeypatch.setattr(owner, name, theirs[name])
    with replay(cassette, live_hosts=["localhost"]) as session:
        sessions: Queue[Any] = Queue()

        def look() -> None:
            sessions.put(get_current_session())

        socket.getaddrinfo("localhost", 80)
        threading.Thread(target=look).start()
        assert sessions.get(timeout=60) is session
        _thread.start_new_thread(look, ())
        assert sessions.get(timeout=60) is session
    assert calls == ["getaddrinfo", "start", "start_new_thread"]
    assert [getattr(owner, name) for owner, name in names] == list(theirs.values())


def test_a_module_that_was_imported_since_carries_sessions_into_its_threads(
    cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _thread.start_new_thread
    for name in ("imported_between_blocks", "imported_between_other_blocks"):
        module = ModuleType(name)
        vars(module)["start_new_thread"] = original
        monkeypatch.setitem(sys.modules, name, module)
        with replay(cassette) as session:
            sessions: Queue[Any] = Queue()
            vars(module)["start_new_thread"](lambda queue: queue.put(get_current_session()), (sessions,))
            assert sessions.get(timeout=60) is session
        assert vars(module)["start_new_thread"] is original


def test_blocks_ask_the_importer_once_to_be_told_of_modules(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(wrapt, "register_post_import_hook", lambda hook, name: asked.append(name))
    for _ in range(2):
        with replay(cassette):
            pass
    assert asked == []
