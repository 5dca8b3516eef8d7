"""One small service, written for each web framework: the same paths, with what each framework does of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

__all__ = ["APPS"]

PIECES = [b"one\n", b"two\n", b"three\n"]
FILE = Path(__file__).with_name("_programs.py")


def _upstream(user: int) -> dict[str, Any]:
    return httpx.get(f"{os.environ['UPSTREAM']}/users/{user}").json()


async def _upstream_async(user: int) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{os.environ['UPSTREAM']}/users/{user}")).json()


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route

    async def user(request: Request) -> Response:
        found = await _upstream_async(int(request.path_params["user"]))
        response = JSONResponse({"user": found, "query": str(request.url.query)})
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async def echo(request: Request) -> Response:
        return Response(await request.body(), headers={"X-Kind": request.headers.get("content-type", "")})

    async def first_bytes(request: Request) -> Response:
        async for piece in request.stream():
            return Response(str(len(piece) > 0))
        return Response("none")

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number, piece in enumerate(PIECES):
                await _upstream_async(number)
                yield piece

        return StreamingResponse(pieces(), media_type="text/plain")

    async def boom(request: Request) -> Response:
        await _upstream_async(1)
        raise KeyError("boom")

    async def broken(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"some"
            raise KeyError("broken")

        return StreamingResponse(pieces())

    async def background(request: Request) -> Response:
        async def later() -> None:
            await _upstream_async(7)

        return Response("later", background=BackgroundTask(later))

    async def empty(request: Request) -> Response:
        return Response(status_code=204)

    async def unchanged(request: Request) -> Response:
        return Response(status_code=304, headers={"ETag": '"x"'})

    async def file(request: Request) -> Response:
        return FileResponse(FILE)

    async def moved(request: Request) -> Response:
        return RedirectResponse("/users/1")

    def in_thread(request: Request) -> Response:
        return JSONResponse(_upstream(5))

    routes = [
        Route("/users/{user}", user),
        Route("/echo", echo, methods=["POST"]),
        Route("/first", first_bytes, methods=["POST"]),
        Route("/stream", stream),
        Route("/boom", boom),
        Route("/broken", broken),
        Route("/background", background),
        Route("/empty", empty),
        Route("/unchanged", unchanged),
        Route("/file", file),
        Route("/moved", moved),
        Route("/thread", in_thread),
        Route("/health", in_thread),
    ]
    return Starlette(routes=[*routes, Mount("/inner", app=Starlette(routes=[Route("/users/{user}", user)]))])


def fastapi_app() -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    inner = FastAPI()

    async def user(user: int) -> dict[str, Any]:
        return {"user": await _upstream_async(user)}

    app.get("/users/{user}")(user)
    inner.get("/users/{user}")(user)
    app.mount("/inner", inner)

    @app.get("/thread")
    def in_thread() -> dict[str, Any]:
        return _upstream(5)

    # What the two have in common is tested there.
    app.router.routes += [
        route for route in starlette_app().routes if route.path not in {"/users/{user}", "/inner", "/thread"}
    ]
    return app


def flask_app() -> Any:
    import flask

    app = flask.Flask("service")

    @app.get("/users/<int:user>")
    def user(user: int) -> flask.Response:
        response = flask.jsonify(user=_upstream(user), query=flask.request.query_string.decode())
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.post("/echo")
    def echo() -> flask.Response:
        return flask.Response(flask.request.get_data(), headers={"X-Kind": flask.request.content_type or ""})

    @app.post("/first")
    def first_bytes() -> str:
        return str(len(flask.request.stream.read(10)) > 0)

    @app.get("/stream")
    def stream() -> flask.Response:
        def pieces() -> Iterator[bytes]:
            for number, piece in enumerate(PIECES):
                _upstream(number)
                yield piece

        return flask.Response(flask.stream_with_context(pieces()), mimetype="text/plain")

    @app.get("/boom")
    def boom() -> str:
        _upstream(1)
        raise KeyError("boom")

    @app.get("/broken")
    def broken() -> flask.Response:
        def pieces() -> Iterator[bytes]:
            yield b"some"
            raise KeyError("broken")

        return flask.Response(pieces())

    @app.get("/empty")
    def empty() -> tuple[str, int]:
        return "", 204

    @app.get("/unchanged")
    def unchanged() -> flask.Response:
        return flask.Response(status=304, headers={"ETag": '"x"'})

    @app.get("/file")
    def file() -> flask.Response:
        return flask.send_file(FILE, etag=False, last_modified=1.0)

    @app.get("/moved")
    def moved() -> Any:
        return flask.redirect("/users/1")

    @app.get("/thread")
    @app.get("/health")
    def in_thread() -> dict[str, Any]:
        return _upstream(5)

    return app


def _django_urls() -> list[Any]:
    from django.http import (
        FileResponse,
        HttpRequest,
        HttpResponse,
        HttpResponseRedirect,
        JsonResponse,
        StreamingHttpResponse,
    )
    from django.urls import path

    def user(request: HttpRequest, user: int) -> HttpResponse:
        response = JsonResponse({"user": _upstream(user), "query": request.META["QUERY_STRING"]})
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    def echo(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.body, headers={"X-Kind": request.content_type or ""})

    def first_bytes(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(len(request.read(10)) > 0))

    def stream(request: HttpRequest) -> Any:
        def pieces() -> Iterator[bytes]:
            for number, piece in enumerate(PIECES):
                _upstream(number)
                yield piece

        return StreamingHttpResponse(pieces(), content_type="text/plain")

    def boom(request: HttpRequest) -> HttpResponse:
        _upstream(1)
        raise KeyError("boom")

    def file(request: HttpRequest) -> Any:
        return FileResponse(FILE.open("rb"))

    def in_thread(request: HttpRequest) -> HttpResponse:
        return JsonResponse(_upstream(5))

    return [
        path("users/<int:user>", user),
        path("echo", echo),
        path("first", first_bytes),
        path("stream", stream),
        path("boom", boom),
        path("empty", lambda request: HttpResponse(status=204)),
        path("unchanged", lambda request: HttpResponse(status=304, headers={"ETag": '"x"'})),
        path("file", file),
        path("moved", lambda request: HttpResponseRedirect("/users/1")),
        path("thread", in_thread),
        path("health", in_thread),
    ]


def django_wsgi_app() -> Any:
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def django_asgi_app() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def __getattr__(name: str) -> Any:
    # Django asks for the list once it is set up.
    if name == "urlpatterns":
        return _django_urls()
    raise AttributeError(name)


APPS: dict[str, Callable[[], Any]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "flask": flask_app,
    "django-wsgi": django_wsgi_app,
    "django-asgi": django_asgi_app,
}
