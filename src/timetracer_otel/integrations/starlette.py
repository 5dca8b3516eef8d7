"""Starlette: the middleware that an app for the package timetracer 1.6 adds to itself, and ``auto_setup``.

The middleware takes any ASGI app.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from timetracer_otel.config import TraceConfig
from timetracer_otel.incoming import asgi
from timetracer_otel.incoming.starlette import route_of
from timetracer_otel.integrations.enabling import enable
from timetracer_otel.process.app_requests import AppRequests

__all__ = ["TimeTracerMiddleware", "auto_setup", "timetracerMiddleware"]

AppT = TypeVar("AppT")


class TimeTracerMiddleware:
    """Records each request of an ASGI app into a cassette, or replays one cassette in each request.

    A recording is on disk when the response has passed. Where the process records or replays by itself
    (``timetracer-otel record``, ``TIMETRACER_MODE`` under ``opentelemetry-instrument``), or a block of `record` or
    `replay` is around the request, that one has the request's calls. WebSockets and the lifespan pass untouched.
    Safe from any task.

    Args:
        app: The ASGI app.
        config: The mode, and the folder or the cassette. Without it the environment is read.

    Raises:
        ConfigurationError: The mode is ``replay``, and no cassette is named, or a folder.
    """

    framework: ClassVar[str] = "starlette"
    """What a cassette says of the framework."""

    def __init__(self, app: Any, config: TraceConfig | None = None) -> None:
        self.app: Any = app
        self.config: TraceConfig = TraceConfig.from_env() if config is None else config
        self._requests = AppRequests(self.config)

    async def __call__(self, scope: asgi.ConnectionScope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Call the app for a connection, with the request's session around it."""
        await asgi.serve(self.app, scope, receive, send, self.framework, route_of, self._decider)

    def _decider(self) -> AppRequests:
        return self._requests


timetracerMiddleware = TimeTracerMiddleware  # noqa: N816 - timetracer's own name
"""A name that the package timetracer 1.6 has as well."""


def auto_setup(app: AppT, config: TraceConfig | None = None, plugins: Sequence[str] | None = None) -> AppT:
    """Add the middleware to an app, and enable plugins.

    Args:
        app: An app of Starlette.
        config: As for the middleware.
        plugins: Names of plugins; by default httpx. A session has the calls of all libraries that have a plugin: to
            enable one adds the spans of OpenTelemetry's own instrumentation.

    Returns:
        The app.

    Raises:
        ConfigurationError: There is no plugin of such a name.
        PluginNotFoundError: The library of one is not installed.
    """
    add: Any = getattr(app, "add_middleware")  # noqa: B009 - the app's class is not imported here
    add(TimeTracerMiddleware, config=TraceConfig.from_env() if config is None else config)
    enable(plugins or ["httpx"])
    return app
