"""FastAPI: the middleware that an app for the package timetracer 1.6 adds to itself, and ``auto_setup``."""

# pyright: strict

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from timetracer_otel.config import TraceConfig
from timetracer_otel.integrations import starlette
from timetracer_otel.integrations.enabling import enable

__all__ = ["TimeTraceMiddleware", "TimeTracerMiddleware", "auto_setup", "timetracerMiddleware"]

AppT = TypeVar("AppT")


class TimeTracerMiddleware(starlette.TimeTracerMiddleware):
    """The middleware of `timetracer_otel.integrations.starlette`, whose cassettes name FastAPI."""

    framework: ClassVar[str] = "fastapi"


TimeTraceMiddleware = TimeTracerMiddleware
"""A name that the package timetracer 1.6 has as well."""
timetracerMiddleware = TimeTracerMiddleware  # noqa: N816 - timetracer's own name
"""A name that the package timetracer 1.6 has as well."""


def auto_setup(app: AppT, config: TraceConfig | None = None, plugins: Sequence[str] | None = None) -> AppT:
    """Add the middleware to an app of FastAPI, and enable plugins (by default httpx).

    Arguments, result and errors are those of `timetracer_otel.integrations.starlette.auto_setup`.
    """
    add: Any = getattr(app, "add_middleware")  # noqa: B009 - the app's class is not imported here
    add(TimeTracerMiddleware, config=TraceConfig.from_env() if config is None else config)
    enable(plugins or ["httpx"])
    return app
