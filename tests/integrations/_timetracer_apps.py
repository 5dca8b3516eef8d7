"""Apps as they are written for the package timetracer 1.6, one for each way in which an app sets it up.

A test copies this file, and changes its imports by the command of the page on moving.
"""

import os
from types import ModuleType
from typing import Any

import httpx
import requests
from timetracer.config import TraceConfig
from timetracer.plugins import enable_httpx, enable_requests

UPSTREAM = os.environ["UPSTREAM"]


def fastapi_app(config: TraceConfig) -> Any:
    from fastapi import FastAPI
    from timetracer.integrations.fastapi import auto_setup

    app = FastAPI()

    @app.get("/users/{user}")
    async def user(user: int) -> Any:
        async with httpx.AsyncClient() as client:
            found = (await client.get(f"{UPSTREAM}/users/{user}")).json()
            return {"found": found, "counted": (await client.get(f"{UPSTREAM}/counted")).json()}

    @app.post("/orders")
    async def orders(order: dict[str, Any]) -> Any:
        async with httpx.AsyncClient() as client:
            return {"order": order, "fresh": (await client.get(f"{UPSTREAM}/fresh")).json()}

    return auto_setup(app, config=config, plugins=["httpx", "requests"])


def starlette_app(config: TraceConfig) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from timetracer.integrations.starlette import TimeTracerMiddleware

    async def user(request: Request) -> JSONResponse:
        async with httpx.AsyncClient() as client:
            found = (await client.get(f"{UPSTREAM}/users/{request.path_params['user']}")).json()
            return JSONResponse({"found": found, "counted": (await client.get(f"{UPSTREAM}/counted")).json()})

    async def orders(request: Request) -> JSONResponse:
        async with httpx.AsyncClient() as client:
            fresh = (await client.get(f"{UPSTREAM}/fresh")).json()
        return JSONResponse({"order": await request.json(), "fresh": fresh})

    app = Starlette(routes=[Route("/users/{user}", user), Route("/orders", orders, methods=["POST"])])
    app.add_middleware(TimeTracerMiddleware, config=config)
    enable_httpx()
    return app


def flask_app(config: TraceConfig) -> Any:
    from flask import Flask, request
    from timetracer.integrations.flask import init_app

    app = Flask("shop")

    @app.get("/users/<int:user>")
    def user(user: int) -> Any:
        found = requests.get(f"{UPSTREAM}/users/{user}").json()
        return {"found": found, "counted": requests.get(f"{UPSTREAM}/counted").json()}

    @app.post("/orders")
    def orders() -> Any:
        return {"order": request.get_json(), "fresh": requests.get(f"{UPSTREAM}/fresh").json()}

    init_app(app, config)
    enable_requests()
    return app


def django_project() -> ModuleType:
    """Settings and URLs in one module, as in a project of one file."""
    from django.http import HttpRequest, JsonResponse
    from django.urls import path
    from timetracer.integrations.django import auto_setup

    def user(request: HttpRequest, user: int) -> JsonResponse:
        found = requests.get(f"{UPSTREAM}/users/{user}").json()
        return JsonResponse({"found": found, "counted": requests.get(f"{UPSTREAM}/counted").json()})

    def orders(request: HttpRequest) -> JsonResponse:
        import json

        fresh = requests.get(f"{UPSTREAM}/fresh").json()
        return JsonResponse({"order": json.loads(request.body), "fresh": fresh})

    project: Any = ModuleType("project")
    project.urlpatterns = [path("users/<int:user>", user), path("orders", orders)]
    project.MIDDLEWARE = ["timetracer.integrations.django.TimeTracerMiddleware"]
    auto_setup(plugins=["requests"])
    return project
