"""Starlette and FastAPI: the middleware goes around each app, and the route is read from the scope."""

from __future__ import annotations

from timetracer_otel.base.patching import Seams
from timetracer_otel.incoming import asgi
from timetracer_otel.incoming.seams import asgi_seam, on

__all__ = ["SEAMS", "route_of"]


def route_of(scope: asgi.ConnectionScope) -> str | None:
    """The path of the route that the app chose, from the outermost app on; None before it has, and in other apps."""
    # Newer releases of FastAPI tell the path with the prefixes of the routers that the route is included in.
    own = scope.get("fastapi")
    effective = own.get("effective_route_context") if isinstance(own, dict) else None
    path = getattr(effective, "path", None) or getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        return None
    root_path: str = scope.get("root_path", "")
    # In a mounted app, the path from the outermost app to the mounted one stands before the route's own.
    return root_path.removeprefix(scope.get("app_root_path", root_path)) + path


SEAMS = (
    Seams("fastapi", ["fastapi.applications"], on("FastAPI", "__call__", asgi_seam("fastapi", route_of))),
    Seams("starlette", ["starlette.applications"], on("Starlette", "__call__", asgi_seam("starlette", route_of))),
)
