"""Flask: the middleware that an app for the package timetracer 1.6 puts around itself, and two ways to do that.

The middleware takes any WSGI app.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from timetracer_otel.config import TraceConfig
from timetracer_otel.incoming import wsgi
from timetracer_otel.incoming.flask import route_of
from timetracer_otel.integrations.enabling import enable
from timetracer_otel.process.app_requests import AppRequests

__all__ = ["TimeTraceMiddleware", "TimeTracerMiddleware", "auto_setup", "init_app", "timetracerMiddleware"]

AppT = TypeVar("AppT")


class TimeTracerMiddleware:
    """Records each request of a WSGI app into a cassette, or replays one cassette in each request.

    A recording is on disk when the server has closed the response. Who decides on a request is told at
    `timetracer_otel.integrations.starlette.TimeTracerMiddleware`. Safe from any thread.

    Args:
        app: The WSGI app: ``app.wsgi_app`` of Flask's.
        config: The mode, and the folder or the cassette. Without it the environment is read.

    Raises:
        ConfigurationError: The mode is ``replay``, and no cassette is named, or a folder.
    """

    def __init__(self, app: Any, config: TraceConfig | None = None) -> None:
        self.app: Any = app
        self.config: TraceConfig = TraceConfig.from_env() if config is None else config
        self._requests = AppRequests(self.config)

    def __call__(self, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:
        """Call the app for a request, with the request's session around it."""
        return wsgi.serve(self.app, environ, start_response, "flask", route_of, self._decider)

    def _decider(self) -> AppRequests:
        return self._requests


TimeTraceMiddleware = TimeTracerMiddleware
"""A name that the package timetracer 1.6 has as well."""
timetracerMiddleware = TimeTracerMiddleware  # noqa: N816 - timetracer's own name
"""A name that the package timetracer 1.6 has as well."""


def init_app(app: Any, config: TraceConfig | None = None) -> None:
    """Put the middleware around an app of Flask.

    Args:
        app: The app.
        config: As for the middleware.

    Raises:
        ConfigurationError: As the middleware raises it.
    """
    app.wsgi_app = TimeTracerMiddleware(app.wsgi_app, config=config)


def auto_setup(app: AppT, config: TraceConfig | None = None, plugins: Sequence[str] | None = None) -> AppT:
    """Put the middleware around an app of Flask, and enable plugins.

    Args:
        app: The app.
        config: As for the middleware.
        plugins: Names of plugins; by default requests. A session has the calls of all libraries that have a plugin:
            to enable one adds the spans of OpenTelemetry's own instrumentation.

    Returns:
        The app.

    Raises:
        ConfigurationError: As the middleware raises it; or there is no plugin of such a name.
        PluginNotFoundError: The library of a plugin is not installed.
    """
    init_app(app, config)
    enable(plugins or ["requests"])
    return app
