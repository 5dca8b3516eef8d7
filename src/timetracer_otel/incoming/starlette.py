"""Starlette and FastAPI: the middleware goes around each app, and the route is read from the scope."""

from __future__ import annotations

from timetracer_otel.base.patching import Seams
from timetracer_otel.incoming import asgi
from timetracer_otel.incoming.seams import asgi_seam, on

__all__ = ["SEAMS"]


def _route_of(scope: asgi.ConnectionScope) -> str | None:
    # Where FastAPI says it, the path with the prefixes of the routers that the route is included in.
    own = scope.get("fastapi")
    effective = own.get("effective_route_context") if isinstance(own, dict) else None
    path = getattr(effective, "path", None) or getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        return None
    root_path: str = scope.get("root_path", "")
    # Mounted apps: the path from where the outermost app stands to the one that has the route.
    return root_path.removeprefix(scope.get("app_root_path", root_path)) + path


SEAMS = (
    Seams("fastapi", ["fastapi.applications"], on("FastAPI", "__call__", asgi_seam("fastapi", _route_of))),
    Seams("starlette", ["starlette.applications"], on("Starlette", "__call__", asgi_seam("starlette", _route_of))),
)
