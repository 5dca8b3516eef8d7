"""Where the middlewares go: innermost around each app of the web frameworks, made before or later.

A framework's module is patched when it is there and never imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.incoming import asgi, wsgi
from timetracer_otel.incoming.scope import current_scope

__all__ = ["install", "remove"]


def _asgi_seam(framework: str) -> Callable[[Function], Function]:
    def wrap(original: Function) -> Function:
        # Servers tell ASGI 3 apps by their being coroutine functions.
        async def __call__(self: Any, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:  # noqa: N807
            await asgi.serve(original.__get__(self), scope, receive, send, framework, _starlette_route)

        return __call__

    return wrap


def _wsgi_seam(framework: str) -> Callable[[Function], Function]:
    def wrap(original: Function) -> Function:
        def __call__(self: Any, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:  # noqa: N807
            return wsgi.serve(original.__get__(self), environ, start_response, framework, _flask_route)

        return __call__

    return wrap


def _starlette_route(scope: asgi.Scope) -> str | None:
    # Where FastAPI says it, the path with the prefixes of the routers that the route is included in.
    own = scope.get("fastapi")
    effective = own.get("effective_route_context") if isinstance(own, dict) else None
    path = getattr(effective, "path", None) or getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        return None
    root_path: str = scope.get("root_path", "")
    # Mounted apps: the path from where the outermost app stands to the one that has the route.
    return root_path.removeprefix(scope.get("app_root_path", root_path)) + path


def _flask_route(environ: wsgi.Environ) -> str | None:
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return getattr(rule, "rule", None)


def _noting_django_route(original: Function) -> Function:
    def resolve_request(self: Any, request: Any) -> Any:
        match = original(self, request)
        scope = current_scope()
        route = getattr(match, "route", None)
        if scope is not None and route is not None:
            scope.route = "/" + route.removeprefix("/")
        return match

    return resolve_request


def _on(owner: str, name: str, wrap: Callable[[Function], Function]) -> Callable[[ModuleType], list[Patch]]:
    def patches(module: ModuleType) -> list[Patch]:
        # OpenTelemetry's instrumentors put a subclass in the place of an app's class.
        classes = getattr(module, owner).__mro__
        return [
            Patch(found, name, wrap)
            for found in classes
            if found.__module__ == module.__name__ and name in found.__dict__
        ][:1]

    return patches


_FRAMEWORKS: Sequence[Seams] = (
    Seams("fastapi", ["fastapi.applications"], _on("FastAPI", "__call__", _asgi_seam("fastapi"))),
    Seams("starlette", ["starlette.applications"], _on("Starlette", "__call__", _asgi_seam("starlette"))),
    Seams("flask", ["flask.app"], _on("Flask", "__call__", _wsgi_seam("flask"))),
    Seams("django", ["django.core.handlers.base"], _on("BaseHandler", "resolve_request", _noting_django_route)),
    Seams("django", ["django.core.handlers.wsgi"], _on("WSGIHandler", "__call__", _wsgi_seam("django"))),
    Seams("django", ["django.core.handlers.asgi"], _on("ASGIHandler", "__call__", _asgi_seam("django"))),
)


def install(is_wanted: Callable[[str], bool]) -> None:
    """Put the middlewares around the apps of every framework that is wanted; harmless when repeated."""
    for seams in _FRAMEWORKS:
        if is_wanted(seams.name):
            seams.install()


def remove() -> None:
    """Take them out again; requests under way are still noted to their end."""
    for seams in _FRAMEWORKS:
        seams.remove()
