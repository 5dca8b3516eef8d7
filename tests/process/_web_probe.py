"""A program: serve one of the apps over HTTP, ask it a fixed list of requests, and print what came back as JSON.

``python -m tests.process._web_probe APP TRACING``, with TRACING one of

- ``none``: no OpenTelemetry at all;
- ``framework``: the framework's own instrumentor, switched on before ours;
- ``after``: the same, switched on after the app was made and ours was switched on;
- ``unsampled``: as ``framework``, with the sampler ``always_off``;
- ``outside``: the app wrapped in OpenTelemetry's middleware by hand, with no instrumentor.

Recording is switched on by ``TIMETRACER_MODE``, as a program does that sets OpenTelemetry up by hand.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.process._web_apps import APPS
from timetracer_otel.constants import CASSETTE_ATTRIBUTE

LARGE = b"x" * 700_000
PIECE = 65_536
SECRET = b'{"a": 1, "password": "geheim"}'
REQUESTS: list[tuple[str, str, dict[str, str], bytes | None]] = [
    ("GET", "/users/3?q=a%20b&q=c&token=geheim", {"Authorization": "Bearer geheim"}, None),
    ("HEAD", "/users/3", {}, None),
    ("POST", "/echo", {"Content-Type": "application/json"}, SECRET),
    ("POST", "/echo", {"Content-Type": "application/octet-stream"}, LARGE),
    ("POST", "/echo", {}, b""),
    ("POST", "/first", {}, LARGE),
    ("GET", "/stream", {}, None),
    ("GET", "/boom", {}, None),
    ("GET", "/broken", {}, None),
    ("GET", "/background", {}, None),
    ("GET", "/empty", {}, None),
    ("GET", "/unchanged", {}, None),
    ("GET", "/file", {}, None),
    ("GET", "/moved", {}, None),
    ("GET", "/thread", {}, None),
    ("GET", "/health", {}, None),
    ("GET", "/inner/users/4", {}, None),
    ("GET", "/no/such/path", {}, None),
]


def main() -> None:
    """Ask everything, and print."""
    name, tracing = sys.argv[1:3]
    logging.getLogger().addHandler(logging.NullHandler())
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.process._django_settings"
    if tracing != "none":
        _set_provider(unsampled=tracing == "unsampled")
    if tracing in {"framework", "unsampled"}:
        _instrumentor(name).instrument()
    from timetracer_otel.otel.instrumentor import TimetracerInstrumentor

    made_before = tracing in {"none", "after"}
    app = APPS[name]() if made_before else None
    TimetracerInstrumentor().instrument()
    if tracing == "after" and name in {"starlette", "fastapi", "flask"}:
        _instrumentor(name).instrument_app(app)
    app = app or APPS[name]()
    if tracing == "outside":
        app = _outside(name, app)
    answers = []
    with _served(name, app) as port:
        for number, (method, target, headers, body) in enumerate(REQUESTS):
            answers.append(_ask(port, method, target, {**headers, "X-Number": str(number)}, body))
        time.sleep(0.3)
    exported = _exported.get_finished_spans() if _exported is not None else ()
    named = [
        [span.name, span.attributes[CASSETTE_ATTRIBUTE], f"{span.context.trace_id:032x}"]
        for span in exported
        if CASSETTE_ATTRIBUTE in span.attributes
    ]
    spans = sorted(span.name for span in exported)
    json.dump({"answers": answers, "spans": spans, "named": sorted(named)}, sys.stdout)


_exported: Any = None


def _set_provider(unsampled: bool) -> None:
    global _exported
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    _exported = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF if unsampled else ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(_exported))
    trace.set_tracer_provider(provider)


def _instrumentor(name: str) -> Any:
    if name == "starlette":
        from opentelemetry.instrumentation.starlette import StarletteInstrumentor

        return StarletteInstrumentor()
    if name == "fastapi":
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        return FastAPIInstrumentor()
    if name == "flask":
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        return FlaskInstrumentor()
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    return DjangoInstrumentor()


def _outside(name: str, app: Any) -> Any:
    if name in {"flask", "django-wsgi"}:
        from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WsgiMiddleware

        return WsgiMiddleware(app)
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as AsgiMiddleware

    return AsgiMiddleware(app)


@contextmanager
def _served(name: str, app: Any) -> Iterator[int]:
    serve = _serve_wsgi if name in {"flask", "django-wsgi"} else _serve_asgi
    port, stop = serve(app)
    try:
        yield port
    finally:
        stop()


def _serve_wsgi(app: Any) -> tuple[int, Callable[[], None]]:
    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def get_stderr(self) -> Any:
            return open(os.devnull, "w")

    class Own(WSGIServer):
        # Of two servers that may take an address again, and leave the port to the system, the second one is now and
        # then given the port of the first.
        allow_reuse_address = False

    server = Own(("127.0.0.1", 0), Quiet)
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return server.server_port, stop


def _serve_asgi(app: Any) -> tuple[int, Callable[[], None]]:
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(_in_even_pieces(app), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()
        listening.close()

    return listening.getsockname()[1], stop


def _in_even_pieces(app: Any) -> Any:
    """The app, given each request's body in pieces of one size, however the network cut it.

    Each piece makes a span "http receive", so without this two runs differ in their number of spans.
    """

    async def served(scope: Any, receive: Any, send: Any) -> None:
        held, arrived, ended = b"", False, False

        async def receive_even() -> Any:
            nonlocal held, arrived, ended
            while not arrived and len(held) < PIECE:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                held += message["body"]
                arrived = not message["more_body"]
            if ended:
                return await receive()
            piece, held = held[:PIECE], held[PIECE:]
            ended = arrived and not held
            return {"type": "http.request", "body": piece, "more_body": not ended}

        await app(scope, receive_even, send)

    return served


def _ask(port: int, method: str, target: str, headers: dict[str, str], body: bytes | None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        # The client stands for another program: a replay of this one lets it go out.
        with suppress_instrumentation():
            connection.request(method, target, body=body, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        seen: dict[str, Any] = {
            "request": f"{method} {target}",
            "status": response.status,
            "headers": [pair for pair in response.getheaders() if pair[0].lower() != "date"],
        }
        try:
            seen["body"] = response.read().decode("latin-1")
        except http.client.HTTPException as error:
            seen["body"] = repr(error)
    except (http.client.HTTPException, OSError) as error:
        seen = {"request": f"{method} {target}", "error": repr(error)}
    finally:
        connection.close()
    return seen


if __name__ == "__main__":
    main()
