"""The ASGI and WSGI middlewares at their edges: what servers and apps may do that an HTTP client does not show."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate

from tests.process._programs import cassettes
from timetracer_otel import record, replay
from timetracer_otel.base import faults
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BodyEnd, EventType, TraceMode
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayFailedError, ReplayMismatchError
from timetracer_otel.incoming import asgi, wsgi
from timetracer_otel.incoming.scope import RequestScope
from timetracer_otel.otel import propagator
from timetracer_otel.process.runtime import Runtime, runtime
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.types import Cassette, DependencyEvent, EventResult, EventSignature

Recorded = Callable[..., list[Cassette]]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """Recording is on; gives the cassettes of the requests that have ended."""
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path)))
    yield lambda: (runtime().flush(), cassettes(tmp_path))[1]
    runtime().stop()


def _call(name: str) -> None:
    session = get_current_session()
    assert isinstance(session, TraceSession)
    signature = EventSignature(lib="mine", method=name)
    session.add_event(DependencyEvent(0, EventType.CUSTOM, session.elapsed_ms, 0.0, signature, EventResult()))


def _called(cassette: Cassette) -> list[str]:
    return [event.signature.method for event in cassette.events]


def _environ(more: dict[str, Any] | None = None) -> wsgi.Environ:
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/x",
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(b"hello"),
        "CONTENT_LENGTH": "5",
        **(more or {}),
    }


class _Server:
    """Does what a WSGI server does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.status = ""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        headers.append(("Server", "ours"))
        return self.written.append

    def serve(self, app: Any, environ: wsgi.Environ) -> Any:
        return wsgi.serve(app, environ, self.start_response, "mine", lambda environ: None)


def test_lists_reach_the_server_as_they_are(recorded: Recorded) -> None:
    body = [b"a", b"b"]

    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-A", "1")])
        return body

    assert _Server().serve(app, _environ()) is body
    (cassette,) = recorded()
    assert cassette.response.body is not None
    assert (cassette.response.body.data, cassette.response.body.end) == (b"ab", BodyEnd.COMPLETE)
    assert cassette.response.headers == {"x-a": "1"}  # and not what the server added


def test_a_response_with_a_length_keeps_it_and_one_without_gets_none(recorded: Recorded) -> None:
    class Sized:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one"])

        def __len__(self) -> int:
            return 1

    for response in (Sized(), iter([b"one"])):

        def app(environ: wsgi.Environ, start: wsgi.StartResponse, response: Any = response) -> Iterable[bytes]:
            start("200 OK", [])
            return response

        given = _Server().serve(app, _environ())
        assert hasattr(given, "__len__") == hasattr(response, "__len__")
        assert list(given) == [b"one"]
        given.close()
    assert [cassette.response.body.data for cassette in recorded() if cassette.response.body] == [b"one", b"one"]


def test_the_session_is_current_in_each_step_of_a_response_and_nowhere_between(recorded: Recorded) -> None:
    closed: list[BaseSession | None] = []
    key = otel_context.create_key("mine")

    class Steps:
        def __iter__(self) -> Iterator[bytes]:
            _call("first step")
            token = otel_context.attach(otel_context.set_value(key, "mine"))
            yield b"one"
            # What the app put into the context is there in its next step, as it is without us.
            _call(f"second step, {otel_context.get_value(key)}")
            otel_context.detach(token)
            yield b"two"

        def close(self) -> None:
            closed.append(get_current_session())
            _call("close")

    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        assert environ["wsgi.input"].read() == b"hello"
        start_response("200 OK", [])(b"zero")
        _call("app")
        return Steps()

    server = _Server()
    given = server.serve(app, _environ())
    seen = []
    for chunk in given:
        seen.append(chunk)
        assert otel_context.get_value(key) is None
        assert get_current_session() is runtime().process_session()
    assert not recorded()
    given.close()
    assert (server.written, seen) == ([b"zero"], [b"one", b"two"])
    (cassette,) = recorded()
    assert _called(cassette) == ["app", "first step", "second step, mine", "close"]
    assert cassette.request.body is not None
    assert cassette.request.body.data == b"hello"
    assert cassette.response.body is not None
    assert cassette.response.body.data == b"zeroonetwo"
    assert isinstance(closed[0], TraceSession)


