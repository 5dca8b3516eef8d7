"""Workloads of requests that come in: apps that a server calls.

The server is a few lines here, so that each line of a workload is what a server sees of one request. The process
records or replays as a whole, as `TIMETRACER_MODE` says. A provider of traces is set, and OpenTelemetry's own
instrumentor of the framework is switched on, so that spans begin and end around the app.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["INCOMING", "django_servers", "read"]

_BODY = b'{"password": "Hm4kLq9sWe", "a": 1}'
_SECRETS = {"Authorization": "Bearer Zq8vT41xKw0pLm7"}
_REQUESTS = (
    ("GET", "/users/1?q=%C3%A9&token=Zq8vT41xKw0p", b""),
    ("POST", "/echo", _BODY),
    ("GET", "/stream", b""),
    ("GET", "/boom", b""),
    ("GET", "/nowhere", b""),
)


def _traced() -> None:
    """Set a provider of traces, once in a process."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())


def read(servers: Servers, user: int) -> str:
    import httpx

    return seen(lambda: httpx.get(f"{servers.http}/users/{user}", verify=False).json())


async def _read_async(servers: Servers, user: int) -> str:
    import httpx

    async def read() -> Any:
        async with httpx.AsyncClient(verify=False) as client:
            return (await client.get(f"{servers.http}/users/{user}")).json()

    return await seen_async(read)


async def _asked(app: Any, method: str, target: str, body: bytes) -> Any:
    """What an ASGI server sees of a request whose body comes in two pieces."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"app"),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in _SECRETS.items()),
        ],
        "client": ("127.0.0.1", 5000),
        "server": ("app", 80),
    }
    pieces = [
        {"type": "http.request", "body": body[:5], "more_body": True},
        {"type": "http.request", "body": body[5:]},
    ]
    sent: list[Any] = []
    over = asyncio.Event()

    async def receive() -> Any:
        if pieces:
            return pieces.pop(0)
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append([message["type"], message.get("status"), message.get("body")])
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    await app(scope, receive, send)
    return sent


def _served_async(make: Callable[[Servers], Any], servers: Servers) -> list[str]:
    app = make(servers)

    async def main() -> list[str]:
        return [await seen_async(partial(_asked, app, *request)) for request in _REQUESTS]

    return asyncio.run(main())


def _called(app: Any, method: str, target: str, body: bytes) -> Any:
    """What a WSGI server sees of a request."""
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "app",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json" if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "HTTP_HOST": "app",
        **{f"HTTP_{name.upper()}": value for name, value in _SECRETS.items()},
    }
    sent: list[Any] = []

    def start_response(status: str, headers: Any, *_: Any) -> Callable[[bytes], None]:
        sent.append(status)
        return sent.append

    response: Iterable[bytes] = app(environ, start_response)
    try:
        sent.extend(response)
    finally:
        close = getattr(response, "close", None)
        if close is not None:
            close()
    return sent


def _served(make: Callable[[Servers], Any], servers: Servers) -> list[str]:
    app = make(servers)
    return [seen(partial(_called, app, *request)) for request in _REQUESTS]


def _starlette(servers: Servers) -> Any:
    from opentelemetry.instrumentation.starlette import StarletteInstrumentor
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    async def user(request: Request) -> Response:
        async def later() -> None:
            await _read_async(servers, 7)

        found = await _read_async(servers, int(request.path_params["user"]))
        return Response(found, background=BackgroundTask(later))

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def stream(_: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for number in range(2):
                yield await _read_async(servers, number)

        return StreamingResponse(pieces())

    async def boom(_: Request) -> Response:
        raise KeyError("boom")

    app = Starlette(
        routes=[
            Route("/users/{user}", user),
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/boom", boom),
        ]
    )
    StarletteInstrumentor.instrument_app(app)
    return app


def starlette(servers: Servers) -> list[str]:
    _traced()
    return _served_async(_starlette, servers)


def _flask(servers: Servers) -> Any:
    from flask import Flask, Response, request
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    app = Flask("injected")
    # The server sees what was raised, so that a miss is seen as one.
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.get("/users/<int:user>")
    def user(user: int) -> str:
        return read(servers, user)

    @app.post("/echo")
    def echo() -> Response:
        return Response(iter([request.stream.read(5), request.stream.read()]))

    @app.get("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[str]:
            for number in range(2):
                yield read(servers, number)

        return Response(pieces())

    @app.get("/boom")
    def boom() -> str:
        raise KeyError("boom")

    FlaskInstrumentor().instrument_app(app)
    return app


def flask(servers: Servers) -> list[str]:
    _traced()
    return _served(_flask, servers)


django_servers: list[Servers] = []


def _set_up_django(servers: Servers) -> None:
    import django
    from django.conf import settings

    django_servers[:] = [servers]
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF="tests.suite_injection.django_urls",
            SECRET_KEY="injected",
            ALLOWED_HOSTS=["*"],
            LOGGING_CONFIG=None,
            DEBUG_PROPAGATE_EXCEPTIONS=True,
        )
        django.setup()


def django(servers: Servers) -> list[str]:
    _set_up_django(servers)
    from django.core.handlers.wsgi import WSGIHandler

    return _served(lambda _: WSGIHandler(), servers)


INCOMING: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (starlette, flask, django)}
