"""Sends requests to the apps of a file, whatever its imports are, and prints in JSON what they answer.

Arguments: the module with the apps, the mode, and the folder: of the cassettes, or of the cassettes to replay, which
has a folder for each app with ``GET`` and ``POST`` files. Prints the answers by app.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

USER, ORDERS, ORDER = "/users/7?b=2", "/orders", {"sku": "tea", "n": 2}
Send = Callable[[Any, str], Any]
"""Sends the request of a method to an app of a configuration."""


def asgi(app: Any, method: str) -> Any:
    from starlette.testclient import TestClient

    with TestClient(app) as client:
        answer = client.get(USER) if method == "GET" else client.post(ORDERS, json=ORDER)
        return answer.status_code, answer.json()


def wsgi(app: Any, method: str) -> Any:
    client = app.test_client()
    answer = client.get(USER) if method == "GET" else client.post(ORDERS, json=ORDER)
    return answer.status_code, answer.get_json()


def django(project: Any, settings: dict[str, Any], method: str) -> Any:
    from django.conf import settings as of_django
    from django.test import Client, override_settings

    if not of_django.configured:
        of_django.configure(ROOT_URLCONF=project, ALLOWED_HOSTS=["*"], MIDDLEWARE=project.MIDDLEWARE, SECRET_KEY="x")
        import_module("django").setup()
    with override_settings(TIMETRACER=settings):
        client = Client()
        if method == "GET":
            answer = client.get(USER)
        else:
            answer = client.post(ORDERS, ORDER, content_type="application/json")
        return answer.status_code, answer.json()


def main(module: str, mode: str, folder: str) -> dict[str, Any]:
    apps = import_module(module)
    told: dict[str, Any] = {}
    project = apps.django_project()
    for name in ("fastapi", "starlette", "flask", "django"):
        told[name] = []
        for method in ("GET", "POST"):
            where: dict[str, Any] = {}
            if mode == "record":
                where = {"cassette_dir": f"{folder}/{name}"}
            elif mode == "replay":
                (path,) = (each for each in Path(folder, name).rglob(f"{method}*") if each.suffix == ".msgpack")
                where = {"cassette_path": str(path)}
            if name == "django":
                settings = {"MODE": mode, **{field.upper(): value for field, value in where.items()}}
                told[name].append(django(project, settings, method))
            else:
                app = getattr(apps, f"{name}_app")(apps.TraceConfig(mode=mode, **where))
                told[name].append((wsgi if name == "flask" else asgi)(app, method))
    return told


if __name__ == "__main__":
    real, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(main(*sys.argv[1:])), file=real)
