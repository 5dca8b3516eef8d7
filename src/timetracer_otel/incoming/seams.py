"""Helpers by which a framework's file states its seams: which method calls an app, and which middleware wraps it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.incoming import asgi, wsgi

__all__ = ["asgi_seam", "on", "wsgi_seam"]


def asgi_seam(
    framework: str, route_of: Callable[[asgi.ConnectionScope], str | None]
) -> Callable[[Function], Function]:
    """Put the ASGI middleware around the apps of a class, by replacing the class's ``__call__``.

    Args:
        framework: The framework's name, for the cassette.
        route_of: Finds the route that the framework chose, in the scope after the app has run.
    """

    def wrap(original: Function) -> Function:
        # Servers take an app for one of ASGI 3 when its `__call__` is a coroutine function.
        async def __call__(self: Any, scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:  # noqa: N807
            await asgi.serve(original.__get__(self), scope, receive, send, framework, route_of)

        return __call__

    return wrap


def wsgi_seam(framework: str, route_of: Callable[[wsgi.Environ], str | None]) -> Callable[[Function], Function]:
    """Put the WSGI middleware around the apps of a class; arguments as for `asgi_seam`."""

    def wrap(original: Function) -> Function:
        def __call__(self: Any, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:  # noqa: N807
            return wsgi.serve(original.__get__(self), environ, start_response, framework, route_of)

        return __call__

    return wrap


def on(owner: str, name: str, wrap: Callable[[Function], Function]) -> Callable[[ModuleType], list[Patch]]:
    """The patch of a method of a framework's class, made when the app has imported the framework's module.

    OpenTelemetry's instrumentors replace a framework's class by a subclass of their own: ``fastapi.FastAPI`` becomes
    their ``_InstrumentedFastAPI``. So the class to patch is looked for among the bases: it is the one that the
    framework's own module defines.
    """

    def patches(module: ModuleType) -> list[Patch]:
        classes = getattr(module, owner).__mro__
        return [
            Patch(found, name, wrap)
            for found in classes
            if found.__module__ == module.__name__ and name in found.__dict__
        ][:1]

    return patches
