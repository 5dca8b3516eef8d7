"""A service of Django: its settings, and what it does with a request. Each request runs what it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["serve", "service"]

Act = Callable[[str], "tuple[int, list[tuple[str, str]], bytes]"]

SECRET_KEY = os.environ.get("PLANTED_DJANGO_KEY", "test")
DEBUG = True
ALLOWED_HOSTS = ["*"]
LOGGING_CONFIG = None
ROOT_URLCONF = "tests.planted.django_service"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ.get("PLANTED_REDIS", ""),
    }
}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
API_TOKEN = os.environ.get("PLANTED_DJANGO_KEY", "test") + "token"

acts: dict[str, Act] = {}


def service(request: Any, path: str = "") -> Any:
    """The one view."""
    from django.http import HttpResponse

    request.body  # noqa: B018 - reads it
    name = request.headers["x-act"]
    if name in django_acts:
        return django_acts[name](request)
    status, headers, body = acts["act"](name)
    response = HttpResponse(body, status=status)
    for header, value in headers:
        response[header] = value
    return response


django_acts: dict[str, Callable[[Any], Any]] = {}


def __getattr__(name: str) -> Any:
    # Django asks for the list once it is set up.
    if name == "urlpatterns":
        from django.urls import re_path

        return [re_path("^(?P<path>.*)$", service)]
    raise AttributeError(name)


def serve(act: Act, port: int) -> None:
    """Serve it in a thread."""
    import logging
    import threading

    from django.core.wsgi import get_wsgi_application
    from werkzeug.serving import make_server

    acts["act"] = act
    logging.getLogger("django").setLevel(logging.CRITICAL + 1)
    server = make_server("127.0.0.1", port, get_wsgi_application(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
