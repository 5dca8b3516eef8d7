"""Flask: the middleware goes around each app, and the route is the URL rule of werkzeug's request."""

from __future__ import annotations

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.noting import noting
from timetracer_otel.incoming import wsgi
from timetracer_otel.incoming.scope import note_raised
from timetracer_otel.incoming.seams import on, wsgi_seam

__all__ = ["SEAMS", "route_of"]


def route_of(environ: wsgi.Environ) -> str | None:
    """The URL rule that Flask chose; None before it has, and in other apps."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return getattr(rule, "rule", None)


def _noting_error(original: Function) -> Function:
    return noting("flask.error", original, before=note_raised)


SEAMS = (
    Seams("flask", ["flask.app"], on("Flask", "handle_user_exception", _noting_error)),
    Seams("flask", ["flask.app"], on("Flask", "__call__", wsgi_seam("flask", route_of))),
)
