"""Workloads of requests that come in: apps that a server calls.

The server is a few lines here, so that each line of a workload is what a server sees of one request. The process
records or replays as a whole, as `TIMETRACER_MODE` says. A provider of traces is set, and OpenTelemetry's own
instrumentor of the framework is switched on, so that spans begin and end around the app.

In the workloads of `OWN_MIDDLEWARES`, a middleware that the app has added to itself does it, without spans.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["INCOMING", "OWN_MIDDLEWARES", "django_servers", "read"]

_BODY = b'{"password": "Hm4kLq9sWe", "a": 1}'
_SECRETS = {"Authorization": "Bearer Zq8vT41xKw0pLm7"}
_REQUESTS = (
    ("GET", "/users/1?q=%C3%A9&token=Zq8vT41xKw0p", b""),
    ("POST", "/echo", _BODY),
    ("GET", "/stream", b""),
    ("GET", "/boom", b""),
    ("GET", "/nowhere", b""),
)
_OWN_REQUESTS = (("POST", "/echo", _BODY), ("GET", "/stream", b""))
"""Those to an app whose middleware replays one cassette: one of them makes calls."""


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


def _served_async(app: Any, requests: Iterable[tuple[str, str, bytes]] = _REQUESTS) -> list[str]:
    async def main() -> list[str]:
        return [await seen_async(partial(_asked, app, *request)) for request in requests]

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


def _served(app: Any, requests: Iterable[tuple[str, str, bytes]] = _REQUESTS) -> list[str]:
    return [seen(partial(_called, app, *request)) for request in requests]


def _made(make: Callable[[Servers], Any], servers: Servers) -> Any:
    """The app that a function makes, once for each environment. Its middleware reads that, and our faults shall be
    in requests.
    """
    return _made_once(
        make, servers, *sorted(item for item in os.environ.items() if item[0].startswith("TIMETRACER_"))
    )


@lru_cache
def _made_once(make: Callable[[Servers], Any], servers: Servers, *_: tuple[str, str]) -> Any:
    return make(servers)


def _starlette(servers: Servers) -> Any:
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

    return Starlette(
        routes=[
            Route("/users/{user}", user),
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/boom", boom),
        ]
    )


def starlette(servers: Servers) -> list[str]:
    from opentelemetry.instrumentation.starlette import StarletteInstrumentor

    _traced()
    app = _starlette(servers)
    StarletteInstrumentor.instrument_app(app)
    return _served_async(app)


def _own_starlette(servers: Servers) -> Any:
    from timetracer_otel.integrations.starlette import TimeTracerMiddleware

    app = _starlette(servers)
    app.add_middleware(TimeTracerMiddleware)
    return app


def own_starlette(servers: Servers) -> list[str]:
    return _served_async(_made(_own_starlette, servers), _OWN_REQUESTS)


def _flask(servers: Servers) -> Any:
    from flask import Flask, Response, request

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

    return app


def flask(servers: Servers) -> list[str]:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    _traced()
    app = _flask(servers)
    FlaskInstrumentor().instrument_app(app)
    return _served(app)


def _own_flask(servers: Servers) -> Any:
    from timetracer_otel.integrations.flask import init_app

    app = _flask(servers)
    init_app(app)
    return app


def own_flask(servers: Servers) -> list[str]:
    return _served(_made(_own_flask, servers), _OWN_REQUESTS)


django_servers: list[Servers] = []


def _set_up_django(servers: Servers, *middlewares: str) -> None:
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
            MIDDLEWARE=middlewares,
        )
        django.setup()


def django(servers: Servers) -> list[str]:
    _set_up_django(servers)
    from django.core.handlers.wsgi import WSGIHandler

    return _served(WSGIHandler())


def _own_django(servers: Servers) -> Any:
    _set_up_django(servers, "timetracer_otel.integrations.django.TimeTracerMiddleware")
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def own_django(servers: Servers) -> list[str]:
    return _served(_made(_own_django, servers), _OWN_REQUESTS)


_OWN = (own_starlette, own_flask, own_django)
OWN_MIDDLEWARES = {work.__name__ for work in _OWN}
INCOMING: dict[str, Callable[[Servers], list[str]]] = {
    work.__name__: work for work in (starlette, flask, django, *_OWN)
}
