"""The names of ``timetracer.integrations`` 1.6: middlewares that an app adds to itself, one file a framework.

An app that was written for the package timetracer runs after a change of its imports. Other apps need none of these:
``timetracer-otel record`` and ``timetracer-otel replay`` see each request without a change of the code.
"""

# pyright: strict

from timetracer_otel.integrations.django import TimeTracerMiddleware as DjangoMiddleware
from timetracer_otel.integrations.django import auto_setup as django_auto_setup
from timetracer_otel.integrations.fastapi import (
    TimeTraceMiddleware,
    TimeTracerMiddleware,
    auto_setup,
    timetracerMiddleware,
)
from timetracer_otel.integrations.flask import TimeTracerMiddleware as FlaskMiddleware
from timetracer_otel.integrations.flask import auto_setup as flask_auto_setup
from timetracer_otel.integrations.flask import init_app
from timetracer_otel.integrations.starlette import TimeTracerMiddleware as StarletteMiddleware
from timetracer_otel.integrations.starlette import auto_setup as starlette_auto_setup

__all__ = [
    "DjangoMiddleware",
    "FlaskMiddleware",
    "StarletteMiddleware",
    "TimeTraceMiddleware",
    "TimeTracerMiddleware",
    "auto_setup",
    "django_auto_setup",
    "flask_auto_setup",
    "init_app",
    "starlette_auto_setup",
    "timetracerMiddleware",
]