def test_a_response_that_its_server_drops_ends_its_request(recorded: Recorded) -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter([b"one", b"two"])

    given = _Server().serve(app, _environ())
    next(iter(given))
    del given
    gc.collect()
    (cassette,) = recorded()
    assert cassette.response.body is not None
    assert (cassette.response.body.data, cassette.response.body.end) == (b"one", BodyEnd.CLOSED)


def test_what_a_file_wrapper_made_is_left_to_the_server(recorded: Recorded) -> None:
    class Wrapper:
        def __init__(self, file: Any, size: int = 1) -> None:
            self.file = file

    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    # Servers in Python give a class, uWSGI gives a function whose result it knows again.
    for wrapper in (Wrapper, lambda file: Wrapper(file)):
        given = _Server().serve(app, _environ({"wsgi.file_wrapper": wrapper}))
        assert type(given) is Wrapper
    for cassette in recorded():
        assert cassette.response.body is not None
        assert not cassette.response.body.captured
        assert cassette.stats.dropped == {"response body sent by the server's file wrapper": 1}


def test_every_way_to_read_an_input_is_noted(recorded: Recorded) -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        source = environ["wsgi.input"]
        buffer = bytearray(2)
        assert (source.readline(), source.read(1), source.readinto(buffer)) == (b"a\n", b"b", 2)
        assert bytes(buffer) == b"c\n"
        assert source.readlines(1) == [b"d\n"]
        assert list(source) == [b"e\n", b"f"]
        assert not hasattr(source, "recv_into")
        start_response("200 OK", [])
        return ()

    environ = _environ({"wsgi.input": io.BytesIO(b"a\nbc\nd\ne\nf"), "CONTENT_LENGTH": "10"})
    _Server().serve(app, environ)
    (cassette,) = recorded()
    assert cassette.request.body is not None
    assert (cassette.request.body.data, cassette.request.body.end) == (b"a\nbc\nd\ne\nf", BodyEnd.COMPLETE)


def test_apps_that_call_or_mount_others_are_one_request(recorded: Recorded) -> None:
    server = _Server()

    def inner(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        _call("inner")
        start_response("200 OK", [])
        return [b"inner"]

    def outer(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        # Instrumentations of servers begin in this way, and make a new context.
        token = otel_context.attach(propagate.extract({}))
        _call("outer")
        try:
            return wsgi.serve(inner, environ, start_response, "mine", lambda environ: None)
        finally:
            otel_context.detach(token)

    assert server.serve(outer, _environ()) == [b"inner"]
    (cassette,) = recorded()
    assert _called(cassette) == ["outer", "inner"]


def test_a_session_of_the_users_own_takes_the_requests_made_in_it(recorded: Recorded, tmp_path: Path) -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        token = otel_context.attach(propagate.extract({}))
        _call("app")
        otel_context.detach(token)
        start_response("200 OK", [])
        return []

    with record(tmp_path / "mine.msgpack") as session:
        _Server().serve(app, _environ())
    assert [event.signature.method for event in session.events] == ["app"]
    (cassette,) = recorded()
    assert cassette.request.path == ""


@pytest.mark.parametrize("settings", [{"exclude_paths": ["/x"]}, {"sample_rate": 0.0}])
def test_requests_that_are_left_out_leave_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        assert get_current_session() is None
        start_response("200 OK", [])

        def steps() -> Iterator[bytes]:
            assert get_current_session() is None
            yield b"one"

        return steps()

    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path), **settings))
    given = _Server().serve(app, _environ())
    assert list(given) == [b"one"]
    given.close()
    runtime().stop()
    assert cassettes(tmp_path) == []


def _http(path: str = "/x", **more: Any) -> asgi.ConnectionScope:
    headers = [(b"content-length", b"4")]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, **more}


