"""A service whose upstream answers 500: ``python -m tests.verify._failing FRAMEWORK PORT UPSTREAM``.

``/orders/7`` fails by an exception of the app's own code. ``/stock`` makes an answer of the upstream's failure.
With ``REPAIRED`` in the environment, the first one is mended. Tests import the apps as well, with the address of the
upstream in ``UPSTREAM``.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from wsgiref.simple_server import make_server

import httpx

UPSTREAM = sys.argv[3] if __name__ == "__main__" else os.environ["UPSTREAM"]


def order(number: int) -> dict[str, Any]:
    found = httpx.get(f"{UPSTREAM}/users/{number}").json()
    stock = httpx.get(f"{UPSTREAM}/failing")
    if "REPAIRED" in os.environ:
        return {"found": found, "left": 0}
    left = stock.json()["left"]
    return {"found": found, "left": left}


def starlette_app() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def orders(request: Request) -> JSONResponse:
        return JSONResponse(order(request.path_params["number"]))

    def stock(request: Request) -> JSONResponse:
        return JSONResponse({"upstream": httpx.get(f"{UPSTREAM}/failing").status_code}, status_code=502)

    return Starlette(routes=[Route("/orders/{number:int}", orders), Route("/stock", stock)])


def flask_app() -> Any:
    from flask import Flask

    app = Flask(__name__)
    app.add_url_rule("/orders/<int:number>", view_func=order)
    return app


def django_app() -> Any:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    def orders(request: HttpRequest, number: int) -> JsonResponse:
        return JsonResponse(order(number))

    sys.modules["failing_urls"] = type(sys)("failing_urls")
    sys.modules["failing_urls"].urlpatterns = [path("orders/<int:number>", orders)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = "failing_urls"  # in the settings that the environment names
    django.setup()
    return WSGIHandler()


def serve(framework: str, port: int) -> None:
    if framework == "starlette":
        import uvicorn

        uvicorn.run(starlette_app(), port=port, log_level="error")
        return
    with make_server("127.0.0.1", port, flask_app() if framework == "flask" else django_app()) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
