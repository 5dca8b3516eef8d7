"""Calls an ASGI or WSGI app of this process with a recorded request, as a server would: no port, no process.

ASGI: https://asgi.readthedocs.io, version 3, with the lifespan of the app around the request. WSGI: PEP 3333.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import ConfigurationError, TimetracerError
from timetracer_otel.incoming import debugging, frameworks
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.types import HeaderMap, HeaderPairs, RequestSnapshot, header_pairs
from timetracer_otel.verify.planning import target_of
from timetracer_otel.verify.sender import Answer, body_of

__all__ = ["Called", "app_named", "call_app"]

_FORM = "module:app, or module:factory() for a function that makes the app"
_SERVER = ("127.0.0.1", 80)
_CLIENT = ("127.0.0.1", 50000)


class Called(NamedTuple):
    """What came of a request."""

    answer: Answer | None
    """None where the app raised before it had begun to answer."""
    error: BaseException | None
    """What the app raised, or what its framework made an answer of."""


class _Listener:
    """Is told of the exception by which a request fails."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def failed(self, line: str, error: BaseException | None) -> None:
        self.error = error


class _Response:
    """What the app gave."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: HeaderPairs = ()
        self.pieces: list[bytes] = []


def app_named(name: str) -> Any:
    """The app of a text like ``shop:app`` or ``shop:make_app()``. Its module is imported where it is not yet.

    A module that is not found otherwise is looked for in the current folder, as servers do.

    Raises:
        ConfigurationError: There is no such module, or nothing of that name in it.
    """
    module_name, colon, path = name.partition(":")
    is_factory = path.endswith("()")
    path = path.removesuffix("()")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise ConfigurationError(f"app: {name!r} is not allowed. Allowed: {_FORM}.")
    try:
        found: Any = _imported(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"app: there is no module {error.name!r}. {name!r} was asked for.") from None
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"app: {module_name} has no {path!r}. {name!r} was asked for.")
        found = getattr(found, part)
    return found() if is_factory else found


def _imported(module_name: str) -> Any:
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        return import_module(module_name)
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise
    sys.path.insert(0, here)
    return import_module(module_name)


def call_app(app: Any, request: RequestSnapshot, changes: Mapping[str, str]) -> Called:
    """Send a recorded request to an app of this process.

    Args:
        app: An ASGI or WSGI app.
        request: The request. It is sent with its headers in their order.
        changes: Values of headers to replace, by name in lower case.

    Raises:
        ConfigurationError: It is no such app.
        TimetracerError: The start-up of the app made a call that has no recorded answer.
    """
    body = body_of(request)
    incoming = IncomingRequest(
        method=request.method,
        path=request.path,
        target=target_of(request),
        headers=_headers(request, body, changes),
        client_ip=request.client_ip,
        body=body,
    )
    serve = _serve_asgi if _is_asgi(app) else _serve_wsgi
    response, listener = _Response(), _Listener()
    before, debugging.active = debugging.active, listener
    frameworks.install(lambda _: True)
    began_s = time.monotonic()
    error: BaseException | None = None
    try:
        serve(app, incoming, response)
    except Exception as raised:
        if isinstance(raised, TimetracerError) and not response.status:
            raise
        error = raised
    finally:
        frameworks.remove()
        debugging.active = before
    answer = None
    if response.status:
        data = b"".join(response.pieces)
        answer = Answer(response.status, HeaderMap(response.headers), data, time.monotonic() - began_s)
    return Called(answer, error or listener.error)


def _headers(request: RequestSnapshot, body: bytes, changes: Mapping[str, str]) -> HeaderPairs:
    """The recorded header lines, as a server gives them: without the framing of the body."""
    left = {name.lower(): value for name, value in changes.items()}
    lines = []
    for key, value in header_pairs(request.headers):
        name = key.decode("latin-1").lower()
        if name in ("content-length", "transfer-encoding"):
            continue
        if name in left:
            value = left[name].encode("latin-1")
        lines.append((key, value))
    named = {key.decode("latin-1").lower() for key, _ in lines}
    lines += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in left.items() if name not in named]
    if body or request.headers.get("content-length") is not None:
        lines.append((b"content-length", str(len(body)).encode()))
    return tuple(lines)


def _is_asgi(app: Any) -> bool:
    if not callable(app):
        raise ConfigurationError(f"app: {app!r} is no ASGI or WSGI app: it cannot be called. Name {_FORM}.")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind in (0, 1)]
    return len(needed) == 3


def _server(incoming: IncomingRequest) -> tuple[str, int]:
    host = next((value.decode("latin-1") for name, value in incoming.headers if name.lower() == b"host"), "")
    name, _, port = host.rpartition(":")
    return (name, int(port)) if port.isdigit() and name else (host or _SERVER[0], _SERVER[1])


def _serve_wsgi(app: Callable[..., Iterable[bytes]], incoming: IncomingRequest, response: _Response) -> None:
    host, port = _server(incoming)
    path, _, query = incoming.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": incoming.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "RAW_URI": incoming.target,
        "REQUEST_URI": incoming.target,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": incoming.client_ip or _CLIENT[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": incoming.scheme,
        "wsgi.input": io.BytesIO(incoming.body or b""),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in incoming.headers:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ and key.startswith("HTTP_") else text
    scope = RequestScope(incoming, get_current_session())

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        response.status = int(status.partition(" ")[0])
        response.headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
        scope.response_began(response.status, response.headers)
        return response.pieces.append

    with _current(scope):
        pieces = app(environ, start_response)
        try:
            response.pieces.extend(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


def _serve_asgi(app: Any, incoming: IncomingRequest, response: _Response) -> None:
    asyncio.run(_asgi(app, incoming, response))


async def _asgi(app: Any, incoming: IncomingRequest, response: _Response) -> None:
    host, port = _server(incoming)
    path, _, query = incoming.target.partition("?")
    async with _Lifespan(app) as state:
        connection: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": incoming.method,
            "scheme": incoming.scheme,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in incoming.headers],
            "server": (host, port),
            "client": (incoming.client_ip or _CLIENT[0], _CLIENT[1]),
            "state": dict(state),
            "extensions": {},
        }
        scope = RequestScope(incoming, get_current_session())
        given, answered = False, asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": incoming.body or b"", "more_body": False}
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers") or ())
                scope.response_began(response.status, response.headers)
            elif message["type"] == "http.response.body":
                response.pieces.append(bytes(message.get("body") or b""))
                if not message.get("more_body"):
                    answered.set()

        with _current(scope):
            await app(connection, receive, send)


class _current:  # noqa: N801 - used like a function
    """The request is the current one in a block, and ends with it."""

    def __init__(self, scope: RequestScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._scope.failed_with(error)
        self._scope.__exit__(kind, error, traceback)
        self._scope.end()


class _Lifespan:
    """The app is started before a block and shut down after it, where it takes part in that."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._events: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[MutableMapping[str, Any] | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._state: dict[str, Any] = {}

    async def __aenter__(self) -> dict[str, Any]:
        self._task = asyncio.create_task(self._run())
        await self._events.put({"type": "lifespan.startup"})
        said = await self._said.get()
        if said is None or said["type"] == "lifespan.startup.failed":
            task, self._task = self._task, None
            error = (await asyncio.gather(task, return_exceptions=True))[0]
            if said is not None:
                raise error if isinstance(error, BaseException) else RuntimeError(said.get("message"))
            # Without a word: it is an app that knows no lifespan.
            if isinstance(error, TimetracerError):
                raise error
        return self._state

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            await self._events.put({"type": "lifespan.shutdown"})
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._events.get, self._said.put)
        finally:
            await self._said.put(None)
