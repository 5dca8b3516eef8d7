"""Django: the middleware that a project for the package timetracer 1.6 names in its settings, and ``auto_setup``."""

# pyright: strict

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, ClassVar

from timetracer_otel.base.plugin_names import unknown_names
from timetracer_otel.config import SETTINGS, TraceConfig
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.incoming import django
from timetracer_otel.integrations.enabling import enable
from timetracer_otel.process.app_requests import AppRequests

__all__ = ["DjangoMiddleware", "TimeTracerMiddleware", "auto_setup"]


class TimeTracerMiddleware:
    """Records each request into a cassette, or replays one cassette in each request. For ``MIDDLEWARE`` in the
    settings of a project, for synchronous and asynchronous views.

    The configuration is the dictionary ``TIMETRACER`` of the project's settings: fields of `TraceConfig` in capital
    letters, ``{"MODE": "record", "CASSETTE_DIR": "cassettes"}``. Where that is missing or empty, the environment is
    read. Who decides on a request is told at `timetracer_otel.integrations.starlette.TimeTracerMiddleware`. Safe from
    any thread and task.

    Args:
        get_response: The next middleware or the view, as Django gives it.

    Raises:
        ConfigurationError: A key or a value of ``TIMETRACER`` is not allowed; or the mode is ``replay``, and no
            cassette is named, or a folder.
    """

    sync_capable: ClassVar[bool] = True
    async_capable: ClassVar[bool] = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response: Callable[[Any], Any] = get_response
        self.config: TraceConfig = _config()
        self._requests = AppRequests(self.config)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            # Part of Django. By this mark it knows an object whose call gives a coroutine.
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Let the rest of the app answer a request; gives the response, or a coroutine that gives it."""
        serve = django.serve_async if self._is_async else django.serve
        return serve(self.get_response, request, self._requests)


DjangoMiddleware = TimeTracerMiddleware
"""A name that the package timetracer 1.6 has as well."""


def auto_setup(plugins: Sequence[str] | None = None) -> None:
    """Enable plugins, for ``settings.py`` or ``apps.py``.

    Args:
        plugins: Names of plugins; by default requests. A session has the calls of all libraries that have a plugin:
            to enable one adds the spans of OpenTelemetry's own instrumentation.

    Raises:
        ConfigurationError: There is no plugin of such a name.
        PluginNotFoundError: The library of one is not installed.
    """
    enable(plugins or ["requests"])


def _config() -> TraceConfig:
    # Django has loaded its settings when it loads its middlewares.
    given: Mapping[str, Any] = getattr(sys.modules["django.conf"].settings, "TIMETRACER", None) or {}
    if not given:
        return TraceConfig.from_env()
    fields = {setting.field.upper(): setting.field for setting in SETTINGS}
    for name, nearest in unknown_names(given, fields):
        meant = f"; did you mean {nearest!r}?" if nearest else ""
        raise ConfigurationError(f"TIMETRACER in the settings of Django: there is no {name!r}{meant}")
    values: dict[str, Any] = {fields[name]: value for name, value in given.items() if value is not None}
    # Without a list of paths, timetracer leaves none out here.
    values.setdefault("exclude_paths", [])
    return TraceConfig(**values)