class _Connection:
    """Does what an ASGI server does."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[asgi.Message] = []

    async def receive(self) -> asgi.Message:
        await asyncio.sleep(0)
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}

    async def send(self, message: asgi.Message) -> None:
        await asyncio.sleep(0)
        self.sent.append(message)

    async def serve(self, app: Any, scope: asgi.ConnectionScope) -> None:
        await asgi.serve(app, scope, self.receive, self.send, "mine", lambda scope: "/{x}")


async def _answer(send: asgi.Send, *pieces: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [[b"x-a", b"1"]]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


def test_messages_reach_an_asgi_app_and_its_server_as_they_are(recorded: Recorded) -> None:
    first = {"type": "http.request", "body": b"he", "more_body": True}
    second = {"type": "http.request", "body": b"y!"}
    buffer = bytearray(b"one")

    async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert await receive() is first
        assert await receive() is second
        await _answer(send, buffer)
        buffer[:] = b"two"
        assert (await receive())["type"] == "http.disconnect"
        _call("behind the answer")

    connection = _Connection(first, second)
    # Headers may be any iterable, says the specification.
    scope = _http(headers=iter([(b"content-length", b"4")]))
    asyncio.run(connection.serve(app, scope))
    assert connection.sent[1]["body"] is buffer
    assert scope["headers"] == [(b"content-length", b"4")]
    (cassette,) = recorded()
    assert _called(cassette) == ["behind the answer"]
    assert cassette.request.route_template == "/{x}"
    assert cassette.request.body is not None
    assert (cassette.request.body.data, cassette.request.body.end) == (b"hey!", BodyEnd.COMPLETE)
    assert cassette.response.body is not None
    assert (cassette.response.body.data, cassette.response.body.end) == (b"one", BodyEnd.COMPLETE)


def test_websockets_and_the_lifespan_pass_untouched(recorded: Recorded) -> None:
    connection = _Connection()
    for kind in ("websocket", "lifespan"):

        async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
            assert (receive, send) == (connection.receive, connection.send)

        asyncio.run(connection.serve(app, {"type": kind}))
    assert recorded() == []


def test_a_client_that_leaves_ends_both_bodies_early(recorded: Recorded) -> None:
    async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    connection = _Connection({"type": "http.request", "body": b"he", "more_body": True})
    asyncio.run(connection.serve(app, _http()))
    (cassette,) = recorded()
    assert cassette.request.body is not None
    assert (cassette.request.body.data, cassette.request.body.end) == (b"he", BodyEnd.CUT)
    assert cassette.response.body is not None
    assert (cassette.response.body.data, cassette.response.body.end) == (b"half", BodyEnd.CLOSED)


def test_a_cancelled_request_is_written_and_stays_cancelled(recorded: Recorded) -> None:
    async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(30)

    async def cancelled() -> None:
        task = asyncio.create_task(_Connection().serve(app, _http()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (cassette,) = recorded()
    assert cassette.error_info is None
    assert cassette.response.body is not None
    assert cassette.response.body.end is BodyEnd.CANCELLED


def test_an_error_of_the_app_and_one_of_the_server_pass_through(recorded: Recorded) -> None:
    error = RuntimeError("gone")

    async def failing(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        raise error

    async def answering(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        await _answer(send, b"x")

    class Broken(_Connection):
        async def send(self, message: asgi.Message) -> None:
            raise error

    for connection, app in ((_Connection(), failing), (Broken(), answering)):
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(connection.serve(app, _http()))
        assert caught.value is error
    for cassette in recorded():
        assert cassette.error_info is not None
        assert (cassette.error_info["type"], cassette.error_info["message"]) == ("RuntimeError", "gone")


def test_requests_of_one_connection_are_one_session_each_also_where_they_are_begun_behind_an_answer(
    recorded: Recorded,
) -> None:
    """Servers begin a pipelined request in the context in which the one before sent its last piece."""
    next_one: list[asyncio.Task[None]] = []

    async def second(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        _call("second")
        await _answer(send)

    class Pipelined(_Connection):
        async def send(self, message: asgi.Message) -> None:
            if message["type"] == "http.response.body":
                next_one.append(asyncio.create_task(_Connection().serve(second, _http("/second"))))

    async def first(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        _call("first")
        await _answer(send)
        await asyncio.sleep(0.05)
        _call("behind the first answer")

    async def both() -> None:
        await Pipelined().serve(first, _http("/first"))
        await next_one[0]

    asyncio.run(both())
    assert {cassette.request.path: _called(cassette) for cassette in recorded()} == {
        "/first": ["first", "behind the first answer"],
        "/second": ["second"],
    }


def test_requests_side_by_side_keep_to_themselves(recorded: Recorded) -> None:
    async def app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        async def part(number: int) -> None:
            await asyncio.sleep(0)
            await asyncio.to_thread(_call, f"{scope['path']} {number}")

        await asyncio.gather(part(1), part(2))
        await _answer(send)

    async def all_of_them() -> None:
        await asyncio.gather(*(_Connection().serve(app, _http(f"/{number}")) for number in range(50)))

    asyncio.run(all_of_them())
    found = recorded()
    assert len(found) == 50
    for cassette in found:
        assert sorted(_called(cassette)) == [f"{cassette.request.path} 1", f"{cassette.request.path} 2"]


def test_a_body_read_before_the_session_is_chosen_reaches_the_app_all_the_same(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen_by: list[bytes | None] = []
    began = Runtime.request_began

    def request_began(self: Runtime, incoming: Any) -> Any:
        chosen_by.append(incoming.body)
        return began(self, incoming)

    monkeypatch.setattr(Runtime, "reads_body_first", lambda self, incoming: True)
    monkeypatch.setattr(Runtime, "request_began", request_began)

    def wsgi_app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(3), environ["wsgi.input"].read()]

    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"he", "more_body": True},
        {"type": "http.request", "body": b"y!"},
    ]

    async def asgi_app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        assert [await receive(), await receive()] == messages
        assert (await receive())["type"] == "http.disconnect"
        await _answer(send)

    assert _Server().serve(wsgi_app, _environ()) == [b"hel", b"lo"]
    # Without a length, nothing says that an input ends.
    assert _Server().serve(wsgi_app, _environ({"CONTENT_LENGTH": ""})) == [b"hel", b"lo"]
    asyncio.run(_Connection(*messages).serve(asgi_app, _http()))
    assert chosen_by == [b"hello", b"", b"hey!"]
    assert [cassette.request.body.data for cassette in recorded() if cassette.request.body] == [
        b"hello",
        b"hello",
        b"hey!",
    ]


def test_nothing_is_done_for_a_request_while_nothing_is_recorded() -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        assert type(environ["wsgi.input"]) is io.BytesIO
        return iter([b"one"])

    given = _Server().serve(app, _environ())
    assert type(given).__name__ == "list_iterator"


_NOTES = ["__enter__", "__exit__", "request_chunk", "response_began", "response_chunk", "routed", "end"]


def _raising(*_: Any, **__: Any) -> NoReturn:
    raise KeyError("ours")


@pytest.mark.parametrize("method", _NOTES)
def test_a_fault_of_ours_in_a_request_reaches_neither_the_app_nor_its_server(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def wsgi_app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        write = start_response("201 Created", [("X-A", "1")])
        write(environ["wsgi.input"].read(2))
        yield environ["wsgi.input"].readline()

    async def asgi_app(scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        await _answer(send, (await receive())["body"])

    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(RequestScope, method, _raising)
    server = _Server()
    given = server.serve(wsgi_app, _environ())
    assert (b"".join(given), server.written, server.status) == (b"llo", [b"he"], "201 Created")
    given.close()
    connection = _Connection({"type": "http.request", "body": b"hey!"})
    asyncio.run(connection.serve(asgi_app, _http()))
    assert [message.get("body") for message in connection.sent] == [None, b"hey!", None]


def test_an_error_of_the_app_is_raised_where_a_fault_of_ours_meets_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        raise ValueError("the app's")

    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(RequestScope, "failed_with", _raising)
    with pytest.raises(ValueError, match="the app's"):
        _Server().serve(app, _environ())


def test_a_fault_of_ours_in_the_propagator_leaves_the_context_as_it_was_or_is_a_miss(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "empty.msgpack"
    with record(path):
        pass
    with record(tmp_path / "other.msgpack"):
        monkeypatch.setattr(faults, "raise_faults", False)
        monkeypatch.setattr(propagator, "carried_into", _raising)
        given = otel_context.set_value("mine", 1)
        assert propagate.extract({}, given).get("mine") == 1
    missed = pytest.raises(ReplayMismatchError, match="propagator met a fault of ours")
    with suppress(ReplayFailedError), replay(path), missed:
        propagate.extract({})
