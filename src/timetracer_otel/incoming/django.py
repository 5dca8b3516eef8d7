"""Django: the middlewares go around its WSGI and ASGI handlers, and the route is noted when Django resolves it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Seams
from timetracer_otel.calls.noting import noting
from timetracer_otel.incoming.scope import current_scope, note_raised
from timetracer_otel.incoming.seams import asgi_seam, on, wsgi_seam

__all__ = ["SEAMS"]


def _noting_route(original: Function) -> Function:
    return noting("django.route", original, _note_route)


def _note_route(match: Any, *_: object) -> None:
    scope = current_scope()
    route = getattr(match, "route", None)
    if scope is not None and route is not None:
        scope.route = "/" + route.removeprefix("/")


def _no_route(_: object) -> None:
    """None: Django puts the route neither into the scope nor into the environ."""


def _noting_error(module: ModuleType) -> list[Patch]:
    def wrap(original: Function) -> Function:
        return noting("django.error", original, before=note_raised)

    return [Patch(module, "response_for_exception", wrap)]


SEAMS = (
    Seams("django", ["django.core.handlers.exception"], _noting_error),
    Seams("django", ["django.core.handlers.base"], on("BaseHandler", "resolve_request", _noting_route)),
    Seams("django", ["django.core.handlers.wsgi"], on("WSGIHandler", "__call__", wsgi_seam("django", _no_route))),
    Seams("django", ["django.core.handlers.asgi"], on("ASGIHandler", "__call__", asgi_seam("django", _no_route))),
)
