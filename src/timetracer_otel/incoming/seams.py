"""How a framework states its seams: the function that calls each app, and what stands around it."""

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
    """Puts the ASGI middleware around the apps whose ``__call__`` is replaced.

    Args:
        framework: Its name, for the cassette.
        route_of: The route that the framework chose, from the scope after the app has run.
    """

    def wrap(original: Function) -> Function:
        # Servers tell ASGI 3 apps by their being coroutine functions.
        async def __call__(self: Any, scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:  # noqa: N807
            await asgi.serve(original.__get__(self), scope, receive, send, framework, route_of)

        return __call__

    return wrap


def wsgi_seam(framework: str, route_of: Callable[[wsgi.Environ], str | None]) -> Callable[[Function], Function]:
    """Puts the WSGI middleware around the apps whose ``__call__`` is replaced; arguments as for `asgi_seam`."""

    def wrap(original: Function) -> Function:
        def __call__(self: Any, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:  # noqa: N807
            return wsgi.serve(original.__get__(self), environ, start_response, framework, route_of)

        return __call__

    return wrap


def on(owner: str, name: str, wrap: Callable[[Function], Function]) -> Callable[[ModuleType], list[Patch]]:
    """The patch of a class's method, made when the framework's module is there.

    OpenTelemetry's instrumentors put a subclass in the place of an app's class. So the patch goes to the class of
    the framework's own module, wherever that stands among the bases.
    """

    def patches(module: ModuleType) -> list[Patch]:
        classes = getattr(module, owner).__mro__
        return [
            Patch(found, name, wrap)
            for found in classes
            if found.__module__ == module.__name__ and name in found.__dict__
        ][:1]

    return patches
